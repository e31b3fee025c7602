package io.github.limbeck

/**
 * A token as it is written.
 *
 * @property id its id
 * @property text the text that became certain with it: whole characters, and nothing that may yet be part of a stop
 *   string. May be empty
 */
public data class Piece(val id: Int, val text: String)

/** Takes the tokens of a text as they are written. */
public fun interface TokenFunction {
    /** Takes a token, and says whether to go on; if not, the text ends here: [Finish.UNFINISHED]. */
    public fun take(piece: Piece): Boolean
}

/** What the native library calls. */
internal fun interface PieceFunction {
    fun take(id: Int, text: String): Boolean
}

/** Why a text ended. The order is that of `limbeck.h`. */
public enum class Finish {
    /** It has not: the token function ended the call. */
    UNFINISHED,

    /** The model wrote its end of text. */
    END_OF_TEXT,

    /** A stop string came. */
    STOP,

    /** As many tokens were written as were allowed. */
    LENGTH,

    /** The context was full: [ContextPolicy.STOP]. */
    CONTEXT,
}

/**
 * A text that was written.
 *
 * @property text what follows the prompt, without end of text or stop string
 * @property ids its tokens, the one that ended it among them
 * @property finish why it ended
 * @property promptTokens tokens of the prompt
 * @property cachedTokens of those, tokens that were read in an earlier call: see [Prompt]
 * @property tokensDropped tokens at the beginning that were forgotten: [ContextPolicy.SLIDE]
 * @property examples examples that stand in the prompt
 * @property examplesDropped examples for which there was no room
 * @property tokenizeNanos nanoseconds from text to token ids
 * @property prefillNanos nanoseconds reading prompts, and what is read anew when the context is full; texts that were
 *   written together share them and those that follow
 * @property decodeNanos nanoseconds running the model for all further tokens
 * @property samplingNanos nanoseconds choosing tokens and making text of them
 */
public data class Generation(
    val text: String,
    val ids: List<Int>,
    val finish: Finish,
    val promptTokens: Int,
    val cachedTokens: Int,
    val tokensDropped: Int,
    val examples: Int,
    val examplesDropped: Int,
    val tokenizeNanos: Long,
    val prefillNanos: Long,
    val decodeNanos: Long,
    val samplingNanos: Long,
) {
    /** How many tokens were written. */
    public val generatedTokens: Int get() = ids.size
}

/** As results.rs writes them. */
internal fun Reader.generations(): List<Generation> = list {
    Generation(
        text(), list { size() }, Finish.entries[int()], size(), size(), size(), size(), size(),
        long(), long(), long(), long(),
    )
}

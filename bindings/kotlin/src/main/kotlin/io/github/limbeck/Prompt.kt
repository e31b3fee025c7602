package io.github.limbeck

/**
 * A text to be completed: an instruction, examples with their completions, and the query, put together as they are with
 * the separator between them. The model reads what stands before the query once, and goes on from there in later calls
 * as long as there is room for it.
 *
 * ```
 * val examples = listOf(TextPair("Review: warm and clever\nSentiment:", " good"))
 * val prompt = Prompt("Review: a dull film\nSentiment:", examples)
 * model.choose(prompt, listOf(" good", " bad")).best.text
 * model.choose(prompt.copy(query = "Review: two hours of nothing\nSentiment:"), listOf(" good", " bad"))
 * ```
 *
 * @property query what is to be completed
 * @property examples texts like the query, each with its completion, usually with the space before it
 * @property instruction what comes first; may be empty
 * @property separator what stands between the parts: two line ends by default, nothing if empty
 * @property maxTokens the most tokens of the prompt: examples that do not fit are left out, the last ones first, and
 *   reported. 0: what the context has room for
 * @property allExamples whether an example that does not fit is [LimbeckException.TooLong]
 */
public data class Prompt @JvmOverloads constructor(
    val query: String,
    val examples: List<TextPair> = emptyList(),
    val instruction: String = "",
    val separator: String = "\n\n",
    val maxTokens: Int = 0,
    val allExamples: Boolean = false,
)

/** What completions are compared by: natural logs. The order is that of `limbeck.h`. */
public enum class Scoring {
    /** The log probability of a token, the mean over the completion. */
    PER_TOKEN,

    /** The log probability of the whole completion. */
    SUM,

    /** That sum by the completion's bytes; it does not depend on the tokenizer. */
    PER_BYTE,

    /** By how much likelier the completion is after the prompt than after [ChooseOptions.Builder.answerContext]. */
    ANSWER_CONTEXT,
}

/** Options of calls that score completions, made as [GenerateOptions] are. */
public class ChooseOptions private constructor(private val set: Builder) {
    /** The token that ends the call from another thread. */
    internal val cancel: Cancel? get() = set.cancel

    /** The same options with another token. */
    internal fun with(cancel: Cancel): ChooseOptions = ChooseOptions(set.copy().cancel(cancel))

    internal fun call(model: Handle, native: (ByteArray) -> ByteArray, texts: Writer.() -> Unit): Reader =
        send(model, cancel, native) {
            set.write(this, it)
            texts()
        }

    /** Sets options one by one. */
    public class Builder {
        private var scoring = Scoring.PER_TOKEN
        private var answerContext = ""
        private var contentFree = emptyList<String>()
        private var timeoutMillis = 0L
        internal var cancel: Cancel? = null
            private set

        /** What completions are compared by. */
        public fun scoring(scoring: Scoring): Builder = apply { this.scoring = scoring }

        /** [Scoring.ANSWER_CONTEXT]: "Answer: ". */
        public fun answerContext(context: String): Builder = apply { answerContext = context }

        /**
         * Contextual calibration: queries without content, as "Review: N/A"; a completion's probability is divided by
         * its mean probability there. Default: not calibrated.
         */
        public fun contentFree(queries: List<String>): Builder = apply { contentFree = queries.toList() }

        /** [LimbeckException.DeadlineExceeded] this many milliseconds after the call began. Default: never. */
        public fun timeoutMillis(millis: Long): Builder = apply { timeoutMillis = millis }

        /** Ends the call from another thread. */
        public fun cancel(cancel: Cancel?): Builder = apply { this.cancel = cancel }

        /** The options as they are now. */
        public fun build(): ChooseOptions = ChooseOptions(copy())

        internal fun copy(): Builder = Builder()
            .scoring(scoring).answerContext(answerContext).contentFree(contentFree).timeoutMillis(timeoutMillis)
            .cancel(cancel)

        /** As writing.rs reads them. */
        internal fun write(to: Writer, cancel: Long) {
            to.int(scoring.ordinal).text(answerContext, "answerContext").texts(contentFree, "contentFree")
            to.long(timeoutMillis).long(cancel)
        }
    }

    /** Makes options. */
    public companion object {
        /** All defaults. */
        @JvmField
        public val DEFAULT: ChooseOptions = ChooseOptions(Builder())

        /** Options in one expression of Kotlin's. */
        @JvmSynthetic
        public fun of(set: Builder.() -> Unit): ChooseOptions = Builder().apply(set).build()
    }
}

/**
 * How likely a completion is after a prompt.
 *
 * @property logProbability natural log of its probability
 * @property tokens its tokens
 * @property bytes its bytes, with the white space that stood at the end of the query
 */
public data class Likelihood(val logProbability: Double, val tokens: Int, val bytes: Int) {
    /** The log probability by token. */
    public val perToken: Double get() = logProbability / maxOf(tokens, 1)

    /** The log probability by byte. */
    public val perByte: Double get() = logProbability / maxOf(bytes, 1)
}

/**
 * A completion with its score.
 *
 * @property text the completion
 * @property index its place among the completions given
 * @property score what completions are compared by: see [Scoring]. After calibration the log of the calibrated
 *   probability
 * @property probability the softmax of the scores of all completions
 * @property likelihood how likely it is after the prompt
 */
public data class Choice(
    val text: String,
    val index: Int,
    val score: Double,
    val probability: Float,
    val likelihood: Likelihood,
)

/**
 * What was read for a prompt.
 *
 * @property promptTokens tokens of the prompt
 * @property cachedTokens of those, tokens that were read in an earlier call
 * @property examples examples that stand in the prompt
 * @property examplesDropped examples for which there was no room
 */
public data class PromptUsage(
    val promptTokens: Int,
    val cachedTokens: Int,
    val examples: Int,
    val examplesDropped: Int,
)

/** Completions, the best first; of equal scores the one given first goes first. */
public data class Choices(val choices: List<Choice>, val usage: PromptUsage) {
    /** The best completion. */
    public val best: Choice get() = choices.first()
}

/** As writing.rs reads it. */
internal fun Writer.parts(prompt: Prompt): Writer {
    text(prompt.query, "query").text(prompt.instruction, "instruction").pairs(prompt.examples, "examples")
    return text(prompt.separator, "separator").long(prompt.maxTokens.toLong()).flag(prompt.allExamples)
}

// As results.rs writes them.

internal fun Reader.choices(): Choices = Choices(
    list { Choice(text(), size(), double(), float(), likelihood()) },
    PromptUsage(size(), size(), size(), size()),
)

internal fun Reader.likelihood() = Likelihood(double(), size(), size())

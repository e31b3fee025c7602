package io.github.limbeck

/** What to do when prompt and new tokens are more than the model's context holds. The order is that of `limbeck.h`. */
public enum class ContextPolicy {
    /** Throw [LimbeckException.TooLong] before anything is written, if the context might become full. */
    ERROR,

    /** Write until the context is full: [Finish.CONTEXT]. A longer prompt is [LimbeckException.TooLong]. */
    STOP,

    /** Forget the oldest tokens whenever the context is full; [Generation.tokensDropped] says how many. */
    SLIDE,
}

/**
 * Options of calls that write text. Never changes: one object may serve many calls.
 *
 * ```
 * val options = GenerateOptions.of { maxNewTokens(40).stop("\n") }                       // Kotlin
 * var options = new GenerateOptions.Builder().maxNewTokens(40).stop("\n").build();       // Java
 * ```
 */
public class GenerateOptions private constructor(private val set: Builder) {
    /** The token that ends the call from another thread. */
    internal val cancel: Cancel? get() = set.cancel

    /** The same options with another token. */
    internal fun with(cancel: Cancel): GenerateOptions = GenerateOptions(set.copy().cancel(cancel))

    /** Makes a call whose tokens [function] is given. */
    internal fun call(model: Handle, function: TokenFunction?, prompt: Writer.() -> Unit): Reader {
        val pieces = function?.let { PieceFunction { id, text -> it.take(Piece(id, text)) } }
        return send(model, cancel, { Native.generate(it, pieces) }) {
            set.write(this, it)
            prompt()
        }
    }

    /** Makes a call for many prompts. */
    internal fun callBatch(model: Handle, prompts: Writer.() -> Unit): Reader =
        send(model, cancel, Native::generateBatch) {
            set.write(this, it)
            prompts()
        }

    /** Sets options one by one. What is not set is at its default, which 0 also stands for. */
    public class Builder {
        private var maxNewTokens = 0
        private var temperature = 0f
        private var topP = 0f
        private var topK = 0
        private var seed = 0L
        private var repetitionPenalty = 0f
        private var ignoreEos = false
        private var stops = emptyList<String>()
        private var context = ContextPolicy.ERROR
        private var contextKeep = 0
        private var timeoutMillis = 0L
        internal var cancel: Cancel? = null
            private set

        /** The most tokens to write. Default: 128. */
        public fun maxNewTokens(tokens: Int): Builder = apply { maxNewTokens = tokens }

        /** Draws tokens, from logits divided by this. Default: the likeliest token each time. */
        public fun temperature(temperature: Float): Builder = apply { this.temperature = temperature }

        /** Draws among the fewest likeliest tokens whose probabilities reach this sum. Default: among all. */
        public fun topP(sum: Float): Builder = apply { topP = sum }

        /** Draws among so many of the likeliest tokens. Default: among all. */
        public fun topK(k: Int): Builder = apply { topK = k }

        /** The seed of the draws: with the same one the same model writes the same text. */
        public fun seed(seed: Long): Builder = apply { this.seed = seed }

        /** Makes tokens that stand in the context less likely, if above 1. Default: 1. */
        public fun repetitionPenalty(penalty: Float): Builder = apply { repetitionPenalty = penalty }

        /** Writes on after the model's end of text. */
        public fun ignoreEos(ignore: Boolean): Builder = apply { ignoreEos = ignore }

        /** Ends the text before this string; may be called several times. */
        public fun stop(stop: String): Builder = apply { stops = stops + stop }

        /** Ends the text before any of these strings, and no others. */
        public fun stops(stops: List<String>): Builder = apply { this.stops = stops.toList() }

        /** What to do when the context is full. */
        public fun context(policy: ContextPolicy): Builder = apply { context = policy }

        /** [ContextPolicy.SLIDE]: how many tokens stay. Default: half of the context. */
        public fun contextKeep(tokens: Int): Builder = apply { contextKeep = tokens }

        /** [LimbeckException.DeadlineExceeded] this many milliseconds after the call began. Default: never. */
        public fun timeoutMillis(millis: Long): Builder = apply { timeoutMillis = millis }

        /** Ends the call from another thread, between two tokens or within one. */
        public fun cancel(cancel: Cancel?): Builder = apply { this.cancel = cancel }

        /** The options as they are now. */
        public fun build(): GenerateOptions = GenerateOptions(copy())

        internal fun copy(): Builder = Builder()
            .maxNewTokens(maxNewTokens).temperature(temperature).topP(topP).topK(topK).seed(seed)
            .repetitionPenalty(repetitionPenalty).ignoreEos(ignoreEos).stops(stops).context(context)
            .contextKeep(contextKeep).timeoutMillis(timeoutMillis).cancel(cancel)

        /** As writing.rs reads them. */
        internal fun write(to: Writer, cancel: Long) {
            to.long(maxNewTokens.toLong()).float(temperature).float(topP).long(topK.toLong()).long(seed)
            to.float(repetitionPenalty).flag(ignoreEos).texts(stops, "stops").int(context.ordinal)
            to.long(contextKeep.toLong()).long(timeoutMillis).long(cancel)
        }
    }

    /** Makes options. */
    public companion object {
        /** All defaults. */
        @JvmField
        public val DEFAULT: GenerateOptions = GenerateOptions(Builder())

        /** Options in one expression of Kotlin's. */
        @JvmSynthetic
        public fun of(set: Builder.() -> Unit): GenerateOptions = Builder().apply(set).build()
    }
}

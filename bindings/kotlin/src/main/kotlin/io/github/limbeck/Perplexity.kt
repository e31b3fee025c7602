package io.github.limbeck

/**
 * How surprised a model is by a text.
 *
 * @property perplexity e to the negative mean log probability of a token
 * @property bitsPerByte negative log probability in bits, by the bytes of the tokens that were scored; comparable
 *   between tokenizers
 * @property logProbability natural log of the probability of the tokens that were scored
 * @property tokens tokens that were scored
 * @property bytes their bytes
 * @property windows windows that the text was read in; 1 unless it is longer than the context
 */
public data class Perplexity(
    val perplexity: Double,
    val bitsPerByte: Double,
    val logProbability: Double,
    val tokens: Int,
    val bytes: Int,
    val windows: Int,
)

/** Options of [Model.perplexity], made as [GenerateOptions] are. */
public class PerplexityOptions private constructor(private val set: Builder) {
    /** The token that ends the call from another thread. */
    internal val cancel: Cancel? get() = set.cancel

    /** The same options with another token. */
    internal fun with(cancel: Cancel): PerplexityOptions = PerplexityOptions(set.copy().cancel(cancel))

    internal fun call(model: Handle, text: Writer.() -> Unit): Reader = send(model, cancel, Native::perplexity) {
        set.write(this, it)
        text()
    }

    /** Sets options one by one. What is not set is at its default, which 0 also stands for. */
    public class Builder {
        private var stride = 0
        private var fromStart = false
        private var timeoutMillis = 0L
        internal var cancel: Cancel? = null
            private set

        /** Tokens before the first that is scored in each further window. Default: half of the context. */
        public fun stride(tokens: Int): Builder = apply { stride = tokens }

        /** Scores the first token too, after the one that texts begin with. */
        public fun fromStart(fromStart: Boolean): Builder = apply { this.fromStart = fromStart }

        /** [LimbeckException.DeadlineExceeded] this many milliseconds after the call began. Default: never. */
        public fun timeoutMillis(millis: Long): Builder = apply { timeoutMillis = millis }

        /** Ends the call from another thread. */
        public fun cancel(cancel: Cancel?): Builder = apply { this.cancel = cancel }

        /** The options as they are now. */
        public fun build(): PerplexityOptions = PerplexityOptions(copy())

        internal fun copy(): Builder =
            Builder().stride(stride).fromStart(fromStart).timeoutMillis(timeoutMillis).cancel(cancel)

        /** As writing.rs reads them. */
        internal fun write(to: Writer, cancel: Long) {
            to.long(stride.toLong()).flag(fromStart).long(timeoutMillis).long(cancel)
        }
    }

    /** Makes options. */
    public companion object {
        /** All defaults. */
        @JvmField
        public val DEFAULT: PerplexityOptions = PerplexityOptions(Builder())

        /** Options in one expression of Kotlin's. */
        @JvmSynthetic
        public fun of(set: Builder.() -> Unit): PerplexityOptions = Builder().apply(set).build()
    }
}

/** As results.rs writes it. */
internal fun Reader.perplexity() = Perplexity(double(), double(), double(), size(), size(), size())

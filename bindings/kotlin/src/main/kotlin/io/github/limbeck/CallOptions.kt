package io.github.limbeck

/** What to do with a text of more tokens than the model takes. The order is that of `limbeck.h`. */
public enum class Overflow {
    /** What the task does by itself; each says what. */
    DEFAULT,

    /** Use the first tokens, and report in [Usage] how many were dropped. Of two texts the longer one is cut. */
    TRUNCATE,

    /** Throw [LimbeckException.TooLong]. */
    ERROR,

    /** Read the whole text in overlapping windows; each task says how it puts their answers together. */
    WINDOW,
}

/**
 * How tokens become words, for entities and replaced tokens. The latter have no labels for [FIRST] and [STRICT] to speak
 * of: they are refused. The order is that of `limbeck.h`.
 */
public enum class Aggregation {
    /** A word is of the entity that its first token says, as models are usually trained. */
    FIRST,

    /**
     * A word has the label with the highest mean probability over its tokens. Replaced tokens: it has their mean
     * probability.
     */
    AVERAGE,

    /**
     * A word has the label of the token that is most certain. Replaced tokens: it is as suspicious as the most
     * suspicious of its tokens.
     */
    MAX,

    /** As [FIRST], and only entities whose labels follow the rules of their scheme count. */
    STRICT,

    /**
     * Each token that is not outside is an answer with its full label (`B-PER`). Replaced tokens: runs of neighbouring
     * tokens in place of words.
     */
    NONE,
}

/**
 * Options of the calls of all tasks. An option that is set and that the task does not read is refused. Never changes:
 * one object may serve many calls.
 *
 * ```
 * val options = CallOptions.of { topK(3).timeoutMillis(2000) }                        // Kotlin
 * var options = new CallOptions.Builder().topK(3).timeoutMillis(2000).build();        // Java
 * ```
 */
public class CallOptions private constructor(private val set: Builder) {
    /** The token that ends the call from another thread. */
    internal val cancel: Cancel? get() = set.cancel

    /** The same options with another token. */
    internal fun with(cancel: Cancel): CallOptions = CallOptions(set.copy().cancel(cancel))

    /** Makes a call: the model, these options, and what [texts] writes. */
    internal fun call(model: Handle, native: (ByteArray) -> ByteArray, texts: Writer.() -> Unit): Reader =
        send(model, cancel, native) {
            set.write(this, it)
            texts()
        }

    /** Sets options one by one. What is not set is at its default, which 0 and the empty text also stand for. */
    public class Builder {
        private var overflow = Overflow.DEFAULT
        private var windowStride = 0
        private var timeoutMillis = 0L
        internal var cancel: Cancel? = null
            private set
        private var topK = 0
        private var threshold = 0f
        private var outOfScope = 0f
        private var aggregation: Aggregation? = null
        private var multiLabel = false
        private var maxAnswerTokens = 0
        private var hypothesis = ""
        private var rankLabel = ""
        private var bothOrders = false

        /** What to do with a text that is too long. */
        public fun overflow(overflow: Overflow): Builder = apply { this.overflow = overflow }

        /** Tokens that two neighbouring windows share. Default: 128, or half a window if that is less. */
        public fun windowStride(tokens: Int): Builder = apply { windowStride = tokens }

        /** [LimbeckException.DeadlineExceeded] this many milliseconds after the call began. Default: never. */
        public fun timeoutMillis(millis: Long): Builder = apply { timeoutMillis = millis }

        /** Ends the call from another thread. */
        public fun cancel(cancel: Cancel?): Builder = apply { this.cancel = cancel }

        /**
         * How many labels, answers, guesses for a mask, or ranked texts to give, the best ones. Default: all labels and
         * texts, 1 answer, 5 guesses.
         */
        public fun topK(k: Int): Builder = apply { topK = k }

        /**
         * Classification with independent labels: the lowest probability at which a label holds. Entities: leave out
         * those with a lower score. Replaced tokens: the lowest probability of a suspicious word. Default: the bundle's
         * thresholds; all entities; 0.5.
         */
        public fun threshold(probability: Float): Builder = apply { threshold = probability }

        /** Classification: out of scope if the best label has less. Default: as the bundle says. */
        public fun outOfScope(probability: Float): Builder = apply { outOfScope = probability }

        /** How tokens become words. Default: [Aggregation.FIRST] for entities, [Aggregation.MAX] for replaced tokens. */
        public fun aggregation(aggregation: Aggregation): Builder = apply { this.aggregation = aggregation }

        /** Zero-shot: whether each label has a probability of its own. Default: exactly one holds. */
        public fun multiLabel(multiLabel: Boolean): Builder = apply { this.multiLabel = multiLabel }

        /** Answers: the most tokens of an answer. Default: 15. */
        public fun maxAnswerTokens(tokens: Int): Builder = apply { maxAnswerTokens = tokens }

        /** Zero-shot: says that the label at `{}` holds. Default: `This example is {}.` */
        public fun hypothesis(hypothesis: String): Builder = apply { this.hypothesis = hypothesis }

        /** Ranking: the label whose score counts. Default: the only one, or the one for entailment. */
        public fun rankLabel(label: String): Builder = apply { rankLabel = label }

        /**
         * Order: read each pair in both orders and combine them, so that the answer for a swapped pair is the opposite;
         * twice the work.
         */
        public fun bothOrders(bothOrders: Boolean): Builder = apply { this.bothOrders = bothOrders }

        /** The options as they are now. */
        public fun build(): CallOptions = CallOptions(copy())

        internal fun copy(): Builder = Builder()
            .overflow(overflow).windowStride(windowStride).timeoutMillis(timeoutMillis).cancel(cancel).topK(topK)
            .threshold(threshold).outOfScope(outOfScope).multiLabel(multiLabel).maxAnswerTokens(maxAnswerTokens)
            .hypothesis(hypothesis).rankLabel(rankLabel).bothOrders(bothOrders).also { it.aggregation = aggregation }

        /** As call.rs reads them. */
        internal fun write(to: Writer, cancel: Long) {
            to.int(overflow.ordinal).long(windowStride.toLong()).long(timeoutMillis).long(cancel).long(topK.toLong())
            to.float(threshold).float(outOfScope).int(aggregation?.ordinal ?: -1).flag(multiLabel)
            to.long(maxAnswerTokens.toLong()).text(hypothesis, "hypothesis").text(rankLabel, "rankLabel").flag(bothOrders)
        }
    }

    /** Makes options. */
    public companion object {
        /** All defaults. */
        @JvmField
        public val DEFAULT: CallOptions = CallOptions(Builder())

        /** Options in one expression of Kotlin's. */
        @JvmSynthetic
        public fun of(set: Builder.() -> Unit): CallOptions = Builder().apply(set).build()
    }
}

/** Makes a call: the model, and what [request] writes, which is given the number of the token or 0. */
internal fun send(
    model: Handle,
    cancel: Cancel?,
    native: (ByteArray) -> ByteArray,
    request: Writer.(cancel: Long) -> Unit,
): Reader {
    fun send(cancel: Long): Reader =
        model.with { number -> Reader(native(Writer().long(number).apply { request(cancel) }.done())) }
    return cancel?.with { send(it) } ?: send(0)
}

package io.github.limbeck

import java.io.File

/**
 * A classifier on top of an embedding model: labels of your own from a few examples each, fitted on the device in
 * milliseconds. It belongs to the very model it was fitted on, and refuses others. It does not hold the model: keep
 * both.
 */
public class Head private constructor(number: Long, public val labels: List<String>) : Handle(number) {
    /** Writes the head to a file, whole or not at all. */
    public fun save(path: String) {
        with { Native.headSave(Writer().long(it).text(path, "path").done()) }
    }

    /** As the other one. */
    public fun save(file: File): Unit = save(file.path)

    /**
     * Classifies texts with the model that the head was fitted on. Of the options those of every task,
     * [CallOptions.Builder.topK] and [CallOptions.Builder.outOfScope] count.
     */
    @JvmOverloads
    public fun classify(
        model: Model,
        texts: List<String>,
        options: CallOptions = CallOptions.DEFAULT,
    ): List<Classification> = with { number ->
        options.call(model, { Native.headClassify(only(number) + it) }) { texts(texts, "texts") }.classifications()
    }

    /** Makes heads. */
    public companion object {
        /**
         * Fits a head on examples, each a text and its label. Labels are in the order in which they first come.
         *
         * @param strength weighs the examples against keeping the head simple; 0: 10
         */
        @JvmStatic
        @JvmOverloads
        public fun fit(
            model: Model,
            examples: List<TextPair>,
            strength: Double = 0.0,
            options: CallOptions = CallOptions.DEFAULT,
        ): Head = of(options.call(model, Native::headFit) { double(strength).pairs(examples, "examples") })

        /** Reads a head from a file. */
        @JvmStatic
        public fun load(path: String): Head = of(Reader(Native.ready().headLoad(Writer().text(path, "path").done())))

        /** As the other one. */
        @JvmStatic
        public fun load(file: File): Head = load(file.path)

        private fun of(reply: Reader) = Head(reply.long(), reply.texts())
    }
}

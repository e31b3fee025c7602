package io.github.limbeck

/** How grave a log message is. */
public enum class LogLevel {
    /** Every step. */
    VERBOSE,

    /** What happens. */
    INFO,

    /** What went on otherwise than asked for. */
    WARNING,

    /** What failed; the call concerned also throws. */
    ERROR,

    /** What ends ONNX Runtime. */
    FATAL,
}

/** Gets log messages, on any thread, several at one time. It should return soon; what it throws is swallowed. */
public fun interface Logger {
    /** Takes a message. */
    public fun log(level: LogLevel, message: String)
}

/** What the native library calls. */
internal fun interface LogFunction {
    fun tell(level: Int, message: String)
}

/** What concerns the whole process, and arithmetic on vectors. */
public object Limbeck {
    /** The version of limbeck: classes and native library have the same, or do not load. */
    @JvmStatic
    public val version: String get() = Native.ready().version()

    /** How many handles are open in the process: bundles, models, heads, slots, cancel tokens. To look for leaks. */
    @JvmStatic
    public val openHandles: Long get() = Native.ready().openHandles()

    /**
     * Gives log messages of [lowest] and above, limbeck's and ONNX Runtime's, to [logger], for the whole process; null
     * stops that. Without a logger messages go nowhere.
     */
    @JvmStatic
    public fun setLogger(lowest: LogLevel, logger: Logger?) {
        val function = logger?.let { LogFunction { level, message -> it.log(LogLevel.entries[level], message) } }
        Native.ready().setLogger(lowest.ordinal, function)
    }

    /** The cosine of the angle between two vectors: 1 for the same direction, 0 for a right angle or a zero vector. */
    @JvmStatic
    public fun similarity(first: FloatArray, second: FloatArray): Float =
        Reader(Native.ready().similarity(Writer().floats(first).floats(second).done())).float()

    /** The [k] of [vectors] that are most similar to [query], the nearest first. */
    @JvmStatic
    public fun nearest(query: FloatArray, vectors: List<FloatArray>, k: Int): List<Neighbour> {
        val request = Writer().floats(query).long(k.toLong()).int(vectors.size)
        vectors.forEach { request.floats(it) }
        return Reader(Native.ready().nearest(request.done())).list { Neighbour(size(), float()) }
    }
}

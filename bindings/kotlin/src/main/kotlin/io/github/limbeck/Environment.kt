package io.github.limbeck

/**
 * ONNX Runtime, found and loaded. A process has one: it stays loaded until the process ends, so there is nothing to
 * close. On Android give `libonnxruntime.so`, the name under which the package `onnxruntime-android` brings it.
 *
 * @param runtimePath the library to load, 1.24 or later. Empty: it is looked for beside the program, then beside
 *   limbeck's own library, then where the system's loader looks
 * @property threads the [ModelOptions.threads] of models whose options have 0
 * @throws LimbeckException.Runtime there is none, it is too old, or another one is loaded already
 */
public class Environment @JvmOverloads constructor(runtimePath: String = "", public val threads: Int = 0) {
    /** Version of the ONNX Runtime in use: "1.24.4". */
    public val runtimeVersion: String

    /** File of the ONNX Runtime in use, or the bare name that the system's loader resolved. */
    public val runtimePath: String

    init {
        if (threads !in 0..MOST_THREADS) {
            throw LimbeckException.InvalidArgument("threads is $threads and must be from 0 to $MOST_THREADS")
        }
        val reply = Reader(Native.ready().loadRuntime(Writer().text(runtimePath, "runtimePath").done()))
        runtimeVersion = reply.text()
        this.runtimePath = reply.text()
    }

    private companion object {
        const val MOST_THREADS = 256
    }
}

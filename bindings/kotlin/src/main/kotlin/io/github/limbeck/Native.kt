package io.github.limbeck

import java.io.File

/**
 * The native library. Most methods take a request and give a reply, in the form of [Writer] and [Reader]; whatever
 * fails is a [LimbeckException].
 */
internal object Native {
    /** What these classes and the library agree on; `CONTRACT` in bindings/kotlin/jni/src/lib.rs. */
    const val CONTRACT: Int = 3

    /** The version of these classes, which must be the library's. */
    const val VERSION: String = "0.1.0"

    /** Why the library cannot be used; made anew for each throw. Thrown here, it would be hidden in an Error. */
    private val problem: (() -> Throwable)? = load(System.getProperty("limbeck.library"))

    /** These methods, if the library can be used. What needs no handle begins here. */
    fun ready(): Native {
        problem?.let { throw it() }
        return this
    }

    /** Loads the library from a path, or from where the system looks, and checks that it is ours. */
    private fun load(path: String?): (() -> Throwable)? {
        try {
            if (path == null) System.loadLibrary("limbeck_jni") else System.load(File(path).absolutePath)
        } catch (error: UnsatisfiedLinkError) {
            return {
                UnsatisfiedLinkError(
                    "the native library of limbeck cannot be loaded (${error.message}): set the system property " +
                        "limbeck.library to the file, or put its folder into java.library.path",
                )
            }
        }
        val found = try {
            Contract(version(), contract())
        } catch (_: UnsatisfiedLinkError) {
            null
        }
        return problem(found)?.let { { LimbeckException.Incompatible(it) } }
    }

    /** What a library says of itself. */
    private data class Contract(val version: String, val number: Int)

    /** What is wrong with a library of another version; null is one that does not even say its own. */
    private fun problem(found: Contract?): String? = when (found) {
        Contract(VERSION, CONTRACT) -> null
        null ->
            "the library limbeck_jni that was found is not one of limbeck's: these classes are of version $VERSION and " +
                "need the library of that version"
        else ->
            "these classes are of limbeck $VERSION (contract $CONTRACT) and the native library is of limbeck " +
                "${found.version} (contract ${found.number}): use both of one version"
    }

    @JvmStatic external fun version(): String
    @JvmStatic external fun contract(): Int
    @JvmStatic external fun openHandles(): Long
    @JvmStatic external fun close(handle: Long)
    @JvmStatic external fun cancelNew(): Long
    @JvmStatic external fun cancelTrigger(cancel: Long)
    @JvmStatic external fun setLogger(lowest: Int, logger: LogFunction?)
    @JvmStatic external fun openBundle(request: ByteArray, decryptor: Decryptor?): ByteArray
    @JvmStatic external fun generate(request: ByteArray, function: PieceFunction?): ByteArray

    @JvmStatic external fun loadRuntime(request: ByteArray): ByteArray
    @JvmStatic external fun verifyBundle(request: ByteArray): ByteArray
    @JvmStatic external fun openModel(request: ByteArray): ByteArray
    @JvmStatic external fun modelBundle(request: ByteArray): ByteArray
    @JvmStatic external fun warmUp(request: ByteArray): ByteArray
    @JvmStatic external fun selfTest(request: ByteArray): ByteArray
    @JvmStatic external fun countTokens(request: ByteArray): ByteArray
    @JvmStatic external fun providers(request: ByteArray): ByteArray
    @JvmStatic external fun memory(request: ByteArray): ByteArray
    @JvmStatic external fun metrics(request: ByteArray): ByteArray
    @JvmStatic external fun slotNew(request: ByteArray): ByteArray
    @JvmStatic external fun slotModel(request: ByteArray): ByteArray
    @JvmStatic external fun slotGeneration(request: ByteArray): ByteArray
    @JvmStatic external fun slotPublish(request: ByteArray): ByteArray
    @JvmStatic external fun slotRollBack(request: ByteArray): ByteArray
    @JvmStatic external fun slotForgetPrevious(request: ByteArray): ByteArray
    @JvmStatic external fun classify(request: ByteArray): ByteArray
    @JvmStatic external fun classifyPairs(request: ByteArray): ByteArray
    @JvmStatic external fun zeroShot(request: ByteArray): ByteArray
    @JvmStatic external fun rerank(request: ByteArray): ByteArray
    @JvmStatic external fun tag(request: ByteArray): ByteArray
    @JvmStatic external fun answer(request: ByteArray): ByteArray
    @JvmStatic external fun embed(request: ByteArray): ByteArray
    @JvmStatic external fun fillMask(request: ByteArray): ByteArray
    @JvmStatic external fun order(request: ByteArray): ByteArray
    @JvmStatic external fun replaced(request: ByteArray): ByteArray
    @JvmStatic external fun generateBatch(request: ByteArray): ByteArray
    @JvmStatic external fun choose(request: ByteArray): ByteArray
    @JvmStatic external fun score(request: ByteArray): ByteArray
    @JvmStatic external fun perplexity(request: ByteArray): ByteArray
    @JvmStatic external fun similarity(request: ByteArray): ByteArray
    @JvmStatic external fun nearest(request: ByteArray): ByteArray
    @JvmStatic external fun headFit(request: ByteArray): ByteArray
    @JvmStatic external fun headLoad(request: ByteArray): ByteArray
    @JvmStatic external fun headSave(request: ByteArray): ByteArray
    @JvmStatic external fun headClassify(request: ByteArray): ByteArray

    /** Panics; only in a library built for the tests. */
    @JvmStatic external fun testPanic()
}

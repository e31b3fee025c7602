package io.github.limbeck

import java.io.File

/** Decrypts the encrypted sections of a bundle. It is called on the thread that opens the bundle. */
public fun interface Decryptor {
    /** The content of the section named [section], of which [stored] are the stored bytes. What it throws is told. */
    public fun decrypt(section: String, stored: ByteArray): ByteArray
}

/**
 * What must hold for a bundle, and what helps to read it.
 *
 * @property keys public keys of 64 hex digits each: one of them must have signed the bundle, which is checked before
 *   anything else in it is read. Null: no signature is asked for, and hashes show damage but not forgery
 * @property minimumBuild the lowest build number that will do
 * @property sizeLimit the longest bundle that is read to memory, in bytes. 0: 4 GiB
 * @property decryptor decrypts the sections that are encrypted. Null: such a bundle is refused
 */
public class BundleOptions @JvmOverloads constructor(
    public val keys: List<String>? = null,
    public val minimumBuild: Long = 0,
    public val sizeLimit: Long = 0,
    public val decryptor: Decryptor? = null,
)

/**
 * A bundle, opened and verified: every offset, length and hash in it was checked. Needs no ONNX Runtime, so it also
 * serves to look at a file. May be closed while models opened from it live on.
 */
public class Bundle private constructor(info: Info, number: Long) : Handle(number) {
    /** Name of the model: "sentiment". */
    public val id: String = info.id

    /** Version of the model, for people: "0.1.0". */
    public val version: String = info.version

    /** Build number of the model, which grows with each build of one id. */
    public val build: Long = info.build

    /** What the model does: "text-classification". */
    public val task: String = info.task

    /** The most tokens that the model takes at one time, special tokens included. */
    public val maxTokens: Int = info.maxTokens

    /** Size of the whole bundle in bytes. */
    public val size: Long = info.size

    /** The labels that the model knows. */
    public val labels: List<String> = info.labels

    /** All that the manifest says, as a JSON object; described in docs/bundle-format.md. */
    public val manifestJson: String = info.manifest

    /** The ids of the keys that the bundle says it is signed by, 16 hex digits each. This checks no signature. */
    public val signers: List<String> = info.signers

    /**
     * Checks that one of some public keys signed the bundle, and gives its place among them. To have it checked
     * before anything else is read, give the keys to [open].
     *
     * @throws LimbeckException.Untrusted none of them did
     */
    public fun verify(keys: List<String>): Int =
        with { Reader(Native.verifyBundle(Writer().long(it).texts(keys, "keys").done())).size() }

    private class Info(
        val id: String,
        val version: String,
        val build: Long,
        val task: String,
        val maxTokens: Int,
        val size: Long,
        val labels: List<String>,
        val manifest: String,
        val signers: List<String>,
    )

    /** Opens bundles. */
    public companion object {
        private const val PATH = 0
        private const val BYTES = 1
        private const val DESCRIPTOR = 2

        /**
         * Opens a bundle file and verifies all of it. The file is mapped: do not change or cut it while the bundle or
         * its models are open; replace it by renaming a new file over it.
         *
         * @throws LimbeckException.BadBundle the file is damaged or no bundle
         * @throws LimbeckException.Untrusted a signature or build number is not as [options] want it
         */
        @JvmStatic
        @JvmOverloads
        public fun open(path: String, options: BundleOptions = BundleOptions()): Bundle =
            open(options) { int(PATH).text(path, "path") }

        /** As the other one. */
        @JvmStatic
        @JvmOverloads
        public fun open(file: File, options: BundleOptions = BundleOptions()): Bundle = open(file.path, options)

        /** Opens a bundle in memory and verifies all of it. The bytes are copied. */
        @JvmStatic
        @JvmOverloads
        public fun open(bytes: ByteArray, options: BundleOptions = BundleOptions()): Bundle =
            open(options) { int(BYTES).bytes(bytes) }

        /**
         * Opens a bundle that lies in an open file: [length] bytes from [offset] on, or all up to its end if [length]
         * is 0. So an uncompressed asset of an Android app needs no copy:
         *
         * ```
         * assets.openFd("sentiment.limbeck").use {
         *     Bundle.openDescriptor(it.parcelFileDescriptor.fd, it.startOffset, it.length)
         * }
         * ```
         *
         * At an [offset] that is a multiple of 64 it is mapped, else read to memory. The descriptor stays yours and may
         * be closed afterwards. Not on Windows.
         */
        @JvmStatic
        @JvmOverloads
        public fun openDescriptor(
            descriptor: Int,
            offset: Long = 0,
            length: Long = 0,
            options: BundleOptions = BundleOptions(),
        ): Bundle = open(options) { int(DESCRIPTOR).int(descriptor).long(offset).long(length) }

        private fun open(options: BundleOptions, source: Writer.() -> Unit): Bundle {
            val request = Writer().flag(options.keys != null)
            options.keys?.let { request.texts(it, "keys") }
            request.long(options.minimumBuild).long(options.sizeLimit).source()
            return of(Native.ready().openBundle(request.done(), options.decryptor))
        }

        /** The bundle that a reply gives. */
        internal fun of(reply: ByteArray): Bundle = with(Reader(reply)) {
            val info = Info(text(), text(), long(), text(), size(), long(), texts(), text(), texts())
            Bundle(info, long())
        }
    }
}

package io.github.limbeck

import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder

/*
 * What goes over the boundary: one array of bytes in, one out. Numbers are little-endian; a text is its length in
 * bytes (4) and its bytes; a list is its length (4) and its entries. wire.rs is the other side.
 */

/** Writes a request. */
internal class Writer {
    private val out = ByteArrayOutputStream()

    fun int(value: Int): Writer = apply {
        for (shift in 0 until Int.SIZE_BITS step Byte.SIZE_BITS) out.write(value ushr shift)
    }

    fun long(value: Long): Writer = apply { int(value.toInt()).int((value ushr Int.SIZE_BITS).toInt()) }

    fun float(value: Float): Writer = int(value.toRawBits())

    fun double(value: Double): Writer = long(value.toRawBits())

    fun flag(value: Boolean): Writer = apply { out.write(if (value) 1 else 0) }

    fun bytes(bytes: ByteArray): Writer = apply {
        int(bytes.size)
        if (out.size().toLong() + bytes.size > MOST) {
            throw LimbeckException.InvalidArgument("the texts of one call have more than 2 GB: give fewer at a time")
        }
        out.write(bytes, 0, bytes.size)
    }

    /** A text of the caller's; [name] is for the message if it is none. */
    fun text(text: String, name: String): Writer {
        val bytes = try {
            text.encodeToByteArray(throwOnInvalidSequence = true)
        } catch (_: CharacterCodingException) {
            throw LimbeckException.InvalidText(
                "$name cannot be written as UTF-8: at UTF-16 index ${loneSurrogate(text)} stands one half of a " +
                    "surrogate pair without the other",
            )
        }
        return bytes(bytes)
    }

    fun texts(texts: Collection<String>, name: String): Writer = list(texts, { "$name[$it]" }) { text, at -> text(text, at) }

    fun pairs(pairs: Collection<TextPair>, name: String): Writer =
        list(pairs, { "$name[$it]" }) { pair, at -> text(pair.first, at).text(pair.second, at) }

    fun floats(floats: FloatArray): Writer = apply {
        int(floats.size)
        floats.forEach { float(it) }
    }

    fun done(): ByteArray = out.toByteArray()

    private fun <T> list(entries: Collection<T>, name: (Int) -> String, each: (T, String) -> Unit): Writer = apply {
        int(entries.size)
        entries.forEachIndexed { index, entry -> each(entry, name(index)) }
    }

    private companion object {
        /** A little less than an array can have. */
        const val MOST = Int.MAX_VALUE - 1024L

        fun loneSurrogate(text: String): Int {
            var index = 0
            while (index < text.length) {
                val pair = text[index].isHighSurrogate() && index + 1 < text.length && text[index + 1].isLowSurrogate()
                if (text[index].isSurrogate() && !pair) break
                index += if (pair) 2 else 1
            }
            return index
        }
    }
}

/** Reads a reply. */
internal class Reader(reply: ByteArray) {
    private val bytes = ByteBuffer.wrap(reply).order(ByteOrder.LITTLE_ENDIAN)

    fun int(): Int = bytes.getInt()

    fun long(): Long = bytes.getLong()

    /** A number of things that fit into memory. */
    fun size(): Int = Math.toIntExact(long())

    fun float(): Float = bytes.getFloat()

    fun double(): Double = bytes.getDouble()

    fun flag(): Boolean = bytes.get().toInt() != 0

    fun text(): String {
        val length = int()
        val text = String(bytes.array(), bytes.position(), length, Charsets.UTF_8)
        // Through Buffer: on Java 8, which older Android is, ByteBuffer has no method of its own.
        (bytes as java.nio.Buffer).position(bytes.position() + length)
        return text
    }

    fun floats(): FloatArray = FloatArray(int()) { float() }

    fun <T> list(each: Reader.() -> T): List<T> = List(int()) { each() }

    fun texts(): List<String> = list { text() }
}

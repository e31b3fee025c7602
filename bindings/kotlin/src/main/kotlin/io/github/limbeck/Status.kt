package io.github.limbeck

/**
 * What a failed call says: the statuses of `limbeck.h`, with the same numbers, which never change.
 *
 * @property code the number
 */
public enum class Status(public val code: Int) {
    /** An argument or option has a value that cannot be used; or a handle was used after it was closed. */
    INVALID_ARGUMENT(1),

    /** A text cannot be written as UTF-8; the message says where. */
    INVALID_UTF8(2),

    /** A file is not there. */
    NOT_FOUND(3),

    /** The operating system refused to read or write a file. */
    IO(4),

    /** The file is no limbeck bundle. */
    NOT_A_BUNDLE(5),

    /** The bundle ends before it should. */
    TRUNCATED(6),

    /** Bytes of the bundle do not have the hash they should. */
    CORRUPT(7),

    /** The bundle breaks a rule of its format. */
    MALFORMED(8),

    /** The bundle, the program or the native library is of another version than is needed. */
    INCOMPATIBLE(9),

    /** The model was made for another task. */
    WRONG_TASK(10),

    /** The text is longer than the model takes. */
    TOO_LONG(11),

    /** The call was cancelled. */
    CANCELLED(12),

    /** The deadline passed before the call was finished. */
    DEADLINE_EXCEEDED(13),

    /** No ONNX Runtime library was found. */
    RUNTIME_NOT_FOUND(14),

    /** The ONNX Runtime library found cannot be used. */
    RUNTIME_INCOMPATIBLE(15),

    /** ONNX Runtime refused the model or failed while running it. */
    INFERENCE(16),

    /** The bundle's tokenizer cannot be read, or failed on a text. */
    TOKENIZER(17),

    /** A memory budget cannot be kept. */
    MEMORY_BUDGET(18),

    /** A signature is missing or wrong. */
    SIGNATURE(19),

    /** A bundle's own test inputs did not give the outputs expected. */
    SELF_TEST(20),

    /** Of the C library alone: a pointer is NULL that must not be. Never seen here. */
    NULL_POINTER(21),

    /** Of the C library alone: a struct is too new. Never seen here. */
    BAD_STRUCT_SIZE(22),

    /** The bundle is an older build than it may be. */
    ROLLBACK(23),

    /** A bug in limbeck. */
    INTERNAL(99);

    /** The name as C has it: `LIMBECK_NOT_FOUND`. */
    public val cName: String get() = "LIMBECK_$name"

    public companion object {
        /** The status of a number; null if this version knows none. */
        @JvmStatic
        public fun of(code: Int): Status? = entries.find { it.code == code }
    }
}

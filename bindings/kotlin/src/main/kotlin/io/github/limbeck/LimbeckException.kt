package io.github.limbeck

/**
 * Why a call failed: a class for each [Status], so that `catch` can choose, and a message in English that names what
 * failed and, where there is a way, how to mend it.
 *
 * @property status the status
 */
public sealed class LimbeckException(public val status: Status, message: String) : RuntimeException(message) {
    /** See [Status.INVALID_ARGUMENT]. */
    public class InvalidArgument(message: String) : LimbeckException(Status.INVALID_ARGUMENT, message)

    /** See [Status.INVALID_UTF8]. */
    public class InvalidText(message: String) : LimbeckException(Status.INVALID_UTF8, message)

    /** See [Status.NOT_FOUND]. */
    public class NotFound(message: String) : LimbeckException(Status.NOT_FOUND, message)

    /** See [Status.IO]. */
    public class Io(message: String) : LimbeckException(Status.IO, message)

    /** A bundle is damaged, foreign or wrong: see [status]. */
    public class BadBundle(status: Status, message: String) : LimbeckException(status, message)

    /** See [Status.INCOMPATIBLE]. */
    public class Incompatible(message: String) : LimbeckException(Status.INCOMPATIBLE, message)

    /** See [Status.WRONG_TASK]. */
    public class WrongTask(message: String) : LimbeckException(Status.WRONG_TASK, message)

    /** See [Status.TOO_LONG]. */
    public class TooLong(message: String) : LimbeckException(Status.TOO_LONG, message)

    /** See [Status.CANCELLED]. Suspending calls throw `CancellationException` when their coroutine is cancelled. */
    public class Cancelled(message: String) : LimbeckException(Status.CANCELLED, message)

    /** See [Status.DEADLINE_EXCEEDED]. */
    public class DeadlineExceeded(message: String) : LimbeckException(Status.DEADLINE_EXCEEDED, message)

    /** ONNX Runtime is missing, of the wrong version, or failed: see [status]. */
    public class Runtime(status: Status, message: String) : LimbeckException(status, message)

    /** See [Status.TOKENIZER]. */
    public class Tokenizer(message: String) : LimbeckException(Status.TOKENIZER, message)

    /** See [Status.MEMORY_BUDGET]. */
    public class MemoryBudget(message: String) : LimbeckException(Status.MEMORY_BUDGET, message)

    /** A bundle cannot be trusted: its signature, its build or its self-test is wrong. See [status]. */
    public class Untrusted(status: Status, message: String) : LimbeckException(status, message)

    /** See [Status.INTERNAL]. */
    public class Internal(message: String) : LimbeckException(Status.INTERNAL, message)

    internal companion object {
        /** Called by the native library. */
        @JvmStatic
        fun of(code: Int, message: String): LimbeckException = when (val status = Status.of(code)) {
            Status.INVALID_ARGUMENT -> InvalidArgument(message)
            Status.INVALID_UTF8 -> InvalidText(message)
            Status.NOT_FOUND -> NotFound(message)
            Status.IO -> Io(message)
            Status.NOT_A_BUNDLE, Status.TRUNCATED, Status.CORRUPT, Status.MALFORMED -> BadBundle(status, message)
            Status.INCOMPATIBLE -> Incompatible(message)
            Status.WRONG_TASK -> WrongTask(message)
            Status.TOO_LONG -> TooLong(message)
            Status.CANCELLED -> Cancelled(message)
            Status.DEADLINE_EXCEEDED -> DeadlineExceeded(message)
            Status.RUNTIME_NOT_FOUND, Status.RUNTIME_INCOMPATIBLE, Status.INFERENCE -> Runtime(status, message)
            Status.TOKENIZER -> Tokenizer(message)
            Status.MEMORY_BUDGET -> MemoryBudget(message)
            Status.SIGNATURE, Status.SELF_TEST, Status.ROLLBACK -> Untrusted(status, message)
            Status.NULL_POINTER, Status.BAD_STRUCT_SIZE, Status.INTERNAL -> Internal(message)
            null -> Internal("status $code: $message")
        }
    }
}

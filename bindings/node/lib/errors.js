// Why a call failed: a class for each status.

/** The numbers of enum limbeck_status_code, by name. */
export const Status = Object.freeze({
  INVALID_ARGUMENT: 1,
  INVALID_UTF8: 2,
  NOT_FOUND: 3,
  IO: 4,
  NOT_A_BUNDLE: 5,
  TRUNCATED: 6,
  CORRUPT: 7,
  MALFORMED: 8,
  INCOMPATIBLE: 9,
  WRONG_TASK: 10,
  TOO_LONG: 11,
  CANCELLED: 12,
  DEADLINE_EXCEEDED: 13,
  RUNTIME_NOT_FOUND: 14,
  RUNTIME_INCOMPATIBLE: 15,
  INFERENCE: 16,
  TOKENIZER: 17,
  MEMORY_BUDGET: 18,
  SIGNATURE: 19,
  SELF_TEST: 20,
  NULL_POINTER: 21,
  BAD_STRUCT_SIZE: 22,
  ROLLBACK: 23,
  INTERNAL: 99,
});

const NAMES = new Map(Object.entries(Status).map(([name, status]) => [status, `LIMBECK_${name}`]));

export class LimbeckError extends Error {
  constructor(message, status = new.target.status ?? Status.INTERNAL, options = undefined) {
    super(message, options);
    this.status = status;
    this.code = NAMES.get(status) ?? "LIMBECK_UNKNOWN";
  }
}

const BY_STATUS = new Map();

function define(name, status, base = LimbeckError) {
  // A class with a name of its own, for traces and for `error.name`.
  const type = { [name]: class extends base {} }[name];
  Object.defineProperty(type.prototype, "name", { value: name, configurable: true, writable: true });
  if (status !== undefined) {
    type.status = status;
    BY_STATUS.set(status, type);
  }
  return type;
}

Object.defineProperty(LimbeckError.prototype, "name", { value: "LimbeckError", configurable: true, writable: true });

export const InvalidArgumentError = define("InvalidArgumentError", Status.INVALID_ARGUMENT);
export const InvalidUtf8Error = define("InvalidUtf8Error", Status.INVALID_UTF8);
export const NotFoundError = define("NotFoundError", Status.NOT_FOUND);
export const IoError = define("IoError", Status.IO);
export const WrongTaskError = define("WrongTaskError", Status.WRONG_TASK);
export const TooLongError = define("TooLongError", Status.TOO_LONG);
export const CancelledError = define("CancelledError", Status.CANCELLED);
export const DeadlineExceededError = define("DeadlineExceededError", Status.DEADLINE_EXCEEDED);
export const RuntimeNotFoundError = define("RuntimeNotFoundError", Status.RUNTIME_NOT_FOUND);
export const RuntimeIncompatibleError = define("RuntimeIncompatibleError", Status.RUNTIME_INCOMPATIBLE);
export const InferenceError = define("InferenceError", Status.INFERENCE);
export const TokenizerError = define("TokenizerError", Status.TOKENIZER);
export const MemoryBudgetError = define("MemoryBudgetError", Status.MEMORY_BUDGET);
export const InternalError = define("InternalError", Status.INTERNAL);
export const BundleError = define("BundleError");
export const NotABundleError = define("NotABundleError", Status.NOT_A_BUNDLE, BundleError);
export const TruncatedError = define("TruncatedError", Status.TRUNCATED, BundleError);
export const CorruptError = define("CorruptError", Status.CORRUPT, BundleError);
export const MalformedError = define("MalformedError", Status.MALFORMED, BundleError);
export const IncompatibleError = define("IncompatibleError", Status.INCOMPATIBLE, BundleError);
export const SignatureError = define("SignatureError", Status.SIGNATURE, BundleError);
export const SelfTestError = define("SelfTestError", Status.SELF_TEST, BundleError);
export const RollbackError = define("RollbackError", Status.ROLLBACK, BundleError);
// What a binding does wrong, and not its user.
BY_STATUS.set(Status.NULL_POINTER, InternalError);
BY_STATUS.set(Status.BAD_STRUCT_SIZE, InternalError);

// What code that deals with AbortSignal looks for.
CancelledError.prototype.name = "AbortError";

/** The error of a status; one that a later library has and this package does not know is a LimbeckError. */
export function errorOf(status, message, options) {
  return new (BY_STATUS.get(status) ?? LimbeckError)(message, status, options);
}

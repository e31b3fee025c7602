// Options of calls.

import { InvalidArgumentError } from "./errors.js";
import { cancelledAtExit, needsCancel, uncancelledAtExit } from "./exit.js";
import { initialised, made, native } from "./native.js";
import { Input, known, whole } from "./texts.js";

const COMMON = ["overflow", "windowStride", "timeout", "signal"];
const OVERFLOWS = { truncate: 1, error: 2, window: 3 };
const AGGREGATIONS = { first: 0, average: 1, max: 2, strict: 3, none: 4 };
// What stands for 0, which in C means the default: the next number above it.
const ALMOST_ZERO = 1e-45;

export const oneOf = (values, value, name, otherwise) => {
  if (value === undefined || value === null) return otherwise;
  if (Object.hasOwn(values, value)) return values[value];
  throw new InvalidArgumentError(`${name} is ${String(value)} and must be one of ${Object.keys(values).join(", ")}`);
};

/** A number, where 0 and the default are the same. */
export const finite = (value, name) => {
  if (value === undefined || value === null) return 0;
  if (typeof value !== "number") throw new TypeError(`${name} must be a number, not ${typeof value}`);
  if (!Number.isFinite(value)) throw new InvalidArgumentError(`${name} is ${value} and must be a finite number`);
  return value;
};

/** A number that may be 0, where C has 0 for the default. */
export const number = (value, name) => (value === 0 ? ALMOST_ZERO : finite(value, name));

export function milliseconds(timeout) {
  if (timeout === undefined || timeout === null) return 0;
  if (typeof timeout !== "number" || Number.isNaN(timeout)) throw new TypeError("timeout must be a number");
  // A time that has passed is the shortest one, and not none.
  if (timeout <= 0) return 1;
  return timeout > 1e15 ? 0 : Math.max(1, Math.ceil(timeout));
}

/** Runs `work` with the options of a call as C has them, and with what says why it was cancelled. `own`: the names that
 *  the task reads beside those of all tasks. */
export async function withOptions(given, own, work) {
  const options = known(given, [...COMMON, ...own]);
  const overflow = oneOf(OVERFLOWS, options.overflow, "overflow", 0);
  const windowStride = whole(options.windowStride, "windowStride", 1, 0xffffffff);
  if (windowStride !== 0 && overflow !== OVERFLOWS.window) {
    throw new InvalidArgumentError(`windowStride is ${windowStride} and overflow is not window`);
  }
  const input = new Input();
  const text = (name) => {
    if (options[name] === undefined || options[name] === null) return { data: null, length: 0 };
    const found = input.str(options[name], name);
    if (found.length === 0) throw new InvalidArgumentError(`${name} is empty: leave it out for the default`);
    return found;
  };
  const c = initialised("CallOptions", {
    overflow,
    window_stride: windowStride,
    deadline_ms: milliseconds(options.timeout),
    top_k: whole(options.topK, "topK", 1),
    threshold: number(options.threshold, "threshold"),
    out_of_scope: number(options.outOfScope, "outOfScope"),
    aggregation: oneOf(AGGREGATIONS, options.aggregation, "aggregation", 0),
    multi_label: options.multiLabel ? 1 : 0,
    max_answer_tokens: whole(options.maxAnswerTokens, "maxAnswerTokens", 1),
    hypothesis: text("hypothesis"),
    rank_label: text("label"),
    both_orders: options.bothOrders ? 1 : 0,
  });
  const result = await withSignal(options.signal, c, work);
  input.keep.length = 0;
  return result;
}

/** Refuses what is no signal. */
export function checkSignal(signal) {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError("signal must be an AbortSignal");
}

/** Runs `work` with options as C has them, which a signal cancels, and with what says why. */
export async function withSignal(signal, c, work) {
  checkSignal(signal);
  if (signal === undefined && !needsCancel) return work(c);
  c.cancel = made("cancel_new");
  const trigger = () => native.cancel_trigger(c.cancel);
  try {
    if (signal?.aborted) trigger();
    signal?.addEventListener("abort", trigger, { once: true });
    cancelledAtExit(trigger);
    return await work(c, () => (signal?.aborted ? signal.reason : undefined));
  } finally {
    uncancelledAtExit(trigger);
    signal?.removeEventListener("abort", trigger);
    native.cancel_free(c.cancel);
  }
}

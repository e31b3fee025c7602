// Log messages of the library and of ONNX Runtime.

import { checkAsync } from "./calls.js";
import { InvalidArgumentError } from "./errors.js";
import { register, textOf, unregister } from "./native.js";

const LEVELS = ["verbose", "info", "warning", "error", "fatal"];
let current = null;

/** Gives messages of a level and above to a function, for the whole process; null stops that. */
export async function setLogger(logger, lowest = "warning") {
  if (!LEVELS.includes(lowest)) throw new InvalidArgumentError(`lowest is ${lowest} and must be one of ${LEVELS.join(", ")}`);
  let next = null;
  if (logger !== null && logger !== undefined) {
    if (typeof logger !== "function") throw new TypeError("logger must be a function");
    next = register.log((_, level, message) => {
      // No exception may leave it.
      try {
        logger(LEVELS[Math.min(level, 4)], textOf(message));
      } catch {
        // What the logger throws is lost, as its message is.
      }
    });
  }
  // Not on this thread, which a logger that is running may be waiting for.
  await checkAsync("set_logger", [LEVELS.indexOf(lowest), next, null]);
  if (current !== null) unregister(current);
  current = next;
}

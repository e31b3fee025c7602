// Calls on the library's own threads, so that Node's goes on.

import { begun, ended } from "./exit.js";
import { native, taken } from "./native.js";

// koffi throws when 256 calls are under way, and each has a stack of its own; so those above this number wait here.
// It is more than the threads that Node's pool has by default.
const MOST = 32;
let running = 0;
const waiting = [];

function next() {
  running -= 1;
  ended();
  waiting.shift()?.();
}

/** Makes a call whose last parameter is the place for an error, on another thread. `cause`: what to name as the
 *  reason of a failure. All that `args` refer to must be kept alive by the caller until this is settled. */
export async function checkAsync(name, args, cause = () => undefined) {
  if (running >= MOST) await new Promise((resolve) => waiting.push(resolve));
  running += 1;
  begun();
  const error = [null];
  try {
    const status = await new Promise((resolve, reject) => {
      native[name].async(...args, error, (failure, result) => (failure ? reject(failure) : resolve(result)));
    });
    if (status !== 0) throw taken(status, error[0], cause());
  } finally {
    next();
  }
}

/** As checkAsync, for a call that makes a handle: gives it. */
export async function madeAsync(name, args, cause) {
  const handle = [null];
  await checkAsync(name, [...args, handle], cause);
  return handle[0];
}

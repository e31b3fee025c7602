// The end of the process while calls run. Node's own waits for its pool's threads and runs no more JavaScript: a call would
// hold it up, and one that waits for a callback (a token function, a logger) would do so for ever. So while calls run,
// what Node does is done here, but for the waiting.

import { writeSync } from "node:fs";
import { inspect } from "node:util";
import { isMainThread } from "node:worker_threads";

import koffi from "koffi";

let running = 0;
let uncaught;

// Node prints an exception only after the listeners of "exit".
function remember(error) {
  const caught = process.listenerCount("uncaughtException") > 0 || process.hasUncaughtExceptionCaptureCallback();
  if (!caught) uncaught = { error };
}

function leave(code) {
  const listeners = process.rawListeners("exit");
  try {
    for (const listener of listeners.slice(listeners.indexOf(leave) + 1)) listener.call(process, code);
    if (uncaught) writeSync(2, `Uncaught ${inspect(uncaught.error)}\n\nNode.js ${process.version}\n`);
  } finally {
    const library = process.platform === "win32" ? "ucrtbase.dll" : null;
    koffi.load(library).func("_exit", "void", ["int"])(Number(process.exitCode ?? code));
  }
}

/** A call begins on another thread. In a worker, whose end is not the process's, nothing is done. */
export function begun() {
  running += 1;
  if (running > 1 || !isMainThread) return;
  process.on("uncaughtExceptionMonitor", remember);
  process.on("exit", leave);
}

/** A call has ended. */
export function ended() {
  running -= 1;
  if (running > 0 || !isMainThread) return;
  process.off("uncaughtExceptionMonitor", remember);
  process.off("exit", leave);
}

// The end of the process, or of a worker thread, while calls run. Node's own waits for its pool's threads and runs no more
// JavaScript: a call would hold it up, and in the main thread one that waits for a callback (a token function, a logger)
// would do so for ever. So while calls run, what Node does at the end of the process is done here, but for the waiting. A
// worker's end is not the process's: there Node is let wait, and the calls are cancelled, so that it does so briefly.

import { writeSync } from "node:fs";
import { inspect } from "node:util";
import { isMainThread } from "node:worker_threads";

import koffi from "koffi";

let running = 0;
let uncaught;
const cancels = new Set();

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

function cancelAll() {
  for (const cancel of cancels) cancel();
}

/** Whether calls that nobody else can cancel need a token for the end of their thread. */
export const needsCancel = !isMainThread;

/** Has `cancel` called if this worker thread ends before `uncancelledAtExit`. */
export const cancelledAtExit = (cancel) => cancels.add(cancel);
export const uncancelledAtExit = (cancel) => cancels.delete(cancel);

/** A call begins on another thread. */
export function begun() {
  running += 1;
  if (running > 1) return;
  if (!isMainThread) return void process.on("exit", cancelAll);
  process.on("uncaughtExceptionMonitor", remember);
  process.on("exit", leave);
}

/** A call has ended. */
export function ended() {
  running -= 1;
  if (running > 0) return;
  process.off("exit", isMainThread ? leave : cancelAll);
  process.off("uncaughtExceptionMonitor", remember);
}

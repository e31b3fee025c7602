// Serves texts from standard input while a newer model replaces the one in use: no call fails for it, and a candidate
// that is worse is refused.
//
//   node hot_swap.mjs BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts
//
// One text a line; the newer bundle is tried after the first one.

import readline from "node:readline";

import { LimbeckError, Model, Slot } from "limbeck";

// A candidate that cannot be opened, does another task, is older, or fails its own self-test is told, and the model in
// use stays.
async function replace(slot, path) {
  try {
    const candidate = await Model.open(path);
    try {
      await slot.publish(candidate);
    } finally {
      candidate.close(); // the slot holds what it uses
    }
  } catch (error) {
    if (!(error instanceof LimbeckError)) throw error;
    console.log(`not replaced: ${error.code}: ${error.message}`);
  }
}

async function main([path, runtime, newer]) {
  if (newer === undefined) {
    console.error("usage: hot_swap.mjs BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts");
    return 2;
  }
  const first = await Model.open(path, { runtime });
  const slot = Slot.of(first);
  first.close();
  let number = 0;
  for await (const text of readline.createInterface({ input: process.stdin })) {
    const model = slot.model; // the one that is in use at this moment
    const { labels } = await model.classify(text);
    model.close();
    const [best] = labels;
    console.log(`model ${slot.generation}: ${best.label}  ${best.probability.toFixed(3)}  ${text}`);
    if (number++ === 0) await replace(slot, newer);
  }
  slot.close();
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof LimbeckError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  return 1;
});

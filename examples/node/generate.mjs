// Writes on from a prompt, and shows the text as it is written.
//
//   node generate.mjs BUNDLE ONNXRUNTIME_LIBRARY "prompt"
//
// For a bundle of the task "generation".

import { LimbeckError, Model } from "limbeck";

async function main([path, runtime, prompt]) {
  if (prompt === undefined) {
    console.error('usage: generate.mjs BUNDLE ONNXRUNTIME_LIBRARY "prompt"');
    return 2;
  }
  const model = await Model.open(path, { runtime });
  // The likeliest token each time: set a temperature and a seed to draw. At the end of the context the text ends, too;
  // and it takes no longer than a minute.
  const stream = model.stream(prompt, { maxNewTokens: 200, context: "stop", timeout: 60000 });
  for await (const { text } of stream) process.stdout.write(text);
  const { ids, finish, prefillMs, decodeMs, samplingMs } = await stream.result;
  const speed = (1000 * ids.length) / (prefillMs + decodeMs + samplingMs);
  console.log(`\n${ids.length} tokens, ${finish}, ${speed.toFixed(1)} tokens a second`);
  model.close();
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof LimbeckError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  return 1;
});

// Classifies texts with a bundle, and says how sure it is and how long it took.
//
//   node sentiment.mjs BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// With the package limbeck installed. Without a path of its own, limbeck takes the ONNX Runtime of the package
// onnxruntime-node.

import { LimbeckError, Model } from "limbeck";

async function main([path, runtime, ...texts]) {
  if (texts.length === 0) {
    console.error('usage: sentiment.mjs BUNDLE ONNXRUNTIME_LIBRARY "text" ...');
    return 2;
  }
  const model = await Model.open(path, { runtime });
  await model.warmUp();
  for (const text of texts) {
    const { labels, usage } = await model.classify(text);
    const [best] = labels;
    const time = usage.tokenizeMs + usage.inferenceMs + usage.postMs;
    const tokens = String(usage.tokensUsed).padStart(2);
    console.log(`${best.label}  ${best.probability.toFixed(3)}  ${tokens} tokens  ${time.toFixed(2)} ms  ${text}`);
  }
  model.close();
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof LimbeckError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  return 1;
});

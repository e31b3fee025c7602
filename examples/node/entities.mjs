// Finds names in texts, and says where they stand.
//
//   node entities.mjs BUNDLE ONNXRUNTIME_LIBRARY "text" ...
//
// For a bundle of the task "token-classification".

import { LimbeckError, Model } from "limbeck";

async function main([path, runtime, ...texts]) {
  if (texts.length === 0) {
    console.error('usage: entities.mjs BUNDLE ONNXRUNTIME_LIBRARY "text" ...');
    return 2;
  }
  const model = await Model.open(path, { runtime });
  const found = await model.tagBatch(texts);
  found.forEach(({ entities }, i) => {
    for (const { label, score, start, end } of entities) {
      // Places count UTF-16 units as JavaScript does: this is the entity's text.
      const piece = texts[i].slice(start, end);
      console.log(`${label}  ${score.toFixed(3)}  units ${start} to ${end}  ${piece}`);
    }
  });
  model.close();
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof LimbeckError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  return 1;
});

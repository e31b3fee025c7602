// Finds the text that is closest to the first one.
//
//   node similarity.mjs BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...
//
// For a bundle of the task "sentence-embedding".

import { LimbeckError, Model, nearest } from "limbeck";

async function main([path, runtime, query, ...texts]) {
  if (texts.length === 0) {
    console.error('usage: similarity.mjs BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...');
    return 2;
  }
  const model = await Model.open(path, { runtime });
  const { vector } = await model.embed(query);
  // One Float32Array for all of them: a table that could also come from a file.
  const table = await model.embedBatch(texts);
  for (const { index, similarity } of nearest(vector, table, texts.length)) {
    console.log(`${similarity.toFixed(3)}  ${texts[index]}`);
  }
  model.close();
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof LimbeckError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  return 1;
});

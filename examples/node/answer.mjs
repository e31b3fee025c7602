// Answers a question from a text of any length, and says where the answer stands.
//
//   node answer.mjs BUNDLE ONNXRUNTIME_LIBRARY "question" "text"
//
// For a bundle of the task "question-answering".

import { LimbeckError, Model } from "limbeck";

async function main([path, runtime, question, text]) {
  if (text === undefined) {
    console.error('usage: answer.mjs BUNDLE ONNXRUNTIME_LIBRARY "question" "text"');
    return 2;
  }
  const model = await Model.open(path, { runtime });
  // The three best; and no more than two seconds for a text that could be a book.
  const { answers } = await model.answer(question, text, { topK: 3, timeout: 2000 });
  for (const { score, start, end, text: piece } of answers) {
    console.log(`${score.toFixed(3)}  units ${start} to ${end}  ${piece}`);
  }
  model.close();
  return 0;
}

process.exitCode = await main(process.argv.slice(2)).catch((error) => {
  if (!(error instanceof LimbeckError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  return 1;
});

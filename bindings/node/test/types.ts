// Compiled and never run: the types let pass what is right, and refuse what is wrong.

import {
  BundleError,
  Bundle,
  Embeddings,
  Head,
  LimbeckError,
  Model,
  Slot,
  Status,
  loadRuntime,
  nearest,
  openHandles,
  setLogger,
  similarity,
  version,
} from "../lib/index.js";
import type { Answer, Choices, Classification, Entity, Generation, Prompt, Text } from "../lib/index.js";

export async function right(text: Text, signal: AbortSignal): Promise<string> {
  const runtime: { version: string; path: string } = loadRuntime("libonnxruntime.so");
  const open: number = openHandles();
  await setLogger((level, message) => console.log(level.length + message.length), "info");
  await using_();
  const model = await Model.open("sentiment.limbeck", { runtime: runtime.path, sessions: 2, keys: ["00"] });
  const { labels, inScope, usage }: Classification = await model.classify(text, { topK: 1, timeout: 100, signal });
  const best: string | undefined = labels[0]?.label;
  const entities: Entity[] = (await model.tag(text, { aggregation: "max" })).entities;
  const answer: Answer | undefined = (await model.answer("who?", text)).answers[0];
  const batch: Embeddings = await model.embedBatch([text, "b"]);
  const found = nearest(batch.at(0) ?? [], batch, 2)[0]?.similarity ?? similarity([1], [1]);
  const head = await Head.fit(model, [["a", "b"]], { strength: 1 });
  await head.classify(model, ["x"], { outOfScope: 0.5 });
  const slot = Slot.of(model);
  const generation: number = (await slot.publish(model)) + slot.rollBack();
  const bundle: Bundle = model.bundle;
  bundle.manifest["id"];
  try {
    await Bundle.open("x", { decrypt: (_section, stored) => stored, minimumBuild: 1 });
  } catch (error) {
    if (error instanceof BundleError && error.status === Status.CORRUPT) return error.code;
    if (error instanceof LimbeckError) throw error;
  }
  return `${version}${open}${best}${inScope}${usage.windows}${entities.length}${answer?.span.byteStart}${found}${generation}`;
}

export async function writes(model: Model, signal: AbortSignal): Promise<string> {
  const prompt: Prompt = { query: "c", examples: [["a", " b"]], instruction: "x", maxTokens: 9 };
  let text = "";
  const stream = model.stream(prompt, { maxNewTokens: 5, temperature: 0.8, topP: 0.9, seed: 1n, stops: ["."], signal });
  for await (const piece of stream) text += piece.text + piece.id.toFixed();
  const { finish, ids, stop }: Generation = await stream.result;
  const first: number | undefined = ids[0];
  await model.generate("a", { onToken: ({ text }) => text.length < 9, context: "slide", contextKeep: 4 });
  await model.generate("a", { onToken: (piece) => console.log(piece) });
  const batch: Generation[] = await model.generateBatch(["a", "b"], { topK: 3, timeout: 5 });
  const found: Choices = await model.choose(prompt, [" d", " e"], { scoring: "per-byte", contentFree: ["N/A"] });
  const { perToken } = await model.score("a", " b", { timeout: 5 });
  const { bitsPerByte } = await model.perplexity("a b", { stride: 4, fromStart: true });
  const kind: "end-of-text" | "stop" | "length" | "context" | "unfinished" = finish;
  return `${text}${kind}${stop?.length}${first}${batch.length}${found.usage.examplesDropped}${perToken}${bitsPerByte}`;
}

async function using_(): Promise<void> {
  using model = await Model.open("x");
  model.close();
}

export async function wrong(model: Model, bundle: Bundle): Promise<void> {
  // @ts-expect-error
  new Model();
  // @ts-expect-error
  await model.classify(3);
  // @ts-expect-error
  await model.classify("x", { hypothesis: "y" });
  // @ts-expect-error
  await model.classify("x", { overflow: "cut" });
  // @ts-expect-error
  await model.classifyPair("x");
  // @ts-expect-error
  await model.classifyPairs([["x"]]);
  // @ts-expect-error
  await model.generate("x", { context: "forget" });
  // @ts-expect-error
  await model.generate({ examples: [] });
  // @ts-expect-error
  model.stream("x", { onToken: () => true });
  // @ts-expect-error
  await model.score("x", "y", { scoring: "sum" });
  // @ts-expect-error
  for (const piece of model.stream("x")) piece.text;
  // @ts-expect-error
  Slot.of(bundle);
  // @ts-expect-error
  model.task = "x";
}

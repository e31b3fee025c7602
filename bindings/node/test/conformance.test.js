// The cases of tests/conformance (see its README), through the package.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import { conformance, limbeck, modelOf, nothingLeft } from "./support.js";

const text = (value) => {
  if (typeof value === "string") return value;
  if (value.utf8 === undefined) return value.repeat.repeat(value.times);
  // As a string where JavaScript has one for it, else as bytes.
  return value.utf16 === null ? Buffer.from(value.utf8, "hex") : String.fromCharCode(...value.utf16);
};
const texts = (values) => values.map(text);
const pairs = (values) => values.map(texts);

const NAMES = {
  window_stride: "windowStride",
  deadline_ms: "timeout",
  top_k: "topK",
  out_of_scope: "outOfScope",
  multi_label: "multiLabel",
  max_answer_tokens: "maxAnswerTokens",
  rank_label: "label",
  max_new_tokens: "maxNewTokens",
  top_p: "topP",
  repetition_penalty: "repetitionPenalty",
  ignore_eos: "ignoreEos",
  context_keep: "contextKeep",
  answer_context: "answerContext",
  content_free: "contentFree",
  from_start: "fromStart",
  both_orders: "bothOrders",
};
// Those whose values are texts.
const TEXTS = ["stops", "content_free"];

function options({ options: given = {} }) {
  const { cancelled, ...rest } = given;
  const valueOf = (name, value) => {
    if (name === "scoring") return value.replace("_", "-");
    return TEXTS.includes(name) ? texts(value) : value;
  };
  const entries = Object.entries(rest).map(([name, value]) => [NAMES[name] ?? name, valueOf(name, value)]);
  if (cancelled !== undefined) {
    const controller = new AbortController();
    if (cancelled) controller.abort();
    entries.push(["signal", controller.signal]);
  }
  return Object.fromEntries(entries);
}

// ---- results, in the form of limbeck_result_json

const span = ({ span: s, start, end }) => {
  assert.deepEqual([start, end], [s.start, s.end]);
  return { bytes: [s.byteStart, s.byteEnd], utf16: [s.start, s.end], chars: [s.charStart, s.charEnd] };
};

const withUsage = (fields, { tokensUsed, tokensDropped, windows, ...times }) => {
  for (const name of ["tokenizeMs", "inferenceMs", "postMs"]) assert.ok(times[name] >= 0);
  return { ...fields, tokens_used: tokensUsed, tokens_dropped: tokensDropped, windows };
};

/** The form of one answer; `source` is the text that its pieces must be pieces of. */
function form(result, source) {
  const placed = (item, piece) => {
    if (typeof source === "string") assert.equal(source.slice(item.start, item.end), piece);
    return span(item);
  };
  if (result.score !== undefined) return withUsage({ index: result.index, score: result.score }, result.usage);
  if (result.inScope !== undefined) {
    return withUsage({ labels: result.labels, in_scope: result.inScope }, result.usage);
  }
  if (result.labels) return withUsage({ labels: result.labels }, result.usage);
  if (result.entities) {
    const entities = result.entities.map(({ label, score, text, ...at }) => {
      return { label, score, span: placed(at, text), text };
    });
    return withUsage({ entities }, result.usage);
  }
  if (result.answers) {
    const answers = result.answers.map(({ text, score, ...at }) => ({ text, span: placed(at, text), score }));
    return withUsage({ answers, no_answer: result.noAnswer }, result.usage);
  }
  if (result.masks) {
    const masks = result.masks.map(({ guesses, ...at }) => ({ span: placed(at, "[MASK]"), guesses }));
    return withUsage({ masks }, result.usage);
  }
  if (result.spans) {
    const pieces = (list) =>
      list.map(({ probability, text, ...at }) => ({ probability, span: placed(at, text), text }));
    return withUsage({ spans: pieces(result.spans), tokens: pieces(result.tokens) }, result.usage);
  }
  if (result.probability !== undefined) {
    return withUsage({ probability: result.probability, logit: result.logit }, result.usage);
  }
  return withUsage({ vector: [...result.vector] }, result.usage);
}

const one = (result, source) => ({ results: [form(result, source)] });
const all = (results, sources = []) => {
  const list =
    results instanceof limbeck.Embeddings
      ? [...results].map((vector, i) => ({ vector, usage: results.usages[i] }))
      : results;
  return { results: list.map((result, i) => form(result, sources[i])) };
};

const failure = (error) => {
  // Its class is that of its status.
  assert.ok(error instanceof limbeck.LimbeckError, error);
  assert.equal(error.constructor.status, error.status);
  return { status: error.code, message: error.message };
};

async function open(given) {
  const { damage, decrypt_xor: key, minimum_build: minimumBuild, keys } = given.input;
  const settings = { keys, minimumBuild };
  if (key !== undefined) settings.decrypt = (_, stored) => stored.map((byte) => byte ^ key);
  const file = path.join(conformance, given.bundle);
  let bundle;
  if (damage === undefined) {
    bundle = await limbeck.Bundle.open(file, settings);
  } else {
    let bytes = readFileSync(file);
    if (damage.cut !== undefined) bytes = bytes.subarray(0, damage.cut);
    if (damage.flip !== undefined) bytes[damage.flip] ^= 1;
    if (damage.replace !== undefined) bytes = Buffer.from(damage.replace);
    bundle = await limbeck.Bundle.fromBytes(bytes, settings);
  }
  const { id, version, build, task, maxTokens, size, labels, signers } = bundle;
  assert.equal(bundle.manifest.id, id);
  bundle.close();
  return { bundle: { id, version, build, task, max_tokens: maxTokens, size, labels, signers } };
}

async function slot({ bundle, input }) {
  const place = limbeck.Slot.of(await modelOf(bundle));
  const steps = [];
  for (const step of input.steps) {
    const found = {};
    try {
      if (step.publish) await place.publish(await modelOf(step.publish));
      else if (step.do === "roll_back") place.rollBack();
      else place.forgetPrevious();
    } catch (error) {
      found.error = failure(error);
    }
    const model = place.model;
    const inUse = model.bundle;
    steps.push({ ...found, generation: place.generation, build: inUse.build });
    inUse.close();
    model.close();
  }
  place.close();
  return { steps };
}

async function head(given) {
  const { examples, strength, texts: unknown, on } = given.input;
  const model = await modelOf(given.bundle);
  const folder = mkdtempSync(path.join(os.tmpdir(), "limbeck-"));
  try {
    const file = path.join(folder, "head.json");
    const fitted = await limbeck.Head.fit(model, pairs(examples), { strength });
    await fitted.save(file);
    fitted.close();
    const loaded = await limbeck.Head.load(file);
    const found = await loaded.classify(on ? await modelOf(on) : model, texts(unknown), options(given));
    return { labels: loaded.labels, ...all(found) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const promptOf = ({ query, instruction, separator, examples, max_tokens: maxTokens, all_examples: allExamples }) => ({
  query: text(query),
  ...(instruction === undefined ? {} : { instruction: text(instruction) }),
  ...(separator === undefined ? {} : { separator: text(separator) }),
  ...(examples === undefined ? {} : { examples: pairs(examples) }),
  maxTokens,
  allExamples,
});

const usageOf = ({ promptTokens, examples, examplesDropped }) => ({
  prompt_tokens: promptTokens,
  examples,
  examples_dropped: examplesDropped,
});

function written(result) {
  for (const name of ["tokenizeMs", "prefillMs", "decodeMs", "samplingMs"]) assert.ok(result[name] >= 0);
  return {
    text: result.text,
    ids: [...result.ids],
    finish: result.finish,
    prompt_tokens: result.promptTokens,
    generated_tokens: result.ids.length,
    tokens_dropped: result.tokensDropped,
  };
}

async function generate(model, input, o) {
  if (input.prompts) return { results: (await model.generateBatch(texts(input.prompts), o)).map(written) };
  const prompt = input.from ? promptOf(input.from) : text(input.prompt);
  const pieces = [];
  let result;
  if (input.stop_after) {
    const onToken = (piece) => pieces.push(piece) < input.stop_after;
    result = await model.generate(prompt, { ...o, onToken });
  } else if (input.stream) {
    const stream = model.stream(prompt, o);
    for await (const piece of stream) pieces.push(piece);
    result = await stream.result;
  } else {
    result = await model.generate(prompt, o);
  }
  if (input.stream) {
    assert.deepEqual(pieces.map(({ id }) => id), [...result.ids]);
    assert.equal(pieces.map((piece) => piece.text).join(""), result.text);
  }
  return { results: [written(result)], ...(input.from ? { usage: usageOf(result) } : {}) };
}

async function choose(model, input, o) {
  const { choices, usage } = await model.choose(promptOf(input.from), texts(input.completions), o);
  const form = ({ logProbability, ...choice }) => ({ ...choice, log_probability: logProbability });
  return { choices: choices.map(form), usage: usageOf(usage) };
}

async function score(model, input, o) {
  const found = await model.score(promptOf(input.from), text(input.completion), o);
  const { perToken, logProbability, tokens, bytes } = found;
  return { choice: { score: perToken, log_probability: logProbability, tokens, bytes } };
}

async function perplexity(model, input, o) {
  const { bitsPerByte, logProbability, ...found } = await model.perplexity(text(input.text), o);
  return { perplexity: { ...found, bits_per_byte: bitsPerByte, log_probability: logProbability } };
}

const WRITING = { generate, choose, score, perplexity };

async function run(given) {
  const { call, input } = given;
  if (call === "open") return open(given);
  if (call === "slot") return slot(given);
  if (call === "head") return head(given);
  if (call === "similarity") return { similarity: limbeck.similarity(input.first, input.second) };
  if (call === "nearest") return { nearest: limbeck.nearest(input.query, input.vectors, input.k) };
  const model = await modelOf(given.bundle);
  const o = options(given);
  if (call === "count_tokens") return { tokens: await model.countTokens(text(input.text)) };
  if (call === "model") {
    const { vectors } = await model.selfTest();
    return {
      task: model.task,
      embedding_size: model.embeddingSize,
      mask_token: model.maskToken,
      self_test_vectors: vectors,
    };
  }
  if (WRITING[call]) return WRITING[call](model, input, o);
  if (call === "order" && input.pair) return one(await model.order(...texts(input.pair), o));
  if (call === "order") return all(await model.orderBatch(pairs(input.pairs), o));
  if (input.pair) return one(await model.classifyPair(...texts(input.pair), o));
  if (input.pairs) return all(await model.classifyPairs(pairs(input.pairs), o));
  if (call === "rerank") return all(await model.rerank(text(input.query), texts(input.texts), o));
  if (input.questions) {
    const questions = pairs(input.questions);
    const sources = questions.map(([, source]) => source);
    return all(await model.answerBatch(questions, o), sources);
  }
  const source = input.text === undefined ? undefined : text(input.text);
  if (call === "answer") return one(await model.answer(text(input.question), source, o), source);
  const name = { zero_shot: "zeroShot", fill_mask: "fillMask" }[call] ?? call;
  const more = call === "zero_shot" ? [texts(input.labels)] : [];
  if (source !== undefined) return one(await model[name](source, ...more, o), source);
  const sources = texts(input.texts);
  return all(await model[`${name}Batch`](sources, ...more, o), sources);
}

/** What differs; empty if nothing does. */
function difference(expected, found, tolerance) {
  const differs = `: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`;
  if (typeof expected === "number" && typeof found === "number") {
    return Math.abs(expected - found) <= tolerance ? "" : differs;
  }
  if (Array.isArray(expected) && typeof found === "string") {
    const missing = expected.filter((part) => !found.includes(part));
    return missing.length === 0 ? "" : `: ${JSON.stringify(found)} has no ${missing.join(", no ")}`;
  }
  if (typeof expected !== "object" || typeof found !== "object" || expected === null || found === null) {
    return expected === found ? "" : differs;
  }
  const names = Object.keys(expected);
  if (Array.isArray(expected) !== Array.isArray(found) || names.length !== Object.keys(found).length) return differs;
  for (const name of names) {
    if (!Object.hasOwn(found, name)) return differs;
    const inner = difference(expected[name], found[name], tolerance);
    if (inner) return `.${name}${inner}`;
  }
  return "";
}

let count = 0;
for (const name of readdirSync(conformance).filter((file) => file.endsWith(".json") && file !== "statuses.json")) {
  const file = JSON.parse(readFileSync(path.join(conformance, name), "utf8"));
  test(`cases of ${name}`, async (t) => {
    for (const given of file.cases) {
      await t.test(given.name, async () => {
        let found;
        try {
          found = await run(given);
        } catch (error) {
          found = { error: failure(error) };
        }
        assert.equal(difference(given.expect, found, file.tolerance), "");
        count += 1;
      });
    }
  });
}

test("no case is forgotten", () => assert.ok(count > 350, `only ${count}`));

test("every status has its name", () => {
  const { statuses } = JSON.parse(readFileSync(path.join(conformance, "statuses.json"), "utf8"));
  const known = Object.entries(limbeck.Status).map(([name, code]) => ({ code, name: `LIMBECK_${name}` }));
  assert.deepEqual(
    statuses.filter(({ code }) => code !== 0),
    known,
  );
});

test("every handle was freed", nothingLeft);

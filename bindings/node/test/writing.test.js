// Models that write text: what the package takes and refuses, streams, calls that are ended, and what they give back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bundle, limbeck, modelOf, native, nothingLeft, runtime } from "./support.js";

const writer = () => modelOf("bundles/writer.limbeck");
/** A text that does not end by itself. */
const ENDLESS = { maxNewTokens: 1_000_000_000, context: "slide" };
const ROUND = "ab🙂.";

async function read(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

test("a text and its pieces", async () => {
  const model = await writer();
  const found = await model.generate("a", { maxNewTokens: 14 });
  assert.equal(found.text, "b🙂.ab🙂.a");
  assert.deepEqual(Buffer.from(found.ids), Buffer.from(ROUND.repeat(3)).subarray(1, 15));
  assert.deepEqual([found.finish, found.stop, found.promptTokens], ["length", null, 1]);
  const pieces = await read(model.stream("a", { maxNewTokens: 14 }));
  // A character comes with its last byte.
  assert.deepEqual(pieces.slice(0, 6).map(({ text }) => text), ["b", "", "", "", "🙂", "."]);
  assert.deepEqual(pieces.map(({ id }) => id), [...found.ids]);
  const [first] = await model.generateBatch(["a", "b"], { maxNewTokens: 14 });
  assert.deepEqual([first.text, first.ids], [found.text, found.ids]);
  assert.deepEqual(await model.generateBatch([]), []);
  const stopped = await model.generate(Buffer.from("a"), { stops: [".a"], context: "stop" });
  assert.deepEqual([stopped.text, stopped.finish, stopped.stop], ["b🙂", "stop", ".a"]);
  assert.equal((await model.generate("\n", { maxNewTokens: 5 })).finish, "end-of-text");
  // U+FFFD stands for bytes that are none, and ids have them as they were.
  assert.equal((await model.generate("a", { maxNewTokens: 3 })).text, "b\ufffd");
});

test("draws", async () => {
  const model = await writer();
  const drawn = async (options) => (await model.generate("x", { maxNewTokens: 30, temperature: 9, ...options })).text;
  const first = await drawn({ seed: 1 });
  assert.equal(await drawn({ seed: 1n }), first);
  assert.notEqual(await drawn({ seed: 2 }), first);
  assert.notEqual(await drawn({ seed: (1n << 64n) - 1n }), first);
  // 0 is the least of all shares, and not the default, which is all of them.
  assert.equal(await drawn({ topP: 0 }), await drawn({ topK: 1 }));
});

test("what is no text is refused and its place told", async () => {
  const model = await writer();
  const wrong = [
    ["good \ud83d", /index 5$/],
    [Uint8Array.from([0x61, 0xf0, 0x9f, 0x99]), /offset 1/],
  ];
  for (const [bad, words] of wrong) {
    for (const [call, name] of [
      [() => model.generate(bad), "prompt"],
      [async () => read(model.stream(bad)), "prompt"],
      [() => model.generateBatch(["a", bad]), "prompts\\[1\\]"],
      [() => model.generate("a", { stops: ["x", bad] }), "stops\\[1\\]"],
      [() => model.generate({ query: bad }), "query"],
      [async () => read(model.stream({ query: "a", instruction: bad })), "instruction"],
      [() => model.choose({ query: "a", examples: [["a", "b"], ["a", bad]] }, ["a"]), "examples\\[1\\]"],
      [() => model.choose({ query: "a", separator: bad }, ["a"]), "separator"],
      [() => model.choose("a", ["a", bad]), "completions\\[1\\]"],
      [() => model.choose("a", ["a"], { contentFree: [bad] }), "contentFree|content_free"],
      [() => model.score("a", bad), "completion"],
      [() => model.perplexity(bad), "text"],
    ]) {
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof limbeck.InvalidUtf8Error, error);
        assert.match(error.message, words);
        assert.match(error.message, new RegExp(name));
        return true;
      });
    }
  }
});

test("values that make no sense", async () => {
  const model = await writer();
  const wrong = [
    [{ maxNewTokens: 0 }, /maxNewTokens is 0/],
    [{ temperature: -1 }, /temperature is -1/],
    [{ temperature: NaN }, /temperature is NaN/],
    [{ topP: 1.5 }, /top_p is 1.5/],
    [{ topK: 0 }, /topK is 0/],
    [{ seed: -1 }, /seed is -1/],
    [{ seed: 1n << 64n }, /seed is 18446744073709551616/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty is 0/],
    [{ context: "forget" }, /error, stop, slide/],
    [{ contextKeep: 3 }, /context is not slide/],
    [{ stops: [""] }, /stop string is empty/],
    [{ overflow: "error" }, /no option overflow here: there are maxNewTokens/],
  ];
  const invalid = (words) => (error) => {
    assert.ok(error instanceof limbeck.InvalidArgumentError, error);
    assert.match(error.message, words);
    return true;
  };
  for (const [options, words] of wrong) {
    await assert.rejects(model.generate("a", options), invalid(words));
    await assert.rejects(async () => read(model.stream("a", options)), invalid(words));
  }
  // At once, and not where the stream is read.
  assert.throws(() => model.stream("a", { maxNewTokens: 0 }), invalid(/maxNewTokens is 0/));
  assert.throws(() => model.stream("a", { onToken: () => true }), invalid(/no option onToken/));
  for (const [call, words] of [
    [() => model.choose("a", []), /0 completions/],
    [() => model.choose("a", ["a"], { scoring: "mean" }), /per-token, sum, per-byte, answer-context/],
    [() => model.choose("a", ["a"], { answerContext: "A: " }), /answerContext is given/],
    [() => model.choose({ query: "a", maxTokens: 0 }, ["a"]), /maxTokens is 0/],
    [() => model.choose({ query: "a", example: [] }, ["a"]), /no option example here: there are query/],
    [() => model.score("a", "b", { scoring: "sum" }), /no option scoring/],
    [() => model.perplexity("ab", { stride: 0 }), /stride is 0/],
  ]) {
    await assert.rejects(call, invalid(words));
  }
  for (const [call, words] of [
    [() => model.generate(null), /prompt must be a string or a Uint8Array of UTF-8, not null/],
    [() => model.generate(7), /prompt must be .*not number/],
    [() => model.generate({}), /prompt.query must be .*not undefined/],
    [() => model.generate("a", 7), /options must be an object/],
    [() => model.generate("a", { stops: "." }), /stops must be several/],
    [() => model.generate("a", { onToken: 7 }), /onToken must be a function/],
    [() => model.generate("a", { signal: {} }), /signal must be an AbortSignal/],
    [() => model.generate("a", { temperature: "1" }), /temperature must be a number/],
    [() => model.choose({ query: "a", examples: ["ab"] }, ["a"]), /examples\[0\] must be a pair/],
  ]) {
    await assert.rejects(call, (error) => error instanceof TypeError && words.test(error.message));
  }
  assert.throws(() => new limbeck.Stream(), /not made by new/);
});

test("a model of another task", async () => {
  const other = await modelOf("bundles/tiny.limbeck");
  for (const call of [
    () => other.generate("a"),
    async () => read(other.stream("a")),
    () => other.generateBatch(["a"]),
    () => other.choose("a", ["b"]),
    () => other.score("a", "b"),
    () => other.perplexity("ab"),
  ]) {
    await assert.rejects(call, limbeck.WrongTaskError);
  }
});

test("prompts", async () => {
  const model = await limbeck.Model.open(bundle("writer"), { runtime });
  const prompt = { query: "..a", examples: [["ab", "c"], ["bb", "d"]], separator: "|" };
  const first = await model.choose(prompt, ["b", "c"]);
  assert.deepEqual([first.choices[0].text, first.choices[0].index], ["b", 0]);
  assert.deepEqual([first.usage.promptTokens, first.usage.cachedTokens, first.usage.examples], [11, 0, 2]);
  // What stands before the query is not read again.
  const again = await model.choose({ ...prompt, query: "x." }, ["b", "a"]);
  assert.deepEqual([again.choices[0].text, again.usage.cachedTokens], ["a", 8]);
  assert.equal((await model.generate(prompt, { maxNewTokens: 1 })).cachedTokens, 8);
  // Two line ends, unless there is a separator; an empty one is one.
  for (const [separator, tokens] of [[undefined, 13], [null, 13], ["", 9], [new Uint8Array(), 9]]) {
    assert.equal((await model.choose({ ...prompt, separator }, ["b"])).usage.promptTokens, tokens);
  }
  const score = await model.score(prompt, "b");
  assert.ok(Math.abs(score.logProbability - first.choices[0].logProbability) < 1e-5);
  assert.deepEqual([score.tokens, score.bytes, score.perToken], [1, 1, score.logProbability]);
  const short = await model.generate({ ...prompt, maxTokens: 8 }, { maxNewTokens: 1 });
  assert.deepEqual([short.examples, short.examplesDropped, short.promptTokens], [1, 1, 7]);
  const all = { ...prompt, maxTokens: 8, allExamples: true };
  await assert.rejects(model.generate(all, { maxNewTokens: 1 }), limbeck.TooLongError);
  const [known, unknown] = await Promise.all([model.perplexity(ROUND.repeat(9)), model.perplexity("xyz".repeat(9))]);
  assert.ok(known.perplexity < unknown.perplexity);
  model.close();
});

test("leaving the loop ends the call", async () => {
  const model = await writer();
  const before = model.metrics.calls;
  const stream = model.stream("a", ENDLESS);
  let text = "";
  for await (const piece of stream) {
    text += piece.text;
    if (text.length > 20) break;
  }
  // It has ended by now.
  assert.equal(model.metrics.calls, before + 1);
  const found = await stream.result;
  assert.equal(found.finish, "unfinished");
  assert.ok(found.text.startsWith(text));
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  await assert.rejects(async () => {
    for await (const _ of model.stream("a", ENDLESS)) throw new Error("mine");
  }, /mine/);
  assert.equal(model.metrics.calls, before + 2);
  const unread = model.stream("a", ENDLESS);
  await unread.return();
  assert.deepEqual(await read(unread), []);
  await assert.rejects(unread.result, /left before anything was written/);
  assert.equal(model.metrics.calls, before + 2);
});

test("a function that is given tokens ends the text", async () => {
  const model = await writer();
  const ids = [];
  const found = await model.generate("a", { ...ENDLESS, onToken: ({ id }) => ids.push(id) < 6 });
  assert.deepEqual([found.text, found.finish], ["b🙂.", "unfinished"]);
  assert.deepEqual([...found.ids], ids);
  class Mine extends Error {}
  const onToken = () => {
    throw new Mine();
  };
  await assert.rejects(model.generate("a", { ...ENDLESS, onToken }), Mine);
  // One that says nothing wants more.
  assert.equal((await model.generate("a", { maxNewTokens: 6, onToken: () => {} })).finish, "length");
});

test("the result of a stream, read or not", async () => {
  const model = await writer();
  const stream = model.stream("a", { maxNewTokens: 5 });
  assert.equal((await read(stream)).map(({ text }) => text).join(""), "b🙂");
  assert.equal((await stream.result).text, "b🙂");
  assert.equal((await model.stream("a", { maxNewTokens: 5 }).result).text, "b🙂");
  // Several may wait for a piece, and get them in turn.
  const shared = model.stream("a", { maxNewTokens: 3 });
  const pieces = await Promise.all([shared.next(), shared.next(), shared.next(), shared.next()]);
  assert.deepEqual(pieces.map(({ done, value }) => (done ? null : value.id)), [98, 0xf0, 0x9f, null]);
});

test("errors come where the text is read", async () => {
  const model = await writer();
  const stream = model.stream("a".repeat(65));
  await assert.rejects(stream.next(), limbeck.TooLongError);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  await assert.rejects(stream.result, limbeck.TooLongError);
  const controller = new AbortController();
  const reason = new Error("the user went away");
  let count = 0;
  const aborted = async () => {
    for await (const _ of model.stream("a", { ...ENDLESS, signal: controller.signal })) {
      if (++count === 50) controller.abort(reason);
    }
  };
  await assert.rejects(aborted, (error) => {
    assert.ok(error instanceof limbeck.CancelledError);
    assert.deepEqual([error.name, error.cause], ["AbortError", reason]);
    return true;
  });
  assert.ok(count >= 50);
  count = 0;
  await assert.rejects(async () => {
    for await (const _ of model.stream("a", { ...ENDLESS, timeout: 200 })) count += 1;
  }, limbeck.DeadlineExceededError);
  assert.ok(count > 0);
});

test("calls are ended by a signal and by a timeout", async () => {
  const model = await writer();
  const calls = (options) => [
    model.generate("a", { ...ENDLESS, ...options }),
    model.generateBatch(["a", "b"], { ...ENDLESS, ...options }),
    model.stream("a", { ...ENDLESS, ...options }).result,
    model.perplexity(ROUND.repeat(20_000), { stride: 1, ...options }),
  ];
  const controller = new AbortController();
  const running = calls({ signal: controller.signal });
  setTimeout(() => controller.abort(), 100);
  const started = performance.now();
  for (const { reason } of await Promise.allSettled(running)) assert.ok(reason instanceof limbeck.CancelledError, reason);
  assert.ok(performance.now() - started < 20000);
  for (const { reason } of await Promise.allSettled(calls({ signal: controller.signal }))) {
    assert.ok(reason instanceof limbeck.CancelledError, reason);
  }
  for (const timeout of [50, 0, -1]) {
    for (const { reason } of await Promise.allSettled(calls({ timeout }))) {
      assert.ok(reason instanceof limbeck.DeadlineExceededError, reason);
    }
  }
  await assert.rejects(model.choose("a", ["b"], { signal: AbortSignal.abort() }), { code: "LIMBECK_CANCELLED" });
  await assert.rejects(model.score("a", "b", { signal: AbortSignal.abort() }), { code: "LIMBECK_CANCELLED" });
  assert.equal((await model.choose("a", ["b"], { timeout: 60000 })).choices.length, 1);
});

test("Node goes on while text is written", async () => {
  const model = await writer();
  let ticks = 0;
  const timer = setInterval(() => (ticks += 1), 1);
  await assert.rejects(model.generate("a", { ...ENDLESS, timeout: 300 }), limbeck.DeadlineExceededError);
  clearInterval(timer);
  assert.ok(ticks > 10, `${ticks} ticks`);
});

test("many streams at one time", async () => {
  const model = await writer();
  const work = async (i) => {
    const prompt = ROUND[i % 2];
    const text = (await read(model.stream(prompt, { maxNewTokens: 40 }))).map((piece) => piece.text).join("");
    assert.equal(text, (await model.generate(prompt, { maxNewTokens: 40 })).text);
  };
  await Promise.all(Array.from({ length: 40 }, (_, i) => work(i)));
});

test("closing waits for the text that is written", async () => {
  const model = await limbeck.Model.open(bundle("writer"), { runtime });
  const stream = model.stream("a", { maxNewTokens: 9 });
  await stream.next();
  model.close();
  assert.equal((await read(stream)).length, 8);
  assert.throws(() => model.stream("a"), /the model is closed/);
  await assert.rejects(model.generate("a"), /the model is closed/);
  await assert.rejects(model.choose("a", ["b"]), /the model is closed/);
});

test("what a call makes is given back", async () => {
  const model = await writer();
  const counts = {};
  const before = { ...native.native };
  for (const name of ["result_json", "result_free", "cancel_new", "cancel_free"]) {
    counts[name] = 0;
    native.native[name] = (...args) => {
      counts[name] += 1;
      return before[name](...args);
    };
  }
  // koffi has 8192 places for callbacks: with these, it has few.
  const held = Array.from({ length: 8150 }, () => native.register.token(() => true));
  try {
    const thrown = () => {
      throw new Error("mine");
    };
    for (let i = 0; i < 20; i++) {
      const { signal } = new AbortController();
      await model.generate({ query: "a", examples: [["b", "🙂"]] }, { maxNewTokens: 9, stops: ["never"], signal });
      await model.generateBatch(["a", "b"], { maxNewTokens: 9, signal });
      for await (const _ of model.stream("a", { ...ENDLESS, signal })) break;
      await assert.rejects(model.generate("a", { ...ENDLESS, onToken: thrown, signal }), /mine/);
      await model.choose("a", ["b", "🙂"], { contentFree: ["x"], signal });
      await model.score("a", "b", { signal });
      await model.perplexity(ROUND, { signal });
      await assert.rejects(model.generate("a", { onToken: () => {}, signal: AbortSignal.abort() }));
      await assert.rejects(read(model.stream("a".repeat(99), { signal })), limbeck.TooLongError);
    }
  } finally {
    Object.assign(native.native, before);
    held.forEach((callback) => native.unregister(callback));
  }
  assert.deepEqual(counts, { result_json: 100, result_free: 100, cancel_new: 180, cancel_free: 180 });
});

test("every handle was freed", nothingLeft);

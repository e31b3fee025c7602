// What the package takes and refuses; many calls at one time; calls that are ended; memory that stays flat.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

import { bundle, limbeck, modelOf, native, nothingLeft, place, repository, runtime } from "./support.js";

const tiny = () => modelOf("bundles/tiny.limbeck");
const best = async (model, text) => (await model.classify(text)).labels[0].label;
const long = () => Array.from({ length: 20 }, () => "good ".repeat(50000));
let folder;
before(() => (folder = mkdtempSync(path.join(os.tmpdir(), "limbeck-"))));
after(() => rmSync(folder, { recursive: true }));

test("strings and bytes are the same text, and places count UTF-16 units", async () => {
  const model = await modelOf("bundles/entities.limbeck");
  const text = "🙂 Ada e\u0301";
  const { entities } = await model.tag(text);
  assert.deepEqual((await model.tag(Buffer.from(text))).entities, entities);
  const [{ start, end, span }] = entities;
  assert.deepEqual([start, end, text.slice(start, end)], [3, 6, "Ada"]);
  assert.deepEqual([span.charStart, span.byteStart], [2, 5]);
});

test("what is no text is refused and its place told", async () => {
  const model = await tiny();
  for (const [text, at] of [
    ["good \ud83d", 5],
    ["\udc00", 0],
    ["a\ud83d\ud83d\ude42", 1],
    ["🙂\ude42x", 2],
  ]) {
    await assert.rejects(model.classify(text), (error) => {
      assert.ok(error instanceof limbeck.InvalidUtf8Error);
      assert.equal(error.code, "LIMBECK_INVALID_UTF8");
      assert.match(error.message, new RegExp(`^text .*index ${at}$`));
      return true;
    });
  }
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x99]]) {
    await assert.rejects(model.classify(Uint8Array.from(bytes)), { name: "InvalidUtf8Error" });
  }
  await assert.rejects(model.classifyBatch(["good", "\udfff"]), /texts\[1\]/);
});

test("wrong types are refused in words", async () => {
  const model = await tiny();
  for (const [call, words] of [
    [() => model.classify(undefined), /text must be a string or a Uint8Array of UTF-8, not undefined/],
    [() => model.classify(null), /not null/],
    [() => model.classify(7), /not number/],
    [() => model.classifyBatch("good"), /texts must be several/],
    [() => model.classifyBatch(["good", 3]), /texts\[1\]/],
    [() => model.classifyPairs([["a"]]), /pairs\[0\] must be a pair/],
    [() => model.classify("x", 7), /options must be an object/],
    [() => model.classify("x", { signal: {} }), /signal must be an AbortSignal/],
    [() => model.classify("x", { topK: "1" }), /topK must be a number/],
    [() => limbeck.Head.fit({}, []), /a limbeck model is expected/],
    [() => limbeck.Bundle.fromBytes("text"), /bytes must be a Uint8Array/],
  ]) {
    await assert.rejects(call, (error) => error instanceof TypeError && words.test(error.message));
  }
  assert.throws(() => new limbeck.Model(), /not made by new/);
});

test("options that make no sense", async () => {
  const model = await modelOf("bundles/aspects.limbeck");
  for (const [options, words] of [
    [{ topK: 0 }, /topK is 0/],
    [{ topK: 1.5 }, /topK is 1.5/],
    [{ topK: 2 ** 60 }, /topK/],
    [{ overflow: "cut" }, /truncate, error, window/],
    [{ overflow: "toString" }, /truncate, error, window/],
    [{ windowStride: 3 }, /overflow is not window/],
    [{ threshold: NaN }, /threshold is NaN/],
    [{ threshold: 2 }, /threshold/],
    [{ outOfScope: -1 }, /-1/],
    [{ hypothesis: "x" }, /no option hypothesis here: there are .*topK/],
    [{ topk: 1 }, /no option topk here/],
  ]) {
    await assert.rejects(model.classify("good", options), (error) => {
      assert.ok(error instanceof limbeck.InvalidArgumentError, error);
      assert.match(error.message, words);
      return true;
    });
  }
  for (const options of [{ threads: -1 }, { threads: 1000 }, { memoryBudget: 1 }, { thread: 1 }]) {
    await assert.rejects(limbeck.Model.open(bundle("tiny"), { runtime, ...options }), limbeck.LimbeckError);
  }
});

test("zero is zero and not the default", async () => {
  const model = await modelOf("bundles/aspects.limbeck");
  assert.ok((await model.classify("bad", { threshold: 0 })).labels.every(({ holds }) => holds));
  assert.ok(!(await model.classify("bad")).labels.every(({ holds }) => holds));
});

test("errors are classes by status", async () => {
  await assert.rejects(limbeck.Bundle.open("no-such.limbeck"), (error) => {
    assert.ok(error instanceof limbeck.NotFoundError && error instanceof Error);
    assert.deepEqual([error.name, error.code, error.status], ["NotFoundError", "LIMBECK_NOT_FOUND", 3]);
    assert.match(String(error), /^NotFoundError: .*no-such\.limbeck/);
    return true;
  });
  const text = path.join(folder, "text");
  writeFileSync(text, "This is some text.");
  await assert.rejects(limbeck.Bundle.open(text), limbeck.BundleError);
  for (const name of ["", "a\0b"]) {
    await assert.rejects(limbeck.Bundle.open(name), limbeck.InvalidArgumentError);
  }
});

test("closing", async () => {
  const model = await limbeck.Model.open(bundle("tiny"), { runtime });
  const opened = model.bundle;
  model.close();
  model.close();
  assert.ok(model.closed);
  await assert.rejects(model.classify("x"), /the model is closed/);
  assert.throws(() => model.task, /the model is closed/);
  assert.deepEqual(opened.labels, ["negative", "positive"]);
  const again = await limbeck.Model.open(opened);
  opened[Symbol.dispose]();
  assert.equal(await best(again, "bad"), "negative");
  again.close();
});

test("closing waits for the calls that run", async () => {
  const model = await limbeck.Model.open(bundle("tiny"), { runtime });
  const controller = new AbortController();
  const { signal } = controller;
  const calls = [1, 2, 3].map(() => model.classifyBatch(long(), { overflow: "window", signal }));
  await sleep(30);
  model.close();
  await assert.rejects(model.classify("x"), /closed/);
  controller.abort();
  for (const { reason } of await Promise.allSettled(calls)) assert.ok(reason instanceof limbeck.CancelledError);
});

test("a signal ends a call", async () => {
  const model = await tiny();
  const controller = new AbortController();
  const reason = new Error("the user went away");
  setTimeout(() => controller.abort(reason), 50);
  const started = performance.now();
  await assert.rejects(
    model.classifyBatch(long(), { overflow: "window", signal: controller.signal }),
    (error) => {
      assert.ok(error instanceof limbeck.CancelledError);
      assert.deepEqual([error.name, error.code, error.cause], ["AbortError", "LIMBECK_CANCELLED", reason]);
      return true;
    },
  );
  assert.ok(performance.now() - started < 10000);
  // One that ends nothing leaves no listener.
  await model.classify("good", { signal: AbortSignal.timeout(60000) });
  await assert.rejects(model.classify("good", { signal: controller.signal }), { cause: reason });
});

test("a timeout", async () => {
  const model = await tiny();
  for (const timeout of [20, 0, -5]) {
    const call = model.classifyBatch(long(), { overflow: "window", timeout });
    await assert.rejects(call, { code: "LIMBECK_DEADLINE_EXCEEDED" });
  }
  for (const timeout of [60000, Infinity]) {
    assert.equal((await model.classify("good", { timeout })).labels[0].label, "positive");
  }
});

test("Node goes on during a call", async () => {
  const model = await tiny();
  let ticks = 0;
  const timer = setInterval(() => (ticks += 1), 1);
  await model.classifyBatch(long().slice(10), { overflow: "window" });
  clearInterval(timer);
  assert.ok(ticks > 10, `${ticks} ticks`);
});

test("a thousand calls at one time", async () => {
  const model = await limbeck.Model.open(bundle("tiny"), { runtime, sessions: 3 });
  const texts = Array.from({ length: 1000 }, (_, i) => ["good", "bad", "🙂 good", "the bad film"][i % 4]);
  const found = await Promise.all(texts.map((text) => model.classify(text)));
  found.forEach(({ labels }, i) => assert.equal(labels[0].label, i % 2 === 0 ? "positive" : "negative"));
  assert.equal(model.metrics.calls, 1000);
  model.close();
});

test("large inputs", async () => {
  const model = await tiny();
  const { usage } = await model.classify("film ".repeat(400_000));
  assert.deepEqual([usage.tokensUsed, usage.tokensDropped], [64, 400_000 - 62]);
  const found = await model.classifyBatch(Array.from({ length: 8000 }, (_, i) => (i % 2 ? "bad" : "good")));
  assert.equal(found.length, 8000);
  assert.equal(found.at(-1).labels[0].label, "negative");
});

test("a model is replaced under load", async () => {
  const first = await limbeck.Model.open(bundle("tiny"), { runtime, sessions: 2 });
  const slot = limbeck.Slot.of(first);
  first.close();
  let stop = false;
  const work = async () => {
    let count = 0;
    for (; !stop; count++) {
      const model = slot.model;
      assert.equal(await best(model, "good"), "positive");
      model.close();
    }
    return count;
  };
  const calls = [work(), work(), work(), work()];
  assert.equal(await slot.publish(await modelOf("bundles/later.limbeck")), 2);
  const failing = await modelOf("bundles/failing.limbeck");
  for (let i = 0; i < 50; i++) {
    slot.rollBack();
    await assert.rejects(slot.publish(failing), limbeck.SelfTestError);
  }
  stop = true;
  assert.ok((await Promise.all(calls)).every((count) => count > 0));
  assert.equal(slot.generation, 52);
  slot.close();
});

test("sources of bundles", async () => {
  const bytes = readFileSync(bundle("tiny"));
  const file = path.join(folder, "packed");
  writeFileSync(file, Buffer.concat([Buffer.alloc(64), bytes, Buffer.from("more")]));
  const fd = openSync(file, "r");
  const opened = await limbeck.Bundle.fromFd(fd, 64, bytes.length);
  closeSync(fd);
  assert.equal(opened.id, "tiny");
  assert.equal((await limbeck.Bundle.fromBytes(new Uint8Array(bytes))).build, 7);
  const key = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";
  assert.equal(await (await limbeck.Bundle.open(bundle("signed"))).verify([key]), 0);
  await assert.rejects(opened.verify([]), limbeck.InvalidArgumentError);
});

test("what a decrypt function throws comes out", async () => {
  class Mine extends Error {}
  const decrypt = () => {
    throw new Mine();
  };
  await assert.rejects(limbeck.Bundle.open(bundle("hidden"), { decrypt }), Mine);
  await assert.rejects(limbeck.Model.open(bundle("hidden"), { runtime, decrypt }), Mine);
  await assert.rejects(limbeck.Bundle.open(bundle("hidden"), { decrypt: () => "text" }), TypeError);
  const open = { runtime, decrypt: (_, stored) => stored.map((byte) => byte ^ 0x5a) };
  assert.equal(await best(await limbeck.Model.open(bundle("hidden"), open), "good"), "positive");
});

test("vectors", async () => {
  const model = await modelOf("bundles/embedder.limbeck");
  const batch = await model.embedBatch(["good", "bad", "film"]);
  assert.deepEqual([batch.length, batch.size, batch.vectors.length], [3, 2, 6]);
  const { vector } = await model.embed("good");
  assert.ok(vector instanceof Float32Array);
  assert.deepEqual(batch.at(0), vector);
  assert.deepEqual([...batch].at(-1), batch.at(-1));
  assert.equal(batch.at(3), undefined);
  assert.equal((await model.embedBatch([])).length, 0);
  const expected = limbeck.nearest(vector, batch, 2);
  assert.deepEqual(limbeck.nearest([...vector], [...batch].map((row) => [...row]), 2), expected);
  assert.deepEqual(limbeck.nearest(vector, batch.vectors, 2), expected);
  assert.deepEqual(expected.map(({ index }) => index), [0, 2]);
  for (const call of [
    () => limbeck.similarity([1], [1, 2]),
    () => limbeck.nearest([1, 2, 3], batch, 1),
    () => limbeck.nearest([], [1], 1),
    () => limbeck.nearest([1], [[1]], -1),
  ]) {
    assert.throws(call, (error) => error instanceof limbeck.InvalidArgumentError || error instanceof TypeError);
  }
});

test("messages go to a logger", async () => {
  const messages = [];
  await limbeck.setLogger((level, message) => messages.push([level, message]), "verbose");
  const model = await limbeck.Model.open(bundle("tiny"), { runtime });
  await model.classify("good");
  model.close();
  await limbeck.setLogger(null);
  assert.ok(messages.length > 0);
  await assert.rejects(limbeck.setLogger(() => {}, "loud"), limbeck.InvalidArgumentError);
});

// ---- the library

test("structs have the layout of the header", () => {
  const layout = JSON.parse(readFileSync(path.join(repository, "capi/abi/layout.json"), "utf8"));
  for (const [name, type] of Object.entries(native.STRUCTS)) {
    const known = layout[`limbeck${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`];
    assert.equal(type.size, known.size, name);
    const offsets = Object.entries(type.members).map(([field, { offset }]) => [field, offset]);
    assert.deepEqual(Object.fromEntries(offsets), known.offsets, name);
  }
});

test("functions are those of the header", () => {
  const header = readFileSync(path.join(repository, "capi/include/limbeck.h"), "utf8");
  const code = header.replace(/\/\*[^]*?\*\/|^#.*$/gm, "");
  for (const [name, [, parameters]] of Object.entries(native.FUNCTIONS)) {
    const words = code.match(new RegExp(`\\blimbeck_${name}\\(([^()]*)\\);`))[1].trim();
    assert.equal(parameters.length, words === "void" ? 0 : words.split(",").length, name);
  }
});

test("a library of another ABI is refused by name", () => {
  for (const [version, words] of [
    [(1 << 16) + 3, /needs ABI 0\.1 of limbeck, and .* \(version 9\.8\.7\) has ABI 1\.3: update the npm package/],
    [0, /has ABI 0\.0: update the library/],
  ]) {
    const source = path.join(folder, "fake.c");
    writeFileSync(
      source,
      `unsigned limbeck_abi_version(void) { return ${version}; }\nconst char *limbeck_version(void) { return "9.8.7"; }\n`,
    );
    const library = path.join(folder, `fake${version}.so`);
    execFileSync("cc", ["-shared", "-fPIC", "-o", library, source]);
    assert.throws(() => native.load(library), words);
  }
  assert.throws(() => native.load(path.join(folder, "nothing.so")), /has no library for/);
});

test("versions agree", () => {
  const manifest = readFileSync(path.join(repository, "Cargo.toml"), "utf8");
  assert.ok(manifest.includes(`[workspace.package]\nversion = "${limbeck.version}"`));
});

// ---- processes of their own

const library = pathToFileURL(path.join(place, "lib/index.js"));
const run = (code, options) => {
  const words = ["--input-type=module", "--expose-gc", "-e", `import * as limbeck from ${JSON.stringify(library.href)};\n${code}`];
  return spawnSync(process.execPath, words, { encoding: "utf8", ...options });
};
const OPEN = `console.log(limbeck.loadRuntime().path); await limbeck.Model.open(${JSON.stringify(bundle("tiny"))})`;

test("the package onnxruntime-node is found and not run", () => {
  const app = path.join(folder, "app");
  const bin = path.join(app, `node_modules/onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}`);
  mkdirSync(bin, { recursive: true });
  writeFileSync(path.join(app, "node_modules/onnxruntime-node/package.json"), '{"name": "onnxruntime-node", "main": "x.js"}');
  let done = run(OPEN, { cwd: app });
  assert.match(done.stderr, /RuntimeNotFoundError: no ONNX Runtime: .* has none for this machine/);
  symlinkSync(runtime, path.join(bin, "libonnxruntime.so.1"));
  writeFileSync(path.join(bin, "libonnxruntime_providers_shared.so"), "");
  done = run(OPEN, { cwd: app });
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stdout, /libonnxruntime/);
});

test("without one the error says how to get it", () => {
  const done = run(OPEN, { cwd: folder });
  assert.match(done.stderr, /RuntimeNotFoundError: no ONNX Runtime: .*not installed; npm install .*onnxruntime-node/);
  assert.throws(() => limbeck.loadRuntime(path.join(folder, "nothing.so")), limbeck.RuntimeIncompatibleError);
  assert.equal(limbeck.loadRuntime(runtime).version, limbeck.loadRuntime().version);
});

test("memory stays flat, and what nobody closes is collected", () => {
  const done = run(
    `
    limbeck.loadRuntime(${JSON.stringify(runtime)});
    const embedder = await limbeck.Model.open(${JSON.stringify(bundle("embedder"))});
    async function everything() {
      const model = await limbeck.Model.open(${JSON.stringify(bundle("tiny"))}); // closed by nobody
      for (let i = 0; i < 20; i++) {
        await model.classifyBatch(Array(10).fill("good film 🙂"));
        await embedder.embedBatch(Array(100).fill("good"));
        await model.tag("good").catch(() => {});
        await model.classify("good", { signal: new AbortController().signal });
        limbeck.Slot.of(model).model.bundle.labels;
      }
    }
    const settle = async () => {
      for (let i = 0; i < 5; i++) {
        globalThis.gc();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return process.memoryUsage().rss;
    };
    // Collected often, so that what is measured is what stays and not the highest heap of garbage.
    const rounds = async (count) => {
      for (let i = 0; i < count; i++) {
        await everything();
        globalThis.gc();
      }
      return settle();
    };
    const before = await rounds(15);
    console.log((await rounds(40)) - before);
  `,
    {},
  );
  assert.equal(done.status, 0, done.stderr);
  // One model a round that is not freed would be 40 of 300 kB.
  assert.ok(Number(done.stdout) < 8 << 20, `grew by ${done.stdout} bytes`);
});

test("a process ends by itself when its work is done", () => {
  const code = `const m = await limbeck.Model.open(${JSON.stringify(bundle("tiny"))}, { runtime: ${JSON.stringify(runtime)} });
    const { labels } = await m.classify("good", { timeout: 60000 }); console.log(labels[0].label);`;
  const done = run(code, { timeout: 60000 });
  assert.deepEqual([done.status, done.stdout.trim()], [0, "positive"], done.stderr);
});

test("every handle was freed", nothingLeft);

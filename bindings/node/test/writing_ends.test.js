// Processes of their own in which text is written: how they end, and what their memory does.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { bundle, place, runtime } from "./support.js";

const library = pathToFileURL(path.join(place, "lib/index.js"));
const run = (code) => {
  const open = `const file = ${JSON.stringify(bundle("writer"))}; limbeck.loadRuntime(${JSON.stringify(runtime)});`;
  const words = ["--input-type=module", "--expose-gc", "-e"];
  words.push(`import * as limbeck from ${JSON.stringify(library.href)};\n${open}\n${code}`);
  return spawnSync(process.execPath, words, { encoding: "utf8", timeout: 60000 });
};

test("a process ends when its text is written, or left", () => {
  const done = run(`
    const model = await limbeck.Model.open(file);
    for await (const { text } of model.stream("a", { maxNewTokens: 6 })) process.stdout.write(text);
    for await (const _ of model.stream("a", { maxNewTokens: 1e9, context: "slide" })) break;
    await model.generate("a", { maxNewTokens: 6, onToken: () => {} });
    const forgotten = model.stream("a".repeat(99)); // whose failure nobody asks for
    await forgotten.next().catch(() => {});
  `);
  assert.deepEqual([done.status, done.stdout, done.stderr], [0, "b🙂.", ""]);
});

test("a process can be left while text is written", () => {
  const left = (code) => {
    const done = run(`
      const model = await limbeck.Model.open(file);
      const endless = { maxNewTokens: 1e9, context: "slide" };
      ${code}
    `);
    return [done.status, done.signal, done.stdout, done.stderr];
  };
  const stream = "for await (const _ of model.stream('a', endless))";
  assert.deepEqual(left(`${stream} process.exit(3);`), [3, null, "", ""]);
  assert.deepEqual(left("await model.generate('a', { ...endless, onToken: () => process.exit(3) });"), [3, null, "", ""]);
  const later = "setTimeout(() => process.exit(3), 20);";
  assert.deepEqual(left(`${later} await model.generateBatch(["a", "b"], endless);`), [3, null, "", ""]);
  // Listeners of before the call and of after it are heard, and may change the code.
  const first = "process.on('exit', (code) => console.log(code));";
  const second = "process.once('exit', (code) => { console.log(code); process.exitCode = 4; });";
  assert.deepEqual(left(`${first} ${stream} { ${second} process.exit(3); }`), [4, null, "3\n3\n", ""]);
  const [status, signal, , stderr] = left(`setTimeout(() => { throw new Error("mine"); }, 20); ${stream};`);
  assert.deepEqual([status, signal], [1, null]);
  assert.match(stderr, /Uncaught Error: mine\n {4}at /);
  // One that is caught leaves nothing behind.
  const caught = "process.on('uncaughtException', () => process.exit(3)); setTimeout(() => { throw 1; }, 20);";
  assert.deepEqual(left(`${caught} ${stream};`), [3, null, "", ""]);
});

test("a worker thread can be left while calls run", () => {
  const left = (call, end) => {
    const inside = `
      import(${JSON.stringify(library.href)}).then(async (limbeck) => {
        const model = await limbeck.Model.open(${JSON.stringify(bundle("writer"))}, { runtime: ${JSON.stringify(runtime)} });
        const endless = { maxNewTokens: 1e9, context: "slide" };
        setTimeout(() => { ${end} }, 50);
        ${call};
      });
    `;
    const done = run(`
      const { Worker } = await import("node:worker_threads");
      const worker = new Worker(${JSON.stringify(inside)}, { eval: true });
      worker.on("message", () => worker.terminate());
      worker.on("error", (error) => console.log(error.message));
      worker.on("exit", (code) => console.log(code));
    `);
    return [done.status, done.signal, done.stdout, done.stderr];
  };
  const stream = "for await (const _ of model.stream('a', endless))";
  const writing = "await Promise.all([model.generateBatch(['a', 'b'], endless), model.generate('b', endless)])";
  const scoring = "await model.perplexity('ab🙂.'.repeat(200000), { stride: 1 })";
  for (const call of [stream, writing, scoring]) {
    assert.deepEqual(left(call, "process.exit(3)"), [0, null, "3\n", ""], call);
    assert.deepEqual(left(call, "throw new Error('mine')"), [0, null, "mine\n1\n", ""], call);
  }
  // From outside nothing of the worker's is run any more; its callbacks are over all the same.
  const message = "import('node:worker_threads').then(({ parentPort }) => parentPort.postMessage(0))";
  assert.deepEqual(left(stream, message), [0, null, "1\n", ""]);
});

test("memory stays flat", () => {
  const done = run(`
    async function everything() {
      const model = await limbeck.Model.open(file); // closed by nobody
      for (let i = 0; i < 5; i++) {
        await model.generate({ query: "a", examples: [["b", "🙂"]] }, { maxNewTokens: 20, stops: ["never"] });
        await model.generateBatch(["a", "b"], { maxNewTokens: 20 });
        for await (const _ of model.stream("a", { maxNewTokens: 1e9, context: "slide" })) break;
        model.stream("a"); // never read
        await model.stream("a".repeat(100)).next().catch(() => {});
        await model.generate("a", { maxNewTokens: 9, onToken: () => { throw 1; }, signal: new AbortController().signal }).catch(() => {});
        await model.choose("a", ["b", "🙂"], { contentFree: ["x"] });
        await model.score("a", "b");
        await model.perplexity("ab🙂.");
      }
    }
    const settle = async () => {
      for (let i = 0; i < 5; i++) {
        globalThis.gc();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return process.memoryUsage().rss;
    };
    const rounds = async (count) => {
      for (let i = 0; i < count; i++) {
        await everything();
        globalThis.gc();
      }
      return settle();
    };
    const before = await rounds(8);
    console.log((await rounds(25)) - before);
  `);
  assert.equal(done.status, 0, done.stderr);
  // One model a round that is not freed would be 25 of 500 kB.
  assert.ok(Number(done.stdout) < 8 << 20, `grew by ${done.stdout} bytes`);
});

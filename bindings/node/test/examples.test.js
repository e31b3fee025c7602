// The programs of examples/node, on bundles whose answers are known.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";

import { bundle, place, repository, runtime } from "./support.js";

let folder;
before(() => {
  // A copy beside the package, as an app has it.
  folder = mkdtempSync(path.join(os.tmpdir(), "limbeck-"));
  cpSync(path.join(repository, "examples/node"), folder, { recursive: true });
  mkdirSync(path.join(folder, "node_modules"));
  symlinkSync(place, path.join(folder, "node_modules/limbeck"));
});
after(() => rmSync(folder, { recursive: true }));

const run = (name, model, args, input = "") =>
  spawnSync(process.execPath, [path.join(folder, `${name}.mjs`), bundle(model), runtime, ...args], {
    encoding: "utf8",
    input,
  });

function words(name, model, args, input) {
  const done = run(name, model, args, input);
  assert.equal(done.status, 0, done.stderr);
  return done.stdout.trim().split("\n").map((line) => line.split(/\s+/));
}

test("answers", () => {
  let lines = words("sentiment", "tiny", ["a good film", "bad"]);
  assert.deepEqual([lines[0][0], lines[1][0], lines[1][2]], ["positive", "negative", "3"]);
  lines = words("entities", "entities", ["🙂 Ada Lovelace wrote it, London"]);
  assert.deepEqual([lines[0][0], ...lines[0].slice(2)], "PER units 3 to 15 Ada Lovelace".split(" "));
  assert.deepEqual(lines[1].slice(2), "units 26 to 32 London".split(" "));
  lines = words("answer", "reader", ["Who wrote it?", "It: Ada Lovelace wrote it."]);
  assert.deepEqual([lines.length, ...lines[0].slice(1)], [3, ..."units 4 to 16 Ada Lovelace".split(" ")]);
  lines = words("similarity", "embedder", ["good", "bad", "film", "good good film"]);
  assert.deepEqual([lines[0].slice(1), lines[2].slice(1)], [["good", "good", "film"], ["bad"]]);
});

test("a text as it is written", () => {
  let lines = words("generate", "teller", ["x: bad\nx:"]);
  // The context of 32 tokens is full: 6 of the prompt, and the last one written is not read.
  assert.equal(lines[0].join(" "), "bad.ab🙂.ab🙂.ab🙂.ab🙂.a");
  assert.deepEqual([...lines[1].slice(0, 3), ...lines[1].slice(4)], "27 tokens, context, tokens a second".split(" "));
  assert.ok(Number(lines[1][3]) > 0);
  lines = words("generate", "teller", ["c"]);
  assert.deepEqual([lines[0], lines[1].slice(0, 3)], [["é"], ["3", "tokens,", "end-of-text,"]]);
});

test("a hot swap", () => {
  let lines = words("hot_swap", "tiny", [bundle("later")], "good\nbad\n");
  assert.deepEqual(lines.map((line) => line[1]), ["1:", "2:"]);
  lines = words("hot_swap", "tiny", [bundle("failing")], "good\nbad\n");
  assert.deepEqual([...lines[1].slice(0, 3), lines[2][1]], ["not", "replaced:", "LIMBECK_SELF_TEST:", "1:"]);
});

test("errors", () => {
  const names = readdirSync(path.join(repository, "examples/node")).map((file) => path.basename(file, ".mjs"));
  assert.deepEqual(names.sort(), ["answer", "entities", "generate", "hot_swap", "sentiment", "similarity"]);
  for (const name of names) {
    const done = run(name, "nothing", ["answer", "similarity"].includes(name) ? ["x", "y"] : ["x"]);
    assert.equal(done.status, 1, done.stderr);
    assert.match(done.stderr, /^LIMBECK_NOT_FOUND: /);
    assert.equal(run(name, "tiny", []).status, 2);
  }
});

// Where the tests find cases, bundles and ONNX Runtime. They are run from a checkout; LIMBECK_TEST_PACKAGE names the
// installed package, and without it that of this folder is tested.

import assert from "node:assert/strict";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

export const repository = fileURLToPath(new URL("../../../", import.meta.url));
/** The folder of the package. */
export const place = process.env.LIMBECK_TEST_PACKAGE ?? path.join(repository, "bindings/node");
const load = (file) => import(pathToFileURL(path.join(place, "lib", file)).href);
export const limbeck = await load("index.js");
export const native = await load("native.js");
export const conformance = path.join(repository, "tests/conformance");
export const bundle = (name) => path.join(conformance, `bundles/${name}.limbeck`);

/** The ONNX Runtime library that the tests use. */
export const runtime = process.env.ORT_DYLIB_PATH;
if (!runtime) throw new Error("ORT_DYLIB_PATH must name an ONNX Runtime library of version 1.24 or later");

const models = new Map();

/** The model of a bundle, a path from the folder of the conformance cases; opened once. */
export function modelOf(name) {
  if (!models.has(name)) models.set(name, limbeck.Model.open(path.join(conformance, name), { runtime }));
  return models.get(name);
}

/** After the tests of a file: they left no handle but ONNX Runtime's, which a process keeps. */
export async function nothingLeft() {
  for (const model of await Promise.all(models.values())) model.close();
  models.clear();
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  for (let i = 0; i < 100 && limbeck.openHandles() > 1; i++) {
    collect();
    await setTimeout(20);
  }
  assert.ok(limbeck.openHandles() <= 1, `${limbeck.openHandles()} handles are open`);
}

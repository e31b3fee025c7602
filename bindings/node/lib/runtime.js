// Finding and loading ONNX Runtime: one for the whole process.

import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { RuntimeNotFoundError } from "./errors.js";
import { addressOf, initialised, made, native, textOf } from "./native.js";
import { encoded } from "./texts.js";

const PATTERNS = {
  darwin: /^libonnxruntime(\.\d+)*\.dylib$/,
  win32: /^onnxruntime\.dll$/,
  linux: /^libonnxruntime\.so(\.\d+)*$/,
};
let loaded = null;

/** Loads ONNX Runtime, or tells which one is loaded. Without a path it is that of the npm package onnxruntime-node, if
 *  it is installed, whose code is not run for it; nothing else is tried. */
export function loadRuntime(file) {
  const env = environment(file);
  return { version: textOf(native.env_runtime_version(env)), path: textOf(native.env_runtime_path(env)) };
}

/** The environment of the process, made when it is first needed and kept. */
export function environment(file) {
  if (loaded !== null && file === undefined) return loaded;
  const bytes = encoded(file ?? ofPackage(), "runtime");
  const options = initialised("EnvOptions", { runtime_path: { data: addressOf(bytes), length: bytes.length } });
  const env = made("env_new", options);
  bytes.fill(0); // it had to live until now
  if (loaded === null) loaded = env;
  else native.env_free(env); // the same library once more
  return loaded;
}

/** The library inside the package onnxruntime-node, as the program that runs, or this package, would find it. */
function ofPackage() {
  const advice = "npm install --ignore-scripts onnxruntime-node@1.24, or give the path of a libonnxruntime: loadRuntime(path)";
  const folder = packageFolder();
  if (folder === undefined) {
    throw new RuntimeNotFoundError(`no ONNX Runtime: the npm package onnxruntime-node is not installed; ${advice}`);
  }
  const bin = path.join(folder, "bin");
  const pattern = PATTERNS[process.platform] ?? PATTERNS.linux;
  const found = (existsSync(bin) ? readdirSync(bin) : [])
    .map((napi) => path.join(bin, napi, process.platform, process.arch))
    .filter((place) => existsSync(place))
    .flatMap((place) => readdirSync(place).map((name) => path.join(place, name)))
    .filter((name) => pattern.test(path.basename(name)))
    .sort();
  if (found.length === 0) {
    throw new RuntimeNotFoundError(`no ONNX Runtime: ${folder} has none for this machine; ${advice}`);
  }
  return found[0];
}

function packageFolder() {
  const starts = [process.argv[1] && pathToFileURL(process.argv[1]), pathToFileURL(`${process.cwd()}/`), import.meta.url];
  for (const start of starts.filter(Boolean)) {
    try {
      return path.dirname(createRequire(start).resolve("onnxruntime-node/package.json"));
    } catch {
      // Not to be found from there.
    }
  }
  return undefined;
}

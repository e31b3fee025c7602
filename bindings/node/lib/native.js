// limbeck.h for koffi: structs, functions, and the library itself, checked when it is loaded.

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import koffi from "koffi";

import { errorOf } from "./errors.js";

// A call of koffi's runs on a stack of its own, whose 128 kB are too few to open a model.
const STACK = 4 << 20;
if (koffi.config().async_stack_size < STACK) koffi.config({ async_stack_size: STACK });

/** The ABI that this package was written for: major * 65536 + minor. */
export const ABI_VERSION = 1;

const FILES = { darwin: "liblimbeck.dylib", win32: "limbeck.dll" };

/** Where the library for this machine lies in the package. */
export function libraryPath() {
  const machine = `${process.platform}-${process.arch}`;
  const file = FILES[process.platform] ?? "liblimbeck.so";
  return fileURLToPath(new URL(`../prebuilds/${machine}/${file}`, import.meta.url));
}

const Str = koffi.struct({ data: "void *", length: "size_t" });

const DecryptFunction = koffi.pointer(koffi.proto("int32", ["void *", Str, "void *", "size_t", "void *"]));
const TokenFunction = koffi.pointer(koffi.proto("bool", ["void *", "uint32", Str]));
const LogFunction = koffi.pointer(koffi.proto("void", ["void *", "uint32", Str]));

const structs = {
  EnvOptions: { size: "size_t", runtime_path: Str, threads: "uint32", reserved: "uint32" },
  BundleOptions: {
    size: "size_t",
    keys: "void *",
    key_count: "size_t",
    minimum_build: "uint64",
    size_limit: "uint64",
    decrypt: DecryptFunction,
    decrypt_data: "void *",
  },
  SelfTest: { size: "size_t", vectors: "size_t", largest_difference: "float", tolerance: "float" },
  Memory: {
    size: "size_t",
    budget: "uint64",
    expected: "uint64",
    sessions: "size_t",
    batch_tokens: "size_t",
    prepacked: "uint32",
    reserved: "uint32",
  },
  Metrics: {
    size: "size_t",
    calls: "uint64",
    failures: "uint64",
    runs: "uint64",
    rows: "uint64",
    tokens: "uint64",
    padding: "uint64",
    run_micros: "uint64",
  },
  CallOptions: {
    size: "size_t",
    overflow: "uint32",
    window_stride: "uint32",
    deadline_ms: "uint64",
    cancel: "void *",
    top_k: "size_t",
    threshold: "float",
    out_of_scope: "float",
    aggregation: "uint32",
    multi_label: "uint32",
    max_answer_tokens: "size_t",
    hypothesis: Str,
    rank_label: Str,
    both_orders: "uint32",
    reserved: "uint32",
  },
  Usage: {
    size: "size_t",
    tokens_used: "size_t",
    tokens_dropped: "size_t",
    windows: "size_t",
    tokenize_ns: "uint64",
    inference_ns: "uint64",
    post_ns: "uint64",
  },
  GenerateOptions: {
    size: "size_t",
    max_new_tokens: "size_t",
    temperature: "float",
    top_p: "float",
    top_k: "size_t",
    seed: "uint64",
    repetition_penalty: "float",
    ignore_eos: "uint32",
    stops: "void *",
    stop_count: "size_t",
    context: "uint32",
    context_keep: "uint32",
    deadline_ms: "uint64",
    cancel: "void *",
  },
  Prompt: {
    size: "size_t",
    instruction: Str,
    examples: "void *",
    example_count: "size_t",
    query: Str,
    separator: Str,
    max_tokens: "size_t",
    all_examples: "uint32",
    reserved: "uint32",
  },
  ChooseOptions: {
    size: "size_t",
    scoring: "uint32",
    reserved: "uint32",
    answer_context: Str,
    content_free: "void *",
    content_free_count: "size_t",
    deadline_ms: "uint64",
    cancel: "void *",
  },
  Choice: {
    size: "size_t",
    text: Str,
    index: "size_t",
    score: "double",
    probability: "double",
    log_probability: "double",
    tokens: "size_t",
    bytes: "size_t",
  },
  PerplexityOptions: {
    size: "size_t",
    stride: "size_t",
    from_start: "uint32",
    reserved: "uint32",
    deadline_ms: "uint64",
    cancel: "void *",
  },
  Perplexity: {
    size: "size_t",
    perplexity: "double",
    bits_per_byte: "double",
    log_probability: "double",
    tokens: "size_t",
    bytes: "size_t",
    windows: "size_t",
  },
};
const types = Object.fromEntries(Object.entries(structs).map(([name, fields]) => [name, koffi.struct(fields)]));
types.ModelOptions = koffi.struct({
  size: "size_t",
  threads: "uint32",
  sessions: "uint32",
  spinning: "uint32",
  reserved: "uint32",
  memory_budget: "uint64",
  providers: "void *",
  provider_count: "size_t",
  bundle: "void *",
});
types.Str = Str;
/** The structs, for the test of their layout. */
export const STRUCTS = types;

const out = (type) => koffi.out(koffi.pointer(type));
const filled = (type) => koffi.inout(koffi.pointer(types[type]));
const options = (type) => koffi.pointer(types[type]);

const HANDLE = "void *";
const TEXT = ["void *", "size_t"];
const TEXTS = ["void *", "size_t"];
const MADE = [out(HANDLE), out(HANDLE)]; // a handle, an error
const CALL = [options("CallOptions"), ...MADE];
const ERROR = out(HANDLE);
const STATUS = "int32";

/** Every function that this package calls: what it returns, and its parameters. */
export const FUNCTIONS = {
  open_handles: ["size_t", []],
  error_message: [Str, [HANDLE]],
  error_free: ["void", [HANDLE]],
  set_logger: [STATUS, ["uint32", LogFunction, HANDLE, ERROR]],
  env_new: [STATUS, [options("EnvOptions"), ...MADE]],
  env_runtime_version: [Str, [HANDLE]],
  env_runtime_path: [Str, [HANDLE]],
  env_free: ["void", [HANDLE]],
  bundle_open: [STATUS, [...TEXT, options("BundleOptions"), ...MADE]],
  bundle_open_bytes: [STATUS, [...TEXT, options("BundleOptions"), ...MADE]],
  bundle_open_fd: [STATUS, ["int", "uint64", "uint64", options("BundleOptions"), ...MADE]],
  bundle_id: [Str, [HANDLE]],
  bundle_version: [Str, [HANDLE]],
  bundle_build: ["uint64", [HANDLE]],
  bundle_task: [Str, [HANDLE]],
  bundle_max_tokens: ["size_t", [HANDLE]],
  bundle_size: ["uint64", [HANDLE]],
  bundle_label_count: ["size_t", [HANDLE]],
  bundle_label: [STATUS, [HANDLE, "size_t", out(Str), ERROR]],
  bundle_manifest_json: [Str, [HANDLE]],
  bundle_signer_count: ["size_t", [HANDLE]],
  bundle_signer: [STATUS, [HANDLE, "size_t", out(Str), ERROR]],
  bundle_verify: [STATUS, [HANDLE, ...TEXTS, out("size_t"), ERROR]],
  bundle_free: ["void", [HANDLE]],
  sink_write: [STATUS, [HANDLE, "void *", "size_t", HANDLE]],
  model_open: [STATUS, [HANDLE, ...TEXT, options("ModelOptions"), ...MADE]],
  model_open_bundle: [STATUS, [HANDLE, HANDLE, options("ModelOptions"), ...MADE]],
  model_bundle: [STATUS, [HANDLE, ...MADE]],
  model_warm_up: [STATUS, [HANDLE, ERROR]],
  model_self_test: [STATUS, [HANDLE, filled("SelfTest"), ERROR]],
  model_count_tokens: [STATUS, [HANDLE, ...TEXT, out("size_t"), ERROR]],
  model_embedding_size: ["size_t", [HANDLE]],
  model_mask_token: [Str, [HANDLE]],
  model_providers_json: [Str, [HANDLE]],
  model_memory: [STATUS, [HANDLE, filled("Memory"), ERROR]],
  model_metrics: [STATUS, [HANDLE, filled("Metrics"), ERROR]],
  model_free: ["void", [HANDLE]],
  cancel_new: [STATUS, MADE],
  cancel_trigger: ["void", [HANDLE]],
  cancel_free: ["void", [HANDLE]],
  result_usage: [STATUS, [HANDLE, "size_t", filled("Usage"), ERROR]],
  result_json: [Str, [HANDLE]],
  result_free: ["void", [HANDLE]],
  model_classify: [STATUS, [HANDLE, ...TEXT, ...CALL]],
  model_classify_batch: [STATUS, [HANDLE, ...TEXTS, ...CALL]],
  model_classify_pair: [STATUS, [HANDLE, ...TEXT, ...TEXT, ...CALL]],
  model_classify_pairs: [STATUS, [HANDLE, ...TEXTS, ...CALL]],
  model_zero_shot: [STATUS, [HANDLE, ...TEXT, ...TEXTS, ...CALL]],
  model_zero_shot_batch: [STATUS, [HANDLE, ...TEXTS, ...TEXTS, ...CALL]],
  model_rerank: [STATUS, [HANDLE, ...TEXT, ...TEXTS, ...CALL]],
  model_tag: [STATUS, [HANDLE, ...TEXT, ...CALL]],
  model_tag_batch: [STATUS, [HANDLE, ...TEXTS, ...CALL]],
  model_answer: [STATUS, [HANDLE, ...TEXT, ...TEXT, ...CALL]],
  model_answer_batch: [STATUS, [HANDLE, ...TEXTS, ...CALL]],
  model_embed_batch: [STATUS, [HANDLE, ...TEXTS, options("CallOptions"), "void *", "size_t", ...MADE]],
  similarity: [STATUS, ["void *", "void *", "size_t", out("float"), ERROR]],
  nearest: [
    STATUS,
    ["void *", "size_t", "void *", "size_t", "size_t", "void *", "void *", out("size_t"), ERROR],
  ],
  model_fill_mask: [STATUS, [HANDLE, ...TEXT, ...CALL]],
  model_fill_mask_batch: [STATUS, [HANDLE, ...TEXTS, ...CALL]],
  model_order: [STATUS, [HANDLE, ...TEXT, ...TEXT, ...CALL]],
  model_order_batch: [STATUS, [HANDLE, ...TEXTS, ...CALL]],
  model_replaced: [STATUS, [HANDLE, ...TEXT, ...CALL]],
  model_replaced_batch: [STATUS, [HANDLE, ...TEXTS, ...CALL]],
  model_generate: [STATUS, [HANDLE, ...TEXT, options("GenerateOptions"), TokenFunction, HANDLE, ...MADE]],
  model_generate_prompt: [
    STATUS,
    [HANDLE, options("Prompt"), options("GenerateOptions"), TokenFunction, HANDLE, ...MADE],
  ],
  model_generate_batch: [STATUS, [HANDLE, ...TEXTS, options("GenerateOptions"), ...MADE]],
  model_choose: [STATUS, [HANDLE, options("Prompt"), ...TEXTS, options("ChooseOptions"), ...MADE]],
  model_score: [STATUS, [HANDLE, options("Prompt"), ...TEXT, options("ChooseOptions"), filled("Choice"), ERROR]],
  model_perplexity: [STATUS, [HANDLE, ...TEXT, options("PerplexityOptions"), filled("Perplexity"), ERROR]],
  head_fit: [STATUS, [HANDLE, ...TEXTS, "double", ...CALL]],
  head_load: [STATUS, [...TEXT, ...MADE]],
  head_save: [STATUS, [HANDLE, ...TEXT, ERROR]],
  head_label_count: ["size_t", [HANDLE]],
  head_label: [STATUS, [HANDLE, "size_t", out(Str), ERROR]],
  head_classify: [STATUS, [HANDLE, HANDLE, ...TEXTS, ...CALL]],
  head_free: ["void", [HANDLE]],
  slot_new: [STATUS, [HANDLE, ...MADE]],
  slot_model: [STATUS, [HANDLE, ...MADE]],
  slot_generation: ["uint64", [HANDLE]],
  slot_publish: [STATUS, [HANDLE, HANDLE, out("uint64"), ERROR]],
  slot_roll_back: [STATUS, [HANDLE, out("uint64"), ERROR]],
  slot_forget_previous: ["void", [HANDLE]],
  slot_free: ["void", [HANDLE]],
};

const abiText = (number) => `${number >>> 16}.${number & 0xffff}`;

/** Loads a library and checks that this package can use it; both versions are in the message if it cannot. */
export function load(path) {
  if (!existsSync(path)) {
    throw new Error(`limbeck has no library for ${process.platform}-${process.arch}: ${path} is not there`);
  }
  const library = koffi.load(path);
  let abi, version;
  try {
    abi = library.func("limbeck_abi_version", "uint32", [])();
    version = library.func("limbeck_version", "str", [])();
  } catch (error) {
    throw new Error(`${path} is no limbeck library: ${error.message}`, { cause: error });
  }
  if (abi >>> 16 !== ABI_VERSION >>> 16 || abi < ABI_VERSION) {
    const side = abi > ABI_VERSION ? "the npm package" : "the library";
    throw new Error(
      `this npm package needs ABI ${abiText(ABI_VERSION)} of limbeck, and ${path} (version ${version}) ` +
        `has ABI ${abiText(abi)}: update ${side}`,
    );
  }
  const functions = Object.entries(FUNCTIONS).map(([name, [result, parameters]]) => [
    name,
    library.func(`limbeck_${name}`, result, parameters),
  ]);
  return { ...Object.fromEntries(functions), versionText: version };
}

/** The library of this package. */
export const native = load(libraryPath());

/** The library's version: "0.1.0". */
export const version = native.versionText;

/** How many handles of the library are open in the process: to look for leaks. */
export const openHandles = () => Number(native.open_handles());

// What is not 0 where a struct is all 0, by kinds of koffi's; the only struct inside others is a limbeck_str.
const ZEROS = new Map([["Record", { data: null, length: 0 }], ["Pointer", null], ["Callback", null]]);

/** A struct as its _init call makes it: all 0 but the size. */
export function initialised(name, values = {}) {
  const zero = ({ primitive }) => (ZEROS.has(primitive) ? ZEROS.get(primitive) : 0);
  const fields = Object.entries(types[name].members).map(([field, { type }]) => [field, zero(type)]);
  return { ...Object.fromEntries(fields), size: koffi.sizeof(types[name]), ...values };
}

/** A struct in memory of its own, for others to point to. */
export function stored(name, values) {
  const memory = Buffer.alloc(koffi.sizeof(types[name]));
  koffi.encode(memory, types[name], values);
  return memory;
}

/** The address of memory of ours; whoever uses it keeps `memory` alive meanwhile. */
export const addressOf = (memory) => koffi.address(memory);

/** The text of a limbeck_str that came out. */
export function textOf({ data, length }) {
  return length === 0 ? "" : Buffer.from(koffi.view(data, Number(length))).toString("utf8");
}

/** A copy of bytes of the library's. */
export function bytesOf(pointer, length) {
  return length === 0 ? new Uint8Array() : new Uint8Array(koffi.view(pointer, Number(length))).slice();
}

/** Makes a callback that C can call until it is unregistered. */
export const register = {
  decrypt: (call) => koffi.register(call, DecryptFunction),
  log: (call) => koffi.register(call, LogFunction),
  token: (call) => koffi.register(call, TokenFunction),
};
export const unregister = (callback) => koffi.unregister(callback);

/** The error of a failed call. Frees the error object. */
export function taken(status, error, cause) {
  try {
    const message = textOf(native.error_message(error));
    return errorOf(status, message, cause === undefined ? undefined : { cause });
  } finally {
    native.error_free(error);
  }
}

/** Makes a call whose last parameter is the place for an error, on this thread. */
export function check(name, ...args) {
  const error = [null];
  const status = native[name](...args, error);
  if (status !== 0) throw taken(status, error[0]);
}

/** Makes a call whose last parameters are places for a handle and an error, on this thread; gives the handle. */
export function made(name, ...args) {
  const handle = [null];
  check(name, ...args, handle);
  return handle[0];
}

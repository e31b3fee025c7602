export { Bundle } from "./bundle.js";
export * from "./errors.js";
export { Head } from "./head.js";
export { setLogger } from "./log.js";
export { Model } from "./model.js";
export { version } from "./native.js";
export { loadRuntime } from "./runtime.js";
export { Slot } from "./slot.js";
export { Embeddings, nearest, similarity } from "./vectors.js";

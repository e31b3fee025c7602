// Models, ready to run.

import { Bundle, BUNDLE_OPTIONS, withBundleOptions } from "./bundle.js";
import { checkAsync, madeAsync } from "./calls.js";
import { InvalidArgumentError } from "./errors.js";
import { own } from "./handle.js";
import { addressOf, check, initialised, made, native, stored, textOf } from "./native.js";
import { withOptions } from "./options.js";
import * as results from "./results.js";
import { environment } from "./runtime.js";
import { Input, known, whole } from "./texts.js";
import { Embeddings } from "./vectors.js";
import { Writing } from "./writing.js";

const CLASSIFY = ["topK", "threshold", "outOfScope"];
// The options of replaced tokens, which have no labels for "first" and "strict" to speak of.
const ofWords = (options) => {
  if (options?.aggregation === "first") {
    throw new InvalidArgumentError("aggregation is first and must be one of max, average, none");
  }
  return ["aggregation", "threshold"];
};
const MODEL_OPTIONS = ["runtime", "threads", "sessions", "spinning", "memoryBudget", "providers", ...BUNDLE_OPTIONS];

export class Model extends Writing {
  static async open(source, options) {
    const given = known(options, MODEL_OPTIONS);
    const env = environment(given.runtime);
    const providers = new Input().texts(given.providers ?? [], "providers");
    return withBundleOptions(given, async (bundle) => {
      const bundleOptions = stored("BundleOptions", bundle);
      const c = initialised("ModelOptions", {
        threads: whole(given.threads, "threads", 0, 0xffffffff),
        sessions: whole(given.sessions, "sessions", 0, 0xffffffff),
        spinning: given.spinning ? 1 : 0,
        memory_budget: whole(given.memoryBudget, "memoryBudget", 0),
        providers: providers.args[0],
        provider_count: providers.args[1],
        bundle: addressOf(bundleOptions),
      });
      let pointer;
      if (source instanceof Bundle) {
        pointer = await Bundle.useAsync(source, (open) => madeAsync("model_open_bundle", [env, open, c]));
      } else {
        const path = new Input().text(source, "path");
        pointer = await madeAsync("model_open", [env, ...path.args, c]);
        path.keep.length = 0;
      }
      // The memory of the options had to live until now.
      providers.keep.length = 0;
      bundleOptions.fill(0);
      return own(Model, pointer);
    });
  }

  // ---- what it is

  get bundle() {
    return Model.use(this, (pointer) => own(Bundle, made("model_bundle", pointer)));
  }
  get task() {
    const bundle = this.bundle;
    try {
      return bundle.task;
    } finally {
      bundle.close();
    }
  }
  get embeddingSize() {
    return Model.use(this, (pointer) => Number(native.model_embedding_size(pointer)));
  }
  get maskToken() {
    return Model.use(this, (pointer) => textOf(native.model_mask_token(pointer)));
  }
  get providers() {
    return Model.use(this, (pointer) => JSON.parse(textOf(native.model_providers_json(pointer))));
  }
  get memory() {
    const c = initialised("Memory");
    Model.use(this, (pointer) => check("model_memory", pointer, c));
    return {
      budget: Number(c.budget),
      expected: Number(c.expected),
      sessions: Number(c.sessions),
      batchTokens: Number(c.batch_tokens),
      prepacked: c.prepacked !== 0,
    };
  }
  get metrics() {
    const c = initialised("Metrics");
    Model.use(this, (pointer) => check("model_metrics", pointer, c));
    const { calls, failures, runs, rows, tokens, padding, run_micros: runMicros } = c;
    const numbers = { calls, failures, runs, rows, tokens, padding, runMicros };
    return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)]));
  }

  async warmUp() {
    await Model.useAsync(this, (pointer) => checkAsync("model_warm_up", [pointer]));
  }

  async selfTest() {
    const c = initialised("SelfTest");
    await Model.useAsync(this, (pointer) => checkAsync("model_self_test", [pointer, c]));
    return { vectors: Number(c.vectors), largestDifference: c.largest_difference, tolerance: c.tolerance };
  }

  async countTokens(text) {
    const input = new Input().text(text);
    const count = [0];
    await Model.useAsync(this, (pointer) => checkAsync("model_count_tokens", [pointer, ...input.args, count]));
    input.keep.length = 0;
    return Number(count[0]);
  }

  // ---- tasks

  async classify(text, options) {
    return (await this.#call("model_classify", new Input().text(text), options, CLASSIFY, results.classification))[0];
  }
  async classifyBatch(texts, options) {
    return this.#call("model_classify_batch", new Input().texts(texts), options, CLASSIFY, results.classification);
  }
  async classifyPair(first, second, options) {
    const input = new Input().text(first, "first").text(second, "second");
    return (await this.#call("model_classify_pair", input, options, CLASSIFY, results.classification))[0];
  }
  async classifyPairs(pairs, options) {
    return this.#call("model_classify_pairs", new Input().pairs(pairs), options, CLASSIFY, results.classification);
  }

  async zeroShot(text, labels, options) {
    const input = new Input().text(text).texts(labels, "labels");
    return (await this.#call("model_zero_shot", input, options, ["hypothesis", "multiLabel"], results.zeroShot))[0];
  }
  async zeroShotBatch(texts, labels, options) {
    const input = new Input().texts(texts).texts(labels, "labels");
    return this.#call("model_zero_shot_batch", input, options, ["hypothesis", "multiLabel"], results.zeroShot);
  }

  async rerank(query, texts, options) {
    const input = new Input().text(query, "query").texts(texts);
    return this.#call("model_rerank", input, options, ["topK", "label"], results.ranked);
  }

  async tag(text, options) {
    const own = ["aggregation", "threshold"];
    return (await this.#call("model_tag", new Input().text(text), options, own, results.tagging))[0];
  }
  async tagBatch(texts, options) {
    const own = ["aggregation", "threshold"];
    return this.#call("model_tag_batch", new Input().texts(texts), options, own, results.tagging);
  }

  async answer(question, text, options) {
    const input = new Input().text(question, "question").text(text);
    return (await this.#call("model_answer", input, options, ["topK", "maxAnswerTokens"], results.answers))[0];
  }
  async answerBatch(questions, options) {
    const input = new Input().pairs(questions, "questions");
    return this.#call("model_answer_batch", input, options, ["topK", "maxAnswerTokens"], results.answers);
  }

  async fillMask(text, options) {
    return (await this.#call("model_fill_mask", new Input().text(text), options, ["topK"], results.filledMasks))[0];
  }
  async fillMaskBatch(texts, options) {
    return this.#call("model_fill_mask_batch", new Input().texts(texts), options, ["topK"], results.filledMasks);
  }

  async order(first, second, options) {
    const input = new Input().text(first, "first").text(second, "second");
    return (await this.#call("model_order", input, options, ["bothOrders"], results.order))[0];
  }
  async orderBatch(pairs, options) {
    return this.#call("model_order_batch", new Input().pairs(pairs), options, ["bothOrders"], results.order);
  }

  async replaced(text, options) {
    const own = ofWords(options);
    return (await this.#call("model_replaced", new Input().text(text), options, own, results.replacements))[0];
  }
  async replacedBatch(texts, options) {
    const own = ofWords(options);
    return this.#call("model_replaced_batch", new Input().texts(texts), options, own, results.replacements);
  }

  async embed(text, options) {
    const { vectors, usages } = await this.embedBatch([text], options);
    return { vector: vectors, usage: usages[0] };
  }
  async embedBatch(texts, options) {
    const input = new Input().texts(texts);
    const count = input.args[1];
    return Model.useAsync(this, (pointer) =>
      withOptions(options, [], async (c, cause) => {
        const size = Number(native.model_embedding_size(pointer));
        const vectors = new Float32Array(new ArrayBuffer(4 * count * size));
        const place = vectors.length === 0 ? [null, 0] : [addressOf(vectors), vectors.length];
        const result = await madeAsync("model_embed_batch", [pointer, ...input.args, c, ...place], cause);
        input.keep.length = 0;
        try {
          return new Embeddings(vectors, size, Array.from({ length: count }, (_, i) => usageOf(result, i)));
        } finally {
          native.result_free(result);
        }
      }),
    );
  }

  async #call(name, input, options, ownOptions, item) {
    return Model.useAsync(this, (pointer) =>
      withOptions(options, ownOptions, async (c, cause) => {
        const result = await madeAsync(name, [pointer, ...input.args, c], cause);
        // The memory of the input had to live until now.
        input.keep.length = 0;
        return results.of(result).map(item);
      }),
    );
  }
}

function usageOf(result, text) {
  const c = initialised("Usage");
  check("result_usage", result, text, c);
  return {
    tokensUsed: Number(c.tokens_used),
    tokensDropped: Number(c.tokens_dropped),
    windows: Number(c.windows),
    tokenizeMs: Number(c.tokenize_ns) / 1e6,
    inferenceMs: Number(c.inference_ns) / 1e6,
    postMs: Number(c.post_ns) / 1e6,
  };
}

// Prompts, and the options of calls that write text and say how likely it is, as C has them.

import { InvalidArgumentError } from "./errors.js";
import { checkSignal, finite, milliseconds, number, oneOf } from "./options.js";
import { initialised } from "./native.js";
import { known, whole } from "./texts.js";

const LIMITS = ["timeout", "signal"];
const PROMPT = ["query", "examples", "instruction", "separator", "maxTokens", "allExamples"];
const GENERATE = [
  "maxNewTokens",
  "temperature",
  "topP",
  "topK",
  "seed",
  "repetitionPenalty",
  "ignoreEos",
  "stops",
  "context",
  "contextKeep",
  ...LIMITS,
];
const CHOOSE = ["scoring", "answerContext", "contentFree", ...LIMITS];
const PERPLEXITY = ["stride", "fromStart", ...LIMITS];
const CONTEXTS = { error: 0, stop: 1, slide: 2 };
const SCORINGS = { "per-token": 0, sum: 1, "per-byte": 2, "answer-context": 3 };

/** Whether a prompt is a text, and not a query with what stands before it. */
export const isText = (prompt) => typeof prompt !== "object" || prompt === null || prompt instanceof Uint8Array;

/** A prompt as C has it; `input` keeps its memory. */
export function promptOf(prompt, input) {
  const given = isText(prompt) ? { query: prompt } : known(prompt, PROMPT);
  const [examples, exampleCount] = input.part((part) => part.pairs(given.examples ?? [], "prompt.examples"));
  return initialised("Prompt", {
    instruction: input.str(given.instruction ?? "", "prompt.instruction"),
    examples,
    example_count: exampleCount,
    query: input.str(given.query, isText(prompt) ? "prompt" : "prompt.query"),
    separator: input.optional(given.separator, "prompt.separator"),
    max_tokens: whole(given.maxTokens, "prompt.maxTokens", 1),
    all_examples: given.allExamples ? 1 : 0,
  });
}

/** The seed of draws, which may have all 64 bits. */
function seedOf(seed) {
  if (typeof seed !== "bigint") return whole(seed, "seed", 0);
  if (seed < 0n || seed >= 1n << 64n) throw new InvalidArgumentError(`seed is ${seed} and must be of 64 bits`);
  return seed;
}

/** Options of calls that write text, as C has them; `input` keeps their memory. `more`: names that the call knows beside
 *  them. */
export function generateOptions(given, input, more = []) {
  const options = known(given, [...GENERATE, ...more]);
  checkSignal(options.signal);
  const [stops, stopCount] = input.part((part) => part.texts(options.stops ?? [], "stops"));
  const penalty = finite(options.repetitionPenalty, "repetitionPenalty");
  if (options.repetitionPenalty === 0) throw new InvalidArgumentError("repetitionPenalty is 0 and must be above 0");
  const context = oneOf(CONTEXTS, options.context, "context", CONTEXTS.error);
  const contextKeep = whole(options.contextKeep, "contextKeep", 1, 0xffffffff);
  if (contextKeep !== 0 && context !== CONTEXTS.slide) {
    throw new InvalidArgumentError(`contextKeep is ${contextKeep} and context is not slide`);
  }
  return initialised("GenerateOptions", {
    max_new_tokens: whole(options.maxNewTokens, "maxNewTokens", 1),
    temperature: finite(options.temperature, "temperature"),
    top_p: number(options.topP, "topP"),
    top_k: whole(options.topK, "topK", 1),
    seed: seedOf(options.seed),
    repetition_penalty: penalty,
    ignore_eos: options.ignoreEos ? 1 : 0,
    stops,
    stop_count: stopCount,
    context,
    context_keep: contextKeep,
    deadline_ms: milliseconds(options.timeout),
  });
}

/** Options of the call that chooses, as C has them; `input` keeps their memory. */
export function chooseOptions(given, input) {
  const options = known(given, CHOOSE);
  const [contentFree, count] = input.part((part) => part.texts(options.contentFree ?? [], "contentFree"));
  const scoring = oneOf(SCORINGS, options.scoring, "scoring", 0);
  if (options.answerContext !== undefined && options.answerContext !== null && scoring !== SCORINGS["answer-context"]) {
    throw new InvalidArgumentError("answerContext is given and scoring is not answer-context");
  }
  return initialised("ChooseOptions", {
    scoring,
    answer_context: input.str(options.answerContext ?? "", "answerContext"),
    content_free: contentFree,
    content_free_count: count,
    deadline_ms: milliseconds(options.timeout),
  });
}

/** Options of the call that scores one completion, as C has them. */
export function scoreOptions(given) {
  return initialised("ChooseOptions", { deadline_ms: milliseconds(known(given, LIMITS).timeout) });
}

/** Options of the call that says how likely a text is, as C has them. */
export function perplexityOptions(given) {
  const options = known(given, PERPLEXITY);
  return initialised("PerplexityOptions", {
    stride: whole(options.stride, "stride", 1),
    from_start: options.fromStart ? 1 : 0,
    deadline_ms: milliseconds(options.timeout),
  });
}

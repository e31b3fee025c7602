// What calls answer, from the library's JSON.

import { native, textOf } from "./native.js";

/** What a result holds, with fields for each text. Frees it. */
export function of(result) {
  try {
    return JSON.parse(textOf(native.result_json(result)));
  } finally {
    native.result_free(result);
  }
}

// JSON has no other word for what is not a number.
const number = (value) => value ?? NaN;

export const usage = (fields) => ({
  tokensUsed: fields.tokens_used,
  tokensDropped: fields.tokens_dropped,
  windows: fields.windows,
  tokenizeMs: fields.tokenize_ms,
  inferenceMs: fields.inference_ms,
  postMs: fields.post_ms,
});

/** `start` and `end` count UTF-16 units, as strings of JavaScript do. */
const place = ({ span }) => ({
  start: span.utf16[0],
  end: span.utf16[1],
  span: {
    start: span.utf16[0],
    end: span.utf16[1],
    byteStart: span.bytes[0],
    byteEnd: span.bytes[1],
    charStart: span.chars[0],
    charEnd: span.chars[1],
  },
});

export const classification = (fields) => ({
  labels: fields.labels.map(({ label, index, probability, logit, holds }) => ({
    label,
    index,
    probability: number(probability),
    logit: number(logit),
    holds,
  })),
  inScope: fields.in_scope,
  usage: usage(fields),
});

export const zeroShot = (fields) => ({
  labels: fields.labels.map(({ label, index, probability }) => ({ label, index, probability: number(probability) })),
  usage: usage(fields),
});

export const ranked = (fields) => ({ index: fields.index, score: number(fields.score), usage: usage(fields) });

export const tagging = (fields) => ({
  entities: fields.entities.map((entity) => ({
    label: entity.label,
    text: entity.text,
    score: number(entity.score),
    ...place(entity),
  })),
  usage: usage(fields),
});

export const answers = (fields) => ({
  answers: fields.answers.map((answer) => ({ text: answer.text, score: number(answer.score), ...place(answer) })),
  noAnswer: number(fields.no_answer),
  usage: usage(fields),
});

export const order = (fields) => ({ probability: fields.probability, logit: fields.logit, usage: usage(fields) });

const replaced = (piece) => ({ text: piece.text, probability: piece.probability, ...place(piece) });
export const replacements = (fields) => ({
  spans: fields.spans.map(replaced),
  tokens: fields.tokens.map(replaced),
  usage: usage(fields),
});

export const filledMasks = (fields) => ({
  masks: fields.masks.map((mask) => ({
    ...place(mask),
    guesses: mask.guesses.map(({ text, token, id, probability }) => ({
      text,
      token,
      id,
      probability: number(probability),
    })),
  })),
  usage: usage(fields),
});

export const generation = (fields) => ({
  text: fields.text,
  ids: Uint32Array.from(fields.ids),
  finish: fields.finish,
  stop: fields.stop ?? null,
  promptTokens: fields.prompt_tokens,
  cachedTokens: fields.cached_tokens,
  tokensDropped: fields.tokens_dropped,
  examples: fields.examples,
  examplesDropped: fields.examples_dropped,
  tokenizeMs: fields.tokenize_ms,
  prefillMs: fields.prefill_ms,
  decodeMs: fields.decode_ms,
  samplingMs: fields.sampling_ms,
});

export const choices = (fields) => ({
  choices: fields.choices.map((choice) => ({
    text: choice.text,
    index: choice.index,
    score: number(choice.score),
    probability: number(choice.probability),
    logProbability: number(choice.log_probability),
    tokens: choice.tokens,
    bytes: choice.bytes,
  })),
  usage: {
    promptTokens: fields.prompt_tokens,
    cachedTokens: fields.cached_tokens,
    examples: fields.examples,
    examplesDropped: fields.examples_dropped,
    tokenizeMs: fields.tokenize_ms,
    inferenceMs: fields.inference_ms,
    postMs: fields.post_ms,
  },
});

// What calls answer, from the library's JSON.

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

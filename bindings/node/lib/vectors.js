// Vectors, and how alike they are.

import { InvalidArgumentError } from "./errors.js";
import { addressOf, check } from "./native.js";
import { whole } from "./texts.js";

/** The vectors of texts, one after the other in `vectors`. */
export class Embeddings {
  constructor(vectors, size, usages) {
    this.vectors = vectors;
    this.size = size;
    this.usages = usages;
  }
  get length() {
    return this.usages.length;
  }
  /** The vector of a text: a view of `vectors`. */
  at(index) {
    const place = index < 0 ? index + this.length : index;
    if (!(Number.isInteger(place) && place >= 0 && place < this.length)) return undefined;
    return this.vectors.subarray(place * this.size, (place + 1) * this.size);
  }
  *[Symbol.iterator]() {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }
}

function floats(vector, name) {
  if (vector instanceof Float32Array) return vector;
  const numbers = Array.isArray(vector) || ArrayBuffer.isView(vector) ? Array.from(vector) : undefined;
  if (!numbers?.every((value) => typeof value === "number")) throw new TypeError(`${name} must be an array of numbers`);
  return Float32Array.from(numbers);
}

// The array itself and not its address, so that it lives as long as the call.
const at = (vector) => (vector.length === 0 ? null : vector);

export function similarity(first, second) {
  const [a, b] = [floats(first, "first"), floats(second, "second")];
  if (a.length !== b.length) {
    throw new InvalidArgumentError(
      `vectors of ${a.length} and ${b.length} values cannot be compared: take both from the same model`,
    );
  }
  const found = [0];
  check("similarity", at(a), at(b), a.length, found);
  return found[0];
}

export function nearest(query, vectors, k) {
  const q = floats(query, "query");
  let all;
  if (vectors instanceof Embeddings) {
    all = vectors.vectors;
    if (vectors.length > 0 && vectors.size !== q.length) throw differ(q);
  } else if (vectors instanceof Float32Array) {
    all = vectors;
  } else {
    const rows = Array.from(vectors, (vector, i) => floats(vector, `vectors[${i}]`));
    if (rows.some((row) => row.length !== q.length)) throw differ(q);
    all = new Float32Array(rows.length * q.length);
    rows.forEach((row, i) => all.set(row, i * q.length));
  }
  if (all.length === 0) return [];
  if (q.length === 0 || all.length % q.length !== 0) throw differ(q);
  const count = all.length / q.length;
  const most = Math.min(whole(k, "k", 0), count);
  const indices = new BigUint64Array(Math.max(most, 1));
  const similarities = new Float32Array(Math.max(most, 1));
  const found = [0];
  check("nearest", at(q), q.length, at(all), count, most, addressOf(indices), addressOf(similarities), found);
  // Those two are read below, and so live until then.
  return Array.from({ length: Number(found[0]) }, (_, i) => ({
    index: Number(indices[i]),
    similarity: similarities[i],
  }));
}

const differ = (query) =>
  new InvalidArgumentError(`the vectors do not all have the length of the query, which is ${query.length}`);

// Texts and numbers on their way into the library.

import { InvalidArgumentError, InvalidUtf8Error } from "./errors.js";
import { addressOf } from "./native.js";

/** The bytes of a text. */
export function encoded(text, name) {
  if (typeof text === "string") {
    if (!text.isWellFormed()) {
      const at = [...text.matchAll(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g)][0].index;
      throw new InvalidUtf8Error(`${name} has no UTF-8: half of a surrogate pair stands at index ${at}`);
    }
    return Buffer.from(text, "utf8");
  }
  if (text instanceof Uint8Array) {
    // A copy: the caller may change it while a call runs.
    return Buffer.from(text);
  }
  throw new TypeError(`${name} must be a string or a Uint8Array of UTF-8, not ${text === null ? "null" : typeof text}`);
}

/** What a call is given: arguments, and the memory that must live as long as it. */
export class Input {
  args = [];
  keep = [];

  text(text, name = "text") {
    const bytes = encoded(text, name);
    this.args.push(bytes.length === 0 ? null : addressOf(bytes), bytes.length);
    this.keep.push(bytes);
    return this;
  }

  /** The arguments of what `take` puts into another input, whose memory this one keeps. */
  part(take) {
    const { args, keep } = take(new Input());
    this.keep.push(...keep);
    return args;
  }

  /** A text that stands in a struct. */
  str(text, name) {
    const bytes = encoded(text, name);
    this.keep.push(bytes);
    return { data: bytes.length === 0 ? null : addressOf(bytes), length: bytes.length };
  }

  /** As `str`, of a field whose default is not the empty text: NULL stands for it, so an empty text has an address too. */
  optional(text, name) {
    if (text === undefined || text === null) return { data: null, length: 0 };
    const bytes = encoded(text, name);
    const place = bytes.length === 0 ? Buffer.alloc(1) : bytes;
    this.keep.push(place);
    return { data: addressOf(place), length: bytes.length };
  }

  texts(texts, name = "texts") {
    return this.#list(listed(texts, name).map((text, i) => encoded(text, `${name}[${i}]`)), 1);
  }

  pairs(pairs, name = "pairs") {
    const flat = listed(pairs, name).flatMap((pair, i) => {
      if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError(`${name}[${i}] must be a pair of texts`);
      return pair.map((text) => encoded(text, `${name}[${i}]`));
    });
    return this.#list(flat, 2);
  }

  /** An array of limbeck_str, or of limbeck_pair, which is two of them; the bytes of all lie in one piece. */
  #list(parts, each) {
    const bytes = Buffer.concat(parts);
    const strings = new BigUint64Array(new ArrayBuffer(16 * parts.length));
    let address = bytes.length === 0 ? 0n : BigInt(addressOf(bytes));
    parts.forEach((part, i) => {
      strings[2 * i] = part.length === 0 ? 0n : address;
      strings[2 * i + 1] = BigInt(part.length);
      address += BigInt(part.length);
    });
    this.args.push(parts.length === 0 ? null : addressOf(strings), parts.length / each);
    this.keep.push(bytes, strings);
    return this;
  }
}

function listed(values, name) {
  if (typeof values === "string" || values instanceof Uint8Array || values?.[Symbol.iterator] === undefined) {
    throw new TypeError(`${name} must be several, in an array`);
  }
  return [...values];
}

/** A whole number in its range. */
export function whole(value, name, lowest, highest = Number.MAX_SAFE_INTEGER) {
  if (value === undefined || value === null) return 0;
  if (typeof value !== "number") throw new TypeError(`${name} must be a number, not ${typeof value}`);
  if (!Number.isInteger(value) || value < lowest || value > highest) {
    throw new InvalidArgumentError(`${name} is ${value} and must be a whole number from ${lowest} to ${highest}`);
  }
  return value;
}

/** Refuses names that mean nothing, which are more often mistakes than meant. */
export function known(options, names) {
  if (options === undefined || options === null) return {};
  if (typeof options !== "object") throw new TypeError(`options must be an object, not ${typeof options}`);
  const other = Object.keys(options).find((name) => !names.includes(name));
  if (other !== undefined) {
    throw new InvalidArgumentError(`there is no option ${other} here: there are ${names.join(", ")}`);
  }
  return options;
}

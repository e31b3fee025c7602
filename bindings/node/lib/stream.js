// Texts while they are written.

const MADE = Symbol("made by this package");

/** An asynchronous iterator of the pieces of a text. */
export class Stream {
  #write;
  #call;
  #pieces = [];
  #readers = [];
  #left = false;
  #ended;

  /** `write` makes the call, and gives each piece to a function that says whether there are to be more. */
  constructor(key, write) {
    if (key !== MADE) throw new TypeError("a Stream is not made by new: see Model.stream");
    this.#write = write;
  }

  static [MADE](write) {
    return new Stream(MADE, write);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    if (!this.#left) this.#begin();
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#serve();
    });
  }

  async return() {
    this.#left = true;
    this.#pieces.length = 0;
    this.#serve();
    // The call ends with the token that is being written.
    await this.#call?.catch(() => {});
    return { done: true, value: undefined };
  }

  get result() {
    return this.#begin();
  }

  #begin() {
    if (this.#call === undefined) {
      if (this.#left) return Promise.reject(new TypeError("the stream was left before anything was written"));
      this.#call = this.#write((piece) => {
        if (this.#left) return false;
        this.#pieces.push(piece);
        this.#serve();
        return true;
      });
      // Who reads is told of a failure; who does not ask for the result as well need not be.
      this.#call.then(
        () => this.#end({}),
        (error) => this.#end({ error }),
      );
    }
    return this.#call;
  }

  #end(ended) {
    this.#ended = ended;
    this.#serve();
  }

  #serve() {
    while (this.#readers.length > 0) {
      if (this.#pieces.length > 0) {
        this.#readers.shift().resolve({ done: false, value: this.#pieces.shift() });
      } else if (this.#ended?.error !== undefined && !this.#left) {
        const { error } = this.#ended;
        this.#ended = {}; // told once
        this.#readers.shift().reject(error);
      } else if (this.#left || this.#ended !== undefined) {
        this.#readers.shift().resolve({ done: true, value: undefined });
      } else {
        return;
      }
    }
  }
}

/** Makes a stream; for this package alone. */
export const streamOf = (write) => Stream[MADE](write);

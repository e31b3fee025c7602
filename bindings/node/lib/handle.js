// Owners of the library's handles.

import { native } from "./native.js";

/** A pointer that is freed once, and not before the last call that uses it has ended. */
class Handle {
  #pointer;
  #free;
  #name;
  #users = 0;
  #closed = false;

  constructor(pointer, free, name) {
    this.#pointer = pointer;
    this.#free = free;
    this.#name = name;
  }

  get closed() {
    return this.#closed;
  }

  take() {
    if (this.#closed) throw new TypeError(`the ${this.#name} is closed`);
    this.#users += 1;
    return this.#pointer;
  }

  give() {
    this.#users -= 1;
    if (this.#closed && this.#users === 0) native[this.#free](this.#pointer);
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#users === 0) native[this.#free](this.#pointer);
  }
}

const forgotten = new FinalizationRegistry((handle) => handle.close());
const MADE = Symbol("made by this package");

/** What owns a handle: closed by `using`, by close(), or by the garbage collector. */
export class Owner {
  #handle;

  constructor(key, pointer, free, name) {
    if (key !== MADE) throw new TypeError(`a ${new.target.name} is not made by new: see its static functions`);
    this.#handle = new Handle(pointer, free, name);
    forgotten.register(this, this.#handle, this);
  }

  /** Makes an owner of a kind. */
  static [MADE](pointer) {
    return new this(MADE, pointer, this.free, this.kind);
  }

  get closed() {
    return this.#handle.closed;
  }

  close() {
    forgotten.unregister(this);
    this.#handle.close();
  }

  [Symbol.dispose]() {
    this.close();
  }

  /** Runs `work` with the pointer, on this thread. */
  static use(owner, work) {
    const pointer = Owner.#of(owner, this).take();
    try {
      return work(pointer);
    } finally {
      owner.#handle.give();
    }
  }

  /** Runs `work` with the pointer, which stays good until its promise is settled. */
  static async useAsync(owner, work) {
    const pointer = Owner.#of(owner, this).take();
    try {
      return await work(pointer);
    } finally {
      owner.#handle.give();
    }
  }

  static #of(owner, type) {
    if (!(owner instanceof type)) throw new TypeError(`a limbeck ${type.kind} is expected, not ${String(owner)}`);
    return owner.#handle;
  }
}

/** Makes an owner of a kind; for this package alone. */
export const own = (type, pointer) => type[MADE](pointer);

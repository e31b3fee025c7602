// Bundles, opened and verified.

import { checkAsync, madeAsync } from "./calls.js";
import { Owner, own } from "./handle.js";
import { addressOf, bytesOf, check, initialised, native, register, textOf, unregister } from "./native.js";
import { Input, known, whole } from "./texts.js";

export const BUNDLE_OPTIONS = ["keys", "minimumBuild", "decrypt"];

/** Runs `work` with bundle options as C has them. What the caller's decrypt function throws comes out of it. */
export async function withBundleOptions(options, work) {
  const keep = [];
  const c = initialised("BundleOptions", { minimum_build: whole(options.minimumBuild, "minimumBuild", 0) });
  if (options.keys !== undefined && options.keys !== null) {
    const keys = new Input().texts(options.keys, "keys");
    // An empty list is not the same as none.
    const none = Buffer.alloc(16);
    [c.keys, c.key_count] = [keys.args[0] ?? addressOf(none), keys.args[1]];
    keep.push(keys, none);
  }
  let failure;
  if (options.decrypt !== undefined && options.decrypt !== null) {
    if (typeof options.decrypt !== "function") throw new TypeError("decrypt must be a function");
    c.decrypt = register.decrypt((_, section, stored, length, sink) => {
      // No exception may leave it: it is kept, and thrown when the call has returned.
      try {
        const content = options.decrypt(textOf(section), bytesOf(stored, length));
        if (!(content instanceof Uint8Array)) throw new TypeError("decrypt must return a Uint8Array");
        const copy = Buffer.from(content);
        return native.sink_write(sink, copy.length === 0 ? null : copy, copy.length, null);
      } catch (error) {
        failure ??= { error };
        return 1;
      }
    });
  }
  try {
    return await work(c);
  } catch (error) {
    throw failure ? failure.error : error;
  } finally {
    if (c.decrypt !== null) unregister(c.decrypt);
    keep.length = 0;
  }
}

export class Bundle extends Owner {
  static kind = "bundle";
  static free = "bundle_free";

  static async open(path, options) {
    const given = known(options, BUNDLE_OPTIONS);
    const input = new Input().text(path, "path");
    return withBundleOptions(given, async (c) => own(Bundle, await made(input, "bundle_open", [...input.args, c])));
  }

  static async fromBytes(bytes, options) {
    const given = known(options, BUNDLE_OPTIONS);
    if (!(bytes instanceof Uint8Array)) throw new TypeError("bytes must be a Uint8Array");
    const input = new Input().text(bytes, "bytes");
    return withBundleOptions(given, async (c) =>
      own(Bundle, await made(input, "bundle_open_bytes", [...input.args, c])),
    );
  }

  static async fromFd(fd, offset = 0, length = 0, options = undefined) {
    const given = known(options, BUNDLE_OPTIONS);
    const args = [whole(fd, "fd", 0, 0x7fffffff), whole(offset, "offset", 0), whole(length, "length", 0)];
    return withBundleOptions(given, async (c) => own(Bundle, await madeAsync("bundle_open_fd", [...args, c])));
  }

  get id() {
    return Bundle.use(this, (pointer) => textOf(native.bundle_id(pointer)));
  }
  get version() {
    return Bundle.use(this, (pointer) => textOf(native.bundle_version(pointer)));
  }
  get build() {
    return Bundle.use(this, (pointer) => Number(native.bundle_build(pointer)));
  }
  get task() {
    return Bundle.use(this, (pointer) => textOf(native.bundle_task(pointer)));
  }
  get maxTokens() {
    return Bundle.use(this, (pointer) => Number(native.bundle_max_tokens(pointer)));
  }
  get size() {
    return Bundle.use(this, (pointer) => Number(native.bundle_size(pointer)));
  }
  get labels() {
    return Bundle.use(this, (pointer) => list(pointer, "bundle_label_count", "bundle_label"));
  }
  get signers() {
    return Bundle.use(this, (pointer) => list(pointer, "bundle_signer_count", "bundle_signer"));
  }
  get manifest() {
    return Bundle.use(this, (pointer) => JSON.parse(textOf(native.bundle_manifest_json(pointer))));
  }

  async verify(keys) {
    const input = new Input().texts(keys, "keys");
    const place = [0];
    await Bundle.useAsync(this, (pointer) => checkAsync("bundle_verify", [pointer, ...input.args, place]));
    input.keep.length = 0;
    return Number(place[0]);
  }
}

async function made(input, name, args) {
  const handle = await madeAsync(name, args);
  input.keep.length = 0;
  return handle;
}

/** The texts of a list that a handle has. */
export function list(pointer, count, item) {
  return Array.from({ length: Number(native[count](pointer)) }, (_, i) => {
    const text = {};
    check(item, pointer, i, text);
    return textOf(text);
  });
}

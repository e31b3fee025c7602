// Classifiers fitted on a few examples.

import { list } from "./bundle.js";
import { checkAsync, madeAsync } from "./calls.js";
import { InvalidArgumentError } from "./errors.js";
import { Owner, own } from "./handle.js";
import { Model } from "./model.js";
import { withOptions } from "./options.js";
import * as results from "./results.js";
import { Input } from "./texts.js";

export class Head extends Owner {
  static kind = "head";
  static free = "head_free";

  static async fit(model, examples, options) {
    const { strength, ...common } = options ?? {};
    if (strength !== undefined && (typeof strength !== "number" || Number.isNaN(strength) || strength === 0)) {
      throw new InvalidArgumentError(`strength is ${strength} and must be a number above 0`);
    }
    const input = new Input().pairs(examples, "examples");
    return Model.useAsync(model, (pointer) =>
      withOptions(common, [], async (c, cause) => {
        const head = await madeAsync("head_fit", [pointer, ...input.args, strength ?? 0, c], cause);
        input.keep.length = 0;
        return own(Head, head);
      }),
    );
  }

  static async load(path) {
    const input = new Input().text(path, "path");
    const head = await madeAsync("head_load", input.args);
    input.keep.length = 0;
    return own(Head, head);
  }

  async save(path) {
    const input = new Input().text(path, "path");
    await Head.useAsync(this, (pointer) => checkAsync("head_save", [pointer, ...input.args]));
    input.keep.length = 0;
  }

  get labels() {
    return Head.use(this, (pointer) => list(pointer, "head_label_count", "head_label"));
  }

  async classify(model, texts, options) {
    const input = new Input().texts(texts);
    return Head.useAsync(this, (head) =>
      Model.useAsync(model, (pointer) =>
        withOptions(options, ["topK", "outOfScope"], async (c, cause) => {
          const result = await madeAsync("head_classify", [head, pointer, ...input.args, c], cause);
          input.keep.length = 0;
          return results.of(result).map(results.classification);
        }),
      ),
    );
  }
}

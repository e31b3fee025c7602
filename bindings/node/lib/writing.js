// What models of the task "generation" do.

import { checkAsync, madeAsync } from "./calls.js";
import { Owner } from "./handle.js";
import { initialised, register, textOf, unregister } from "./native.js";
import { withSignal } from "./options.js";
import { chooseOptions, generateOptions, isText, perplexityOptions, promptOf, scoreOptions } from "./prompt.js";
import * as results from "./results.js";
import { streamOf } from "./stream.js";
import { Input } from "./texts.js";

/** The part of Model for models that write text. */
export class Writing extends Owner {
  static kind = "model";
  static free = "model_free";

  async generate(prompt, options) {
    const { onToken } = options ?? {};
    if (onToken !== undefined && typeof onToken !== "function") throw new TypeError("onToken must be a function");
    return this.#writer(prompt, options, ["onToken"])(onToken);
  }

  stream(prompt, options) {
    const write = this.#writer(prompt, options);
    Writing.use(this, () => {}); // refuses a closed one here, and not where the stream is read
    return streamOf(write);
  }

  async generateBatch(prompts, options) {
    const input = new Input().texts(prompts, "prompts");
    const c = generateOptions(options, input);
    return this.#run(options, c, input, async (pointer, cause) => {
      const result = await madeAsync("model_generate_batch", [pointer, ...input.args, c], cause);
      return results.of(result).map(results.generation);
    });
  }

  async choose(prompt, completions, options) {
    const input = new Input().texts(completions, "completions");
    const [p, c] = [promptOf(prompt, input), chooseOptions(options, input)];
    return this.#run(options, c, input, async (pointer, cause) => {
      const result = await madeAsync("model_choose", [pointer, p, ...input.args, c], cause);
      return results.choices(results.of(result)[0]);
    });
  }

  async score(prompt, completion, options) {
    const input = new Input().text(completion, "completion");
    const [p, c, found] = [promptOf(prompt, input), scoreOptions(options), initialised("Choice")];
    await this.#run(options, c, input, (pointer, cause) =>
      checkAsync("model_score", [pointer, p, ...input.args, c, found], cause),
    );
    return {
      logProbability: found.log_probability,
      perToken: found.score,
      tokens: Number(found.tokens),
      bytes: Number(found.bytes),
    };
  }

  async perplexity(text, options) {
    const input = new Input().text(text);
    const [c, found] = [perplexityOptions(options), initialised("Perplexity")];
    await this.#run(options, c, input, (pointer, cause) =>
      checkAsync("model_perplexity", [pointer, ...input.args, c, found], cause),
    );
    return {
      perplexity: found.perplexity,
      bitsPerByte: found.bits_per_byte,
      logProbability: found.log_probability,
      tokens: Number(found.tokens),
      bytes: Number(found.bytes),
      windows: Number(found.windows),
    };
  }

  /** What writes on from a prompt, and gives each piece to a function, if there is one, which ends the text by false. */
  #writer(prompt, options, more) {
    const input = new Input();
    const c = generateOptions(options, input, more);
    const text = isText(prompt);
    const from = text ? input.part((part) => part.text(prompt, "prompt")) : [promptOf(prompt, input)];
    const name = text ? "model_generate" : "model_generate_prompt";
    return (onToken) =>
      this.#run(options, c, input, async (pointer, cause) => {
        let failure;
        const token =
          onToken &&
          register.token((_, id, piece) => {
            // No exception may leave it: it is kept, and thrown when the call has returned.
            try {
              return onToken({ id, text: textOf(piece) }) !== false;
            } catch (error) {
              failure ??= { error };
              return false;
            }
          });
        try {
          const result = await madeAsync(name, [pointer, ...from, c, token ?? null, null], cause);
          const [written] = results.of(result).map(results.generation);
          if (failure) throw failure.error;
          return written;
        } finally {
          if (token) unregister(token);
        }
      });
  }

  /** Makes a call of this model with options as C has them. The memory of `input` lives as long as it. */
  async #run(options, c, input, call) {
    try {
      return await Writing.useAsync(this, (pointer) =>
        withSignal(options?.signal, c, (_, cause) => call(pointer, cause)),
      );
    } finally {
      input.keep.length = 0;
    }
  }
}

"""Writes on from a prompt, and shows the text as it is written.

    python generate.py BUNDLE ONNXRUNTIME_LIBRARY "prompt"

For a bundle of the task "generation".
"""

import sys

import limbeck


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        print('usage: generate.py BUNDLE ONNXRUNTIME_LIBRARY "prompt"', file=sys.stderr)
        return 2
    path, runtime, prompt = arguments
    try:
        with limbeck.Model(path, runtime=runtime) as model:
            # The likeliest token each time: set a temperature and a seed to draw. At the end of the context the text
            # ends, too; and it takes no longer than a minute.
            stream = model.stream(prompt, max_new_tokens=200, context="stop", timeout=60)
            for piece in stream:
                print(piece.text, end="", flush=True)
            found = stream.result
            speed = 1000 * len(found.ids) / (found.prefill_ms + found.decode_ms + found.sampling_ms)
            finish = found.finish.replace("_", "-")
            print(f"\n{len(found.ids)} tokens, {finish}, {speed:.1f} tokens a second")
    except limbeck.Error as error:
        print(f"{error.status_name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

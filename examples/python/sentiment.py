"""Classifies texts with a bundle, and says how sure it is and how long it took.

    python sentiment.py BUNDLE ONNXRUNTIME_LIBRARY "text" ...

With the package limbeck installed. Without a path of its own, limbeck takes the ONNX Runtime of the package onnxruntime.
"""

import sys

import limbeck


def main(arguments: list[str]) -> int:
    if len(arguments) < 3:
        print('usage: sentiment.py BUNDLE ONNXRUNTIME_LIBRARY "text" ...', file=sys.stderr)
        return 2
    path, runtime, *texts = arguments
    try:
        with limbeck.Model(path, runtime=runtime) as model:
            model.warm_up()
            for text in texts:
                found = model.classify(text)
                best, usage = found.best, found.usage
                time = usage.tokenize_ms + usage.inference_ms + usage.post_ms
                print(f"{best.label}  {best.probability:.3f}  {usage.tokens_used:2} tokens  {time:.2f} ms  {text}")
    except limbeck.Error as error:
        print(f"{error.status_name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

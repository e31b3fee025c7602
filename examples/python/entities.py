"""Finds names in texts, and says where they stand.

    python entities.py BUNDLE ONNXRUNTIME_LIBRARY "text" ...

For a bundle of the task "token-classification".
"""

import sys

import limbeck


def main(arguments: list[str]) -> int:
    if len(arguments) < 3:
        print('usage: entities.py BUNDLE ONNXRUNTIME_LIBRARY "text" ...', file=sys.stderr)
        return 2
    path, runtime, *texts = arguments
    try:
        with limbeck.Model(path, runtime=runtime) as model:
            for text, found in zip(texts, model.tag_batch(texts)):
                for entity in found:
                    # Places count characters as Python does: this is entity.text.
                    piece = text[entity.start : entity.end]
                    print(f"{entity.label}  {entity.score:.3f}  characters {entity.start} to {entity.end}  {piece}")
    except limbeck.Error as error:
        print(f"{error.status_name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

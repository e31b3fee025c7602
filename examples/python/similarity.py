"""Finds the text that is closest to the first one.

    python similarity.py BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...

For a bundle of the task "sentence-embedding".
"""

import array
import sys

import limbeck


def main(arguments: list[str]) -> int:
    if len(arguments) < 4:
        print('usage: similarity.py BUNDLE ONNXRUNTIME_LIBRARY "query" "text" ...', file=sys.stderr)
        return 2
    path, runtime, query, *texts = arguments
    try:
        with limbeck.Model(path, runtime=runtime) as model:
            # The vectors go into memory of our own: a table that could also be a file, or a NumPy array.
            table = memoryview(array.array("f", bytes(4 * len(texts) * model.embedding_size)))
            model.embed_batch(texts, out=table)
            rows = table.cast("B").cast("f", (len(texts), model.embedding_size))
            for found in limbeck.nearest(model.embed(query).vector, rows, len(texts)):
                print(f"{found.similarity:.3f}  {texts[found.index]}")
    except limbeck.Error as error:
        print(f"{error.status_name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Answers a question from a text of any length, and says where the answer stands.

    python answer.py BUNDLE ONNXRUNTIME_LIBRARY "question" "text"

For a bundle of the task "question-answering".
"""

import sys

import limbeck


def main(arguments: list[str]) -> int:
    if len(arguments) != 4:
        print('usage: answer.py BUNDLE ONNXRUNTIME_LIBRARY "question" "text"', file=sys.stderr)
        return 2
    path, runtime, question, text = arguments
    try:
        with limbeck.Model(path, runtime=runtime) as model:
            # The three best; and no more than two seconds for a text that could be a book.
            for answer in model.answer(question, text, top_k=3, timeout=2):
                print(f"{answer.score:.3f}  characters {answer.start} to {answer.end}  {answer.text}")
    except limbeck.Error as error:
        print(f"{error.status_name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

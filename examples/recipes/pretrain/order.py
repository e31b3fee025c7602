"""Asks a bundle with a head for sentence order which of two texts comes first. Standard library of Python 3.10 only.

    python3 order.py order.limbeck prepared/news/held-out.txt out/results.json [--limbeck PROGRAM]

Of each held-out story four sentences at a time, two and two, every other pair swapped. results.json gets the share of right answers, read
as they stand and in both orders.
"""

import json
import re
import subprocess

import asked


def pairs_of(text):
    """Texts, and whether the first comes first."""
    pairs = []
    for story in text.split("\n\n"):
        sentences = [part for part in re.split(r"(?<=[.!?])\s+", " ".join(story.split())) if part]
        for at in range(0, len(sentences) - 3, 4):
            pair = (" ".join(sentences[at : at + 2]), " ".join(sentences[at + 2 : at + 4]))
            in_order = len(pairs) % 2 == 0
            pairs.append((pair if in_order else pair[::-1], in_order))
    return pairs


def main():
    options = asked.arguments().parse_args()
    pairs = pairs_of(options.text.read_text())
    found = {"pairs": len(pairs)}
    for name, more in [("accuracy", []), ("accuracy_both_orders", ["--both-orders"])]:
        right = 0
        for (first, second), in_order in pairs:
            command = [options.limbeck, "run", options.bundle, "--first", first, second, "--json", *more]
            answer = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
            right += (json.loads(answer.stdout)["probability"] >= 0.5) == in_order
        found[name] = right / len(pairs)
    print(found)
    asked.record(options.results, "order", found)


if __name__ == "__main__":
    main()

"""Makes a text of tasks for a tiny causal model, and prompts to try it by. Standard library only.

    python3 make.py OUT

OUT gets `train.jsonl` and `held-out.jsonl`, a document a line, which is one to ten examples of one task; `examples.jsonl` and
`test.jsonl`, rows as GPT-3's arithmetic files have them, with the task's name. Nothing in a document names its task: what is to be
done with a letter or a number can be told from the examples before it alone, and sums, which are asked as GPT-3 was asked (Brown 2020,
section 3.9.1), are answered in digits or in words. A fifth of the sums is in no document, in neither way of writing nor the other way round, and `test.jsonl` has those. Letters and
numbers are few, and all of them are in documents: of these it is to be found out what is done with them.
"""

import json
import pathlib
import random
import string
import sys

WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
).split()
LETTERS = string.ascii_lowercase
NUMBERS = range(1, 31)
DIGITS = range(1, 10)
DOCUMENTS, MOST_EXAMPLES = 60_000, 10

OF_LETTERS = {
    "letter: the same": lambda place: LETTERS[place],
    "letter: the capital": lambda place: LETTERS[place].upper(),
    "letter: the next": lambda place: LETTERS[(place + 1) % 26],
    "letter: the one before": lambda place: LETTERS[place - 1],
}
# One example often leaves several of these possible: 2 to 4 is two more and twice, 10 to 20 is ten more and twice.
OF_NUMBERS = {
    "number: one more": lambda n: n + 1,
    "number: one less": lambda n: n - 1,
    "number: two more": lambda n: n + 2,
    "number: ten more": lambda n: n + 10,
    "number: twice": lambda n: 2 * n,
}
OF_SUMS = {
    "sum: digits": str,
    "sum: words": WORDS.__getitem__,
}


def asked(a, b):
    return f"\n\nQ: What is {a} plus {b}?\n\nA:"


def tasks():
    """By name, all rows of a task: a query and its answer."""
    made = {}
    for name, rule in OF_LETTERS.items():
        made[name] = [(f"\n\nIn: {LETTERS[place]}\n\nOut:", f" {rule(place)}") for place in range(26)]
    for name, rule in OF_NUMBERS.items():
        made[name] = [(f"\n\nIn: {n}\n\nOut:", f" {rule(n)}") for n in NUMBERS]
    for name, rule in OF_SUMS.items():
        made[name] = [(asked(a, b), f" {rule(a + b)}") for a in DIGITS for b in DIGITS]
    return made


def tested_sums(rng):
    """Queries of a fifth of the sums, a plus b and b plus a together."""
    pairs = [(a, b) for a in DIGITS for b in DIGITS if a <= b]
    chosen = rng.sample(pairs, len(pairs) // 5)
    return {asked(*pair) for a, b in chosen for pair in [(a, b), (b, a)]}


def split(name, rows, tested):
    """Rows to train on and rows to test by. Of sums a fifth is in no document; letters and numbers are too few for that."""
    if not name.startswith("sum"):
        return rows, rows
    return [row for row in rows if row[0] not in tested], [row for row in rows if row[0] in tested]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    tested = tested_sums(rng)
    parts = {name: split(name, rows, tested) for name, rows in tasks().items()}
    names = list(parts)

    def document():
        rows = parts[rng.choice(names)][0]
        drawn = rng.sample(rows, rng.randint(1, MOST_EXAMPLES))
        return "".join(query + answer for query, answer in drawn)

    for name, count in [("train", DOCUMENTS), ("held-out", 500)]:
        rows = [json.dumps({"text": document()}) for _ in range(count)]
        (out / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name, part in [("examples", 0), ("test", 1)]:
        rows = [
            json.dumps({"task": task, "context": query, "completion": answer})
            for task in names
            for query, answer in parts[task][part]
        ]
        (out / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

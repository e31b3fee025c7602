"""Makes a text of tasks for a tiny causal model, and prompts to try it by. Standard library only.

    python3 make.py OUT

OUT gets `train.jsonl` and `held-out.jsonl`, a document a line, which is one to ten examples of one task; `examples.jsonl` and
`test.jsonl`, rows as GPT-3's arithmetic files have them, with the task's name. Nothing in a document names its task: what is to be
done with a letter or a number can be told from the examples before it alone, and sums of numbers below 100, which are asked as GPT-3 was
asked (Brown 2020, section 3.9.1), are answered in digits or in words. A hundred pairs of numbers are in no document, in neither way of
writing nor the other way round, and `test.jsonl` has those. Letters and numbers are few, and all of them are in documents: of these it is
to be found out what is done with them. Half of the documents are sums: adding has to be learned, for which it takes many.
"""

import json
import pathlib
import random
import string
import sys

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
LETTERS = string.ascii_lowercase
NUMBERS = range(1, 31)
ADDENDS = range(100)
TESTED_PAIRS = 100
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


def in_words(n):
    """The name of a number below 200."""
    if n >= 100:
        return "one hundred" + (f" {in_words(n - 100)}" if n > 100 else "")
    if n < 20:
        return ONES[n]
    return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")


OF_SUMS = {
    "sum: digits": str,
    "sum: words": in_words,
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
        made[name] = [(asked(a, b), f" {rule(a + b)}") for a in ADDENDS for b in ADDENDS]
    return made


def tested_sums(rng):
    """Queries of the pairs that no document has, a plus b and b plus a together."""
    pairs = [(a, b) for a in ADDENDS for b in ADDENDS if a <= b]
    chosen = rng.sample(pairs, TESTED_PAIRS)
    return {asked(*pair) for a, b in chosen for pair in [(a, b), (b, a)]}


def split(name, rows, tested):
    """Rows to train on and rows to test by. Of sums some are in no document; letters and numbers are too few for that."""
    if name not in OF_SUMS:
        return rows, rows
    return [row for row in rows if row[0] not in tested], [row for row in rows if row[0] in tested]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    tested = tested_sums(rng)
    parts = {name: split(name, rows, tested) for name, rows in tasks().items()}
    names = list(parts)
    sums = [name for name in names if name in OF_SUMS]
    others = [name for name in names if name not in OF_SUMS]

    def document():
        rows = parts[rng.choice(rng.choice([sums, others]))][0]
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

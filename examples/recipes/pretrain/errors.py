"""Sets of wrong words, made of text: each word of a line is marked right or wrong. Standard library only; called by prepare.py.

OUT/errors gets a folder for each set, with train.conll, dev.conll and test.conll, of lines of OUT/news: `misspelt` (a letter of a word is
wrong), `confused` (a word stands in the place of one that it is often confused with), `mistaken` (in that of any that is spelt like it, as
automatic correction has it) and `swapped` (two neighbouring words have changed places). Lines of news/train.txt are for train and dev,
those of news/held-out.txt for test. The same text gives the same sets.
"""

import collections
import hashlib
import random
import re

TOKEN = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Words of one row are taken for one another, by sound, by spelling or by grammar.
CONFUSED = [
    row.split()
    for row in """their there
its it's
to too two
then than
your you're
affect effect
lose loose
whose who's
weather whether
accept except
principal principle
quiet quite
through though thought
from form
were where we're
of off
is are
was were
has have
does do
a an
this these
that those
in on at
for of
as has
who which
he they
his their
much many
less fewer
will would
can could
been being
now know
new knew
no know
by buy
which witch
one won
""".splitlines()
]
LINES = {"train": 4000, "dev": 500, "test": 1500}


def misspelt(word, rng, _):
    """A letter is left out, doubled, another one, or changes places with the next; never the first one."""
    if len(word) < 4 or not word.isalpha() or rng.random() >= 0.08:
        return word
    at = rng.randrange(1, len(word) - 1)
    return rng.choice(
        [
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + rng.choice(LETTERS) + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        ]
    )


def confused(word, rng, _):
    others = [other for row in CONFUSED if word in row for other in row if other != word]
    return rng.choice(others) if others and rng.random() < 0.2 else word


def mistaken(word, rng, alike):
    others = alike(word) if rng.random() < 0.08 else []
    return rng.choice(others) if others else word


def each_word(spoil):
    """Spoils the words of a line in place, one by one, and tags all."""

    def words_of(words, rng, alike):
        right = list(words)
        words[:] = [spoil(word, rng, alike) for word in words]
        return ["O" if now == before else "B-WRONG" for now, before in zip(words, right)]

    return words_of


def swapped(words, rng, _):
    tags = ["O"] * len(words)
    at = 0
    while at + 1 < len(words):
        two = words[at : at + 2]
        if two[0] != two[1] and all(word.isalpha() for word in two) and rng.random() < 0.06:
            words[at : at + 2] = reversed(two)
            tags[at : at + 2] = ["B-WRONG", "I-WRONG"]
            at += 1
        at += 1
    return tags


def spelt_like(texts):
    """For each word of four letters and more all others that are it, but for a letter that is left out, more or another one."""
    counts = collections.Counter(word for text in texts for word in text if len(word) > 3 and word.isalpha())
    # Each with one letter left out.
    cuts = collections.defaultdict(list)
    parts = {word: {word[:at] + word[at + 1 :] for at in range(1, len(word))} | {word} for word in counts}
    for word, count in sorted(counts.items()):
        for part in parts[word] if count > 2 else []:
            cuts[part].append(word)
    return lambda word: sorted({other for part in parts.get(word, ()) for other in cuts[part]} - {word})


def lines(path, part):
    """Lines of 6 to 40 words in lower case, in an order that does not depend on the file's."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = TOKEN.findall(line.lower())
        if 6 <= len(words) <= 40:
            found[" ".join(words)] = words
    number = {text: int(hashlib.sha256(text.encode()).hexdigest(), 16) for text in found}
    kept = [text for text in sorted(found, key=number.get) if (number[text] // 64 % 10 == 0) == (part == "dev") or part == "test"]
    return [found[text] for text in kept[: LINES[part]]]


WAYS = {"misspelt": each_word(misspelt), "confused": each_word(confused), "mistaken": each_word(mistaken), "swapped": swapped}


def write(out):
    texts = {part: lines(out / "news" / ("held-out.txt" if part == "test" else "train.txt"), part) for part in LINES}
    alike = spelt_like(texts["train"])
    for name, spoil in WAYS.items():
        for part in LINES:
            rng = random.Random(f"{name} {part}")
            rows, wrong, count = [], 0, 0
            for line in texts[part]:
                words = list(line)
                tags = spoil(words, rng, alike)
                wrong, count = wrong + sum(tag == "B-WRONG" for tag in tags), count + len(words)
                rows.append("\n".join(f"{word}\t{tag}" for word, tag in zip(words, tags)))
            path = out / "errors" / name / f"{part}.conll"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n\n".join(rows) + "\n", encoding="utf-8", newline="\n")
            print(f"{path}: {len(rows)} lines of {count} words, {wrong} errors")

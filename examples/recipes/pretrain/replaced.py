"""Asks a bundle with a head for replaced tokens which words of a text are wrong. Standard library of Python 3.10 only.

    python3 replaced.py replaced.limbeck prepared/prose/held-out.txt out/results.json [--limbeck PROGRAM]

One word of each of some held-out lines is spoiled, in one of four ways; `limbeck run` tells how suspicious each word is. results.json gets, by
way: the area under the ROC curve (a spoiled word's chance to look worse than one that is right; 0.5 by guessing), and recall and precision at
the threshold of 0.5, with the precision of guessing. The same seed spoils the same words.
"""

import bisect
import collections
import json
import random
import re
import subprocess

import asked

WORD = re.compile(r"(?<![\w'])[a-z]+(?![\w'])")


def two_letters(word, rng, _):
    """Two neighbouring letters inside of a word change places: a typing error."""
    places = [at for at in range(1, len(word) - 2) if word[at] != word[at + 1]]
    if len(word) < 5 or not places:
        return None
    at = rng.choice(places)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def letter_left_out(word, rng, _):
    """A letter inside of a word is missing."""
    if len(word) < 5:
        return None
    at = rng.randrange(1, len(word) - 1)
    return word[:at] + word[at + 1 :]


def common_word(word, rng, words):
    """Another word stands there, drawn as often as the text has it."""
    drawn = rng.choice(words)
    return drawn if drawn != word else None


def like_ending(word, rng, words):
    """A word with the same last two letters stands there: often of the same part of speech."""
    alike = [other for other in words if other[-2:] == word[-2:] and other != word] if len(word) > 3 else []
    return rng.choice(alike) if alike else None


WAYS = {
    "two letters swapped": two_letters,
    "a letter left out": letter_left_out,
    "another word": common_word,
    "a word with the same ending": like_ending,
}


def area(wrong, right):
    """Area under the ROC curve: how often one of `wrong` scores above one of `right`, ties counted half."""
    right = sorted(right)
    below = sum(bisect.bisect_left(right, score) + bisect.bisect_right(right, score) for score in wrong) / 2
    return below / (len(wrong) * len(right))


def main():
    parser = asked.arguments()
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    lines = [line.strip().lower() for line in options.text.read_text().splitlines()]
    lines = [line for line in lines if 8 <= len(WORD.findall(line)) and len(line.split()) <= 25]
    rng = random.Random(options.seed)
    rng.shuffle(lines)
    words = [word for line in lines for word in WORD.findall(line)]
    found = {}
    for way, spoil in WAYS.items():
        spoiled = []
        for line in lines:
            match = rng.choice(list(WORD.finditer(line)))
            other = spoil(match.group(), rng, words)
            if other is not None:
                text = line[: match.start()] + other + line[match.end() :]
                spoiled.append((text, (match.start(), match.start() + len(other))))
            if len(spoiled) == options.lines:
                break
        command = [options.limbeck, "run", options.bundle, "--threshold", "0", "--json"]
        texts = "".join(text + "\n" for text, _ in spoiled)
        answers = subprocess.run([str(part) for part in command], input=texts, capture_output=True, text=True, check=True)
        wrong, right = [], []
        for (text, place), answer in zip(spoiled, answers.stdout.splitlines(), strict=True):
            answer = json.loads(answer)
            assert answer["text"] == text, (answer["text"], text)
            # A token's place counts in characters; the worst token of a word is the word's.
            worst = collections.defaultdict(float)
            for token in answer["tokens"]:
                start = token["span"]["chars"][0]
                for match in WORD.finditer(text):
                    if match.start() <= start < match.end():
                        worst[match.span()] = max(worst[match.span()], token["probability"])
            for span, score in worst.items():
                (wrong if span == place else right).append(score)
        assert spoiled and len(wrong) == len(spoiled), f"{way}: {len(wrong)} of {len(spoiled)} spoiled words were looked at"
        alarms = sum(score >= 0.5 for score in wrong + right)
        hits = sum(score >= 0.5 for score in wrong)
        found[way] = {
            "texts": len(spoiled),
            "words": len(wrong) + len(right),
            "area": area(wrong, right),
            "recall": hits / len(wrong),
            "precision": hits / alarms if alarms else None,
            "precision_of_guessing": len(wrong) / (len(wrong) + len(right)),
        }
        print(way, found[way], flush=True)
    asked.record(options.results, "replaced", found)


if __name__ == "__main__":
    main()

"""Turns public texts into the files that these recipes read. Standard library only.

    python3 prepare.py DATA OUT

DATA has the sets as their authors publish them (see README.md). OUT gets `train.txt` and `held-out.txt` in three folders:
`prose` (a sentence or paragraph a line, an empty line between documents; a fortieth of the documents is held out by a hash of
their text), `news` (the same of short stories without their headlines, of which an eighth is held out) and `shakespeare` (the
first nine tenths and the rest). OUT/errors gets sets of wrong words (errors.py).
"""

import hashlib
import pathlib
import sys
import zipfile

import errors


def split(documents, of):
    """One of `of` documents is held out, the same ones on any machine."""
    sets = {"train": [], "held-out": []}
    for document in documents:
        number = int(hashlib.sha256(document.encode()).hexdigest(), 16)
        sets["held-out" if number % of == 0 else "train"].append(document)
    return {name: "\n\n".join(texts) + "\n" for name, texts in sets.items()}


def decoded(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def prose(data):
    """Speeches and reviews, a document each: lines without the empty ones."""
    for name in ["inaugural", "state_union", "movie_reviews"]:
        with zipfile.ZipFile(data / "nltk" / f"{name}.zip") as files:
            for entry in sorted(files.namelist()):
                if entry.endswith(".txt"):
                    lines = (" ".join(line.split()) for line in decoded(files.read(entry)).splitlines())
                    yield "\n".join(line for line in lines if line)


def news(data):
    """Stories of rural news: an empty line ends one, and the first line is its headline."""
    with zipfile.ZipFile(data / "nltk" / "abc.zip") as files:
        text = files.read("abc/rural.txt").decode("latin-1")
    story = []
    for line in [*text.splitlines(), ""]:
        line = " ".join(line.split())
        if line:
            story.append(line)
        else:
            if len(story) > 1:
                yield "\n".join(story[1:])
            story = []


def main():
    data, out = map(pathlib.Path, sys.argv[1:])
    text = (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    # At the end of a speech.
    cut = text.rindex("\n\n", 0, len(text) * 9 // 10) + 2
    sets = {
        "prose": split(prose(data), 40),
        "news": split(news(data), 8),
        "shakespeare": {"train": text[:cut], "held-out": text[cut:]},
    }
    for folder, files in sets.items():
        for name, content in files.items():
            path = out / folder / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
            print(f"{path}: {len(content)} characters")
    errors.write(out)


if __name__ == "__main__":
    main()

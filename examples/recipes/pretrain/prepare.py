"""Turns public texts into the files that these recipes read. Standard library only.

    python3 prepare.py DATA OUT

DATA has the sets as their authors publish them (see README.md). OUT gets `prose/train.txt` and `prose/held-out.txt` (a sentence
or paragraph a line, an empty line between documents; a fortieth of the documents is held out by a hash of their text) and
`shakespeare/train.txt` and `shakespeare/held-out.txt` (the first nine tenths and the rest).
"""

import hashlib
import pathlib
import sys
import zipfile


def held_out(text):
    """The same choice on any machine."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 40 == 0


def decoded(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def documents(data):
    """Speeches and reviews, a document each: lines without the empty ones."""
    for name in ["inaugural", "state_union", "movie_reviews"]:
        with zipfile.ZipFile(data / "nltk" / f"{name}.zip") as files:
            for entry in sorted(files.namelist()):
                if entry.endswith(".txt"):
                    lines = (" ".join(line.split()) for line in decoded(files.read(entry)).splitlines())
                    yield "\n".join(line for line in lines if line)


def main():
    data, out = map(pathlib.Path, sys.argv[1:])
    sets = {"train": [], "held-out": []}
    for document in documents(data):
        sets["held-out" if held_out(document) else "train"].append(document)
    text = (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    # At the end of a speech.
    cut = text.rindex("\n\n", 0, len(text) * 9 // 10) + 2
    files = {f"prose/{name}.txt": "\n\n".join(texts) + "\n" for name, texts in sets.items()}
    files |= {"shakespeare/train.txt": text[:cut], "shakespeare/held-out.txt": text[cut:]}
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")
        print(f"{path}: {len(content)} characters")


if __name__ == "__main__":
    main()

"""Turns public data sets into the files that `limbeck finetune`, `calibrate` and `eval` read. Standard library only.

    python3 prepare.py DATA OUT

DATA has the sets as their authors publish them (see README.md for where they come from); OUT gets a folder for each set
that is there, with train, dev, test. Dev is the authors' where they made one, else a tenth of train by a hash of the
text; the same for test.
"""

import csv
import gzip
import hashlib
import io
import json
import pathlib
import sys
import xml.etree.ElementTree as xml
import zipfile


def hash_of(text):
    """A number that any machine gives the same text."""
    return int(hashlib.sha256(" ".join(text.split()).lower().encode()).hexdigest(), 16)


def share(text, of=10):
    """Which of `of` parts a text is in."""
    return hash_of(text) % of


def write_tsv(folder, name, header, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.tsv", "w", encoding="utf-8", newline="") as out:
        for row in [header, *rows]:
            out.write("\t".join(" ".join(str(cell).split()) for cell in row) + "\n")
    print(f"{folder.name}/{name}.tsv: {len(rows)} rows")


def write_csv(folder, name, header, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([header, *rows])
    print(f"{folder.name}/{name}.csv: {len(rows)} rows")


def write_txt(folder, name, texts):
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{' '.join(text.split())}\n" for text in texts)
    (folder / f"{name}.txt").write_text(lines, encoding="utf-8", newline="\n")
    print(f"{folder.name}/{name}.txt: {len(texts)} texts")


def a_quarter(texts):
    """Of the training texts, to be read without their labels."""
    return [text for text in texts if 1 <= share(text, 64) <= 16]


def split(rows, text, dev=1, test=0):
    parts = {"train": [], "dev": [], "test": []}
    for row in rows:
        parts["test" if share(text(row)) == test else "dev" if share(text(row)) == dev else "train"].append(row)
    return parts


def banking77(data, out):
    def read(name):
        with open(data / "banking77" / name, encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]

    parts = split(read("train.csv"), lambda row: row[0], test=None)
    parts["test"] = read("test.csv")
    # Two rows of each class of train with their labels.
    few = {}
    for text, label in sorted(parts["train"], key=lambda row: hash_of(row[0])):
        few.setdefault(label, []).append((text, label))
    parts["few"] = [row for label in sorted(few) for row in few[label][:2]]
    labelled = {text for text, _ in parts["few"]}
    for name, rows in parts.items():
        write_csv(out, name, ("text", "label"), rows)
    write_txt(out, "much", a_quarter(text for text, _ in parts["train"] if text not in labelled))


def clinc150(data, out):
    sets = json.loads((data / "clinc150/data_full.json").read_text(encoding="utf-8"))
    for name, key in (("train", "train"), ("dev", "val"), ("test", "test")):
        write_tsv(out, name, ("text", "label"), sets[key])
    for name, key in (("dev_out_of_scope", "oos_val"), ("test_out_of_scope", "oos_test")):
        write_tsv(out, name, ("text", "label"), sets[key])


def polarity(data, out):
    rows = []
    with zipfile.ZipFile(data / "nltk/sentence_polarity.zip") as archive:
        for ending, label in (("neg", "negative"), ("pos", "positive")):
            name = next(n for n in archive.namelist() if n.endswith(f"rt-polarity.{ending}"))
            rows += [(line, label) for line in archive.read(name).decode("utf-8").splitlines() if line.strip()]
    sets = split(rows, lambda row: row[0])
    for name, part in sets.items():
        write_tsv(out, name, ("text", "label"), part)
    # Sentences of whole reviews, three of eight: what such snippets are taken from, without a label.
    reviews = data / "nltk/movie_reviews.zip"
    if reviews.exists():
        with zipfile.ZipFile(reviews) as archive:
            texts = sorted(name for name in archive.namelist() if name.endswith(".txt"))
            lines = [line for name in texts for line in archive.read(name).decode("latin-1").splitlines()]
        lines = dict.fromkeys(" ".join(line.split()) for line in lines if 5 <= len(line.split()) <= 50)
        write_txt(out, "reviews", [line for line in lines if share(line, 8) < 3])
    else:
        print(f"polarity/reviews.txt: {reviews} is not there, left out")
    # Few rows of train with their labels, and a quarter of it without.
    write_tsv(out, "few", ("text", "label"), [row for row in sets["train"] if share(row[0], 64) == 0])
    write_txt(out, "much", a_quarter(text for text, _ in sets["train"]))


def sentences(folder):
    """Of Wikipedia's articles, in the order of the files, without those that have words left out."""
    found = {}
    for name in ("valid.txt", "test.txt"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            if line.strip().startswith("= "):
                continue
            for mark in "-,.":
                line = line.replace(f" @{mark}@ ", mark)
            for text in " ".join(line.split()).split(" . "):
                if 3 <= len(text.split()) <= 60 and "<unk>" not in text:
                    found[text.removesuffix(" .") + " ."] = None
    return list(found)


def wikiann(data, out):
    out.mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev", "test"):
        text = (data / "wikiann_en" / name).read_text(encoding="utf-8")
        lines = [line[3:] if line.startswith("en:") else line for line in text.splitlines()]
        (out / f"{name}.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"wikiann/{name}.conll: {text.count(chr(10) * 2)} texts")
        # A twentieth of train, and a tenth of dev to choose by.
        for few, part, of in (("few", "train", 20), ("few-dev", "dev", 10)):
            if part == name:
                texts = [text for text in "\n".join(lines).strip().split("\n\n") if share(text, of) == 0]
                (out / f"{few}.conll").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
                print(f"wikiann/{few}.conll: {len(texts)} texts")
    articles = data / "wikitext2/valid.txt"
    if articles.exists():
        lines = [" ".join(line.split()) for line in articles.read_text(encoding="utf-8").splitlines()]
        write_txt(out, "wikipedia", [line for line in lines if line and not line.startswith("= ")])
        write_txt(out, "sentences", sentences(data / "wikitext2"))
    else:
        print(f"wikiann/wikipedia.txt, wikiann/sentences.txt: {articles} is not there, left out")


def stsb(data, out):
    with gzip.open(data / "stsb/stsbenchmark.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for name in ("train", "dev", "test"):
        own = [(row["sentence1"], row["sentence2"], row["score"]) for row in rows if row["split"] == name]
        write_tsv(out, name, ("text", "second", "score"), own)


def rte(data, out):
    def read(part):
        rows = []
        with zipfile.ZipFile(data / "nltk/rte.zip") as archive:
            for name in sorted(n for n in archive.namelist() if n.endswith(f"_{part}.xml")):
                for pair in xml.parse(io.BytesIO(archive.read(name))).iter("pair"):
                    holds = pair.get("entailment", pair.get("value")) in ("YES", "TRUE")
                    label = "entailment" if holds else "not_entailment"
                    rows.append((pair.findtext("t"), pair.findtext("h"), label))
        return rows

    parts = split(read("dev"), lambda row: row[0], test=None)
    parts["test"] = read("test")
    for name, rows in parts.items():
        write_tsv(out, name, ("text", "hypothesis", "label"), rows)


def cola(data, out):
    def read(name):
        lines = (data / "cola" / name).read_text(encoding="utf-8").splitlines()
        return [(line.split("\t")[3], {"0": "unacceptable", "1": "acceptable"}[line.split("\t")[1]]) for line in lines]

    write_tsv(out, "train", ("text", "label"), read("in_domain_train.tsv"))
    write_tsv(out, "dev", ("text", "label"), read("in_domain_dev.tsv"))
    write_tsv(out, "test", ("text", "label"), read("out_of_domain_dev.tsv"))


def xquad(data, out):
    articles = json.loads((data / "xquad_en/first_36_articles.json").read_text(encoding="utf-8"))["data"]
    parts = {"train": [], "dev": [], "test": []}
    # By article, so that no paragraph's neighbour is in another part.
    for index, article in enumerate(articles):
        parts["test" if index % 6 == 5 else "dev" if index % 6 == 4 else "train"].append(article)
    out.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        (out / f"{name}.json").write_text(json.dumps({"version": "1.1", "data": part}), encoding="utf-8")
        count = sum(len(paragraph["qas"]) for article in part for paragraph in article["paragraphs"])
        print(f"xquad/{name}.json: {count} questions")


SETS = {
    "banking77": ("banking77", banking77),
    "clinc150": ("clinc150", clinc150),
    "polarity": ("nltk/sentence_polarity.zip", polarity),
    "wikiann": ("wikiann_en", wikiann),
    "stsb": ("stsb", stsb),
    "rte": ("nltk/rte.zip", rte),
    "cola": ("cola", cola),
    "xquad": ("xquad_en", xquad),
}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data, out = map(pathlib.Path, sys.argv[1:])
    for name, (source, prepare) in SETS.items():
        if (data / source).exists():
            prepare(data, out / name)
        else:
            print(f"{name}: {data / source} is not there, left out")


if __name__ == "__main__":
    main()

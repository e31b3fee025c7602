"""Makes `references/trained-tokenizers.json`: what PyPI tokenizers' trainers make of a text, and how they cut others.

    python make_tokenizers.py

and, with a folder of tokenizers that limbeck trained and what it makes of strings (`fuzz.jsonl`, written by the opt-in test
`a_hundred_thousand_strings` of `trained.rs`), compares each line:

    python make_tokenizers.py FOLDER
"""

import json
import random
import sys
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from texts import PARAGRAPH

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ALBERT = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]


def corpus():
    random.seed(5)
    words = PARAGRAPH.lower().replace(",", "").replace(".", "").split()
    more = ["caf\u00e9", "na\u00efve", "running", "lamps", "lighthouses", "counted", "1984", "3.14", "don't", "\u5317\u4eac", "\U0001f642"]
    return [" ".join(random.choices(words + more, k=random.randint(4, 14))).capitalize() + ".\n" for _ in range(250)]


def template():
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )


def special(tokens):
    return [AddedToken(token, special=True, normalized=False) for token in tokens]


def train(kind, lines):
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = template()
        trainer = trainers.WordPieceTrainer(
            vocab_size=200, min_frequency=2, limit_alphabet=1000, special_tokens=special(BERT), show_progress=False
        )
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.post_processor = template()
        trainer = trainers.UnigramTrainer(
            vocab_size=120, unk_token="<unk>", special_tokens=special(ALBERT), show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=special(["<|endoftext|>"]),
            show_progress=False,
        )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def strings(lines, count):
    random.seed(6)
    for index in range(count):
        if index % 3 == 0:
            text = random.choice(lines)
            start = random.randrange(len(text))
            yield text[start : start + random.randint(0, 50)]
        elif index % 3 == 1:
            yield "".join(chr(random.choice([random.randrange(32, 127), random.randrange(0xD7FF)])) for _ in range(random.randint(0, 12)))
        else:
            yield random.randbytes(random.randint(0, 16)).decode(errors="replace")


def make():
    lines = corpus()
    fuzz = list(strings(lines, 200))
    kinds = {}
    for kind in ["wordpiece", "unigram", "byte-bpe"]:
        tokenizer = train(kind, lines)
        model = json.loads(tokenizer.to_str())["model"]
        kinds[kind] = {
            "vocab": model["vocab"],
            "merges": model.get("merges"),
            # Its trainer numbers pieces in the order of a hash map: this very one is compared.
            "tokenizer": json.loads(tokenizer.to_str()) if kind != "byte-bpe" else None,
            "ids": [tokenizer.encode(text).ids for text in fuzz],
        }
    out = {"tokenizers": tokenizers.__version__, "corpus": lines, "strings": fuzz, "kinds": kinds}
    path = Path(__file__).parent / "references" / "trained-tokenizers.json"
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")


def check(folder):
    own = {kind: Tokenizer.from_file(str(folder / kind / "tokenizer.json")) for kind in ["wordpiece", "unigram", "byte-bpe"]}
    compared = 0
    for line in (folder / "fuzz.jsonl").open(encoding="utf-8"):
        case = json.loads(line)
        for kind, tokenizer in own.items():
            ids = tokenizer.encode(case["text"]).ids
            if ids != case[kind]:
                sys.exit(f"{kind}: {case['text']!r}: {ids}, limbeck {case[kind]}")
            if kind == "byte-bpe" and tokenizer.decode(ids, skip_special_tokens=False) != case["text"]:
                sys.exit(f"{kind}: {case['text']!r} does not come back")
        compared += 1
    print(f"{compared} strings, the same in {', '.join(own)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        check(Path(sys.argv[1]))
    else:
        make()

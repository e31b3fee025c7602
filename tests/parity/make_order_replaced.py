"""What PyPI transformers computes for the tasks `order` and `replaced`, for the sdk to be compared with.

    python make_order_replaced.py [--out references/order-replaced]

Two tiny models with seeded weights, drawn wide, over one WordPiece tokenizer: an ELECTRA discriminator
(`ElectraForPreTraining`) and an ALBERT with its sentence-order head (`AlbertForPreTraining`), each as `save_pretrained`
writes it. `replaced.jsonl` holds a text a line with the place (Unicode scalar values), word and probability (the sigmoid of
the discriminator's logit) of each of its tokens; `order.jsonl` a pair a line with the logits of the sentence-order head,
0 in order and 1 swapped, for the pair as it is and the other way round.
"""

import argparse
import json
import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertConfig, AlbertForPreTraining, ElectraConfig, ElectraForPreTraining, PreTrainedTokenizerFast,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "battery", "screen", "is", "good", "ada", "met", "london", "who", "wrote", "film", "day", "all", "but"]
TEXTS = [
    "", "a", "the battery is good", "teh batery is godo!", "Ada met Babbage in London 🙂",
    "👩‍👩‍👧 Ada 👨🏽‍🚀 London 🇩🇪🇫🇷", "cafe\u0301 Ada\u0308 naïve façade", "東京 Ada 大学で学ぶ", "Ada في لندن מלון Ada",
    "   Ada   met\tBabbage\n", "❤️ 1️⃣ ½ Ⅷ", "who wrote it? Ada wrote all of it, but the film is good.",
]
PAIRS = [
    ("", ""), ("who wrote the film?", "Ada met London."), ("Ada met London.", "who wrote the film?"), ("a", ""),
    ("the battery is good 🙂", "but the screen is not"), ("東京 é", "cafe\u0301 👩‍👩‍👧"), ("all day", "all day"),
]
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "embedding_size": 8,
    "max_position_embeddings": 96, "type_vocab_size": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}


def make_tokenizer():
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = SPECIAL + WORDS + letters + ["##" + letter for letter in letters] + list(".,?!")
    pieces = list(dict.fromkeys(pieces))
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def draw(model):
    """Weights at which attention is not uniform, biases that are not 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = re.search(r"(LayerNorm|layer_norm)\.weight$", name)
            scale = 0.1 if norm or name.endswith("bias") else 0.3
            parameter.copy_(scale * torch.randn_like(parameter) + (1 if norm else 0))
    return model.eval()


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines), encoding="ascii")


def rounded(values):
    return [round(value, 7) for value in values]


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "references/order-replaced")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    own = make_tokenizer()
    vocabulary = own.get_vocab_size()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=own, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    torch.manual_seed(30)
    electra = draw(ElectraForPreTraining(ElectraConfig(vocab_size=vocabulary, **SMALL)))
    albert = draw(AlbertForPreTraining(AlbertConfig(vocab_size=vocabulary, hidden_act="gelu_new", **SMALL)))
    for name, model in [("electra", electra), ("albert", albert)]:
        model.save_pretrained(out / name)
        own.save(str(out / name / "tokenizer.json"), pretty=False)

    lines = []
    for text in TEXTS:
        encoding = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
        offsets, words = encoding.pop("offset_mapping")[0].tolist(), encoding.word_ids(0)
        probabilities = torch.sigmoid(electra(**encoding).logits[0]).tolist()
        inside = range(1, len(offsets) - 1)
        lines.append({"text": text, "offsets": [offsets[i] for i in inside], "words": [words[i] for i in inside],
                      "probabilities": rounded([probabilities[i] for i in inside])})
    write_lines(out / "replaced.jsonl", lines)

    def logits(first, second):
        # Not by the tokenizer of transformers, which takes an empty second text for none.
        encoding = own.encode(first, second)
        ids, types = torch.tensor([encoding.ids]), torch.tensor([encoding.type_ids])
        return rounded(albert(input_ids=ids, token_type_ids=types).sop_logits[0].tolist())

    write_lines(out / "order.jsonl", [
        {"first": a, "second": b, "as_given": logits(a, b), "swapped": logits(b, a)} for a, b in PAIRS])


if __name__ == "__main__":
    main()

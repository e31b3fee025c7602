"""Models of some shapes with new weights, for `cargo xtask bench peers --shapes`: their times and sizes are those of trained
ones.

    shapes.py MODEL_FOLDER OUT      OUT/NAME is a Hugging Face folder with the tokenizer and the pooling of MODEL_FOLDER"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

COMMON = {"vocab_size": 30522, "num_attention_heads": 12, "max_position_embeddings": 512, "type_vocab_size": 2}


def bert(layers, hidden, intermediate):
    config = BertConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=intermediate, **COMMON
    )  # fmt: skip
    return BertModel(config)


def albert_base():
    """Table 1 of the paper: E = 128, H = 768, 12 layers that share one set of weights."""
    config = AlbertConfig(
        embedding_size=128, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_hidden_groups=1, **COMMON
    )  # fmt: skip
    return AlbertModel(config)


SHAPES = {
    "4x312": lambda: bert(4, 312, 1200),
    "6x384": lambda: bert(6, 384, 1536),
    "12x768": lambda: bert(12, 768, 3072),
    "albert-base": albert_base,
}


def main():
    source, out = map(Path, sys.argv[1:])
    for name, make in SHAPES.items():
        torch.manual_seed(1)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        model = make()
        model.save_pretrained(folder, safe_serialization=True)
        shutil.copy(source / "tokenizer.json", folder)
        pooling = json.loads((source / "1_Pooling/config.json").read_text())
        pooling["word_embedding_dimension"] = model.config.hidden_size
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
        shutil.copy(source / "modules.json", folder)
        print(f"{name}: {sum(each.numel() for each in model.parameters())} parameters")


if __name__ == "__main__":
    main()

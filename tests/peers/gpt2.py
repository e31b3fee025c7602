"""GPT-2 of some shapes with new weights, for `cargo xtask bench generation`: their times and sizes are those of trained ones.

    gpt2.py TOKENIZER_FOLDER OUT      OUT/NAME is a Hugging Face folder with the tokenizer of TOKENIZER_FOLDER"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

# Layers, width, heads. The vocabulary and the context are those of GPT-2.
SHAPES = {"4x256": (4, 256, 4), "12x768": (12, 768, 12)}


def main():
    source, out = map(Path, sys.argv[1:])
    for name, (layers, width, heads) in SHAPES.items():
        torch.manual_seed(1)
        config = GPT2Config(n_layer=layers, n_embd=width, n_head=heads, bos_token_id=0, eos_token_id=0)
        model = GPT2LMHeadModel(config)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder, safe_serialization=True)
        for file in ["tokenizer.json", "tokenizer_config.json"]:
            if (source / file).is_file():
                shutil.copy(source / file, folder)
        print(f"{name}: {model.num_parameters()} parameters")


if __name__ == "__main__":
    main()

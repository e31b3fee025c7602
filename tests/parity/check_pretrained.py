"""Loads folders that `limbeck pretrain` wrote with PyPI transformers: model and tokenizer, without a key missing or left over.

    python check_pretrained.py TEXT FOLDER...

Prints the model's loss on the first lines of TEXT, where its head has one. Exits with 1 where a folder fails. Nothing is
downloaded.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers


def main():
    text = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()[:8]
    for folder in map(Path, sys.argv[2:]):
        name = json.loads((folder / "config.json").read_text())["architectures"][0]
        model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
        bad = {key: value for key, value in info.items() if value and key != "error_msgs"}
        if bad or info["error_msgs"]:
            sys.exit(f"{folder}: {bad} {info['error_msgs']}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        batch = tokenizer(text, padding=True, truncation=True, max_length=64, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        with torch.no_grad():
            output = model(**batch, **({"labels": labels} if "LMHead" in name or "MaskedLM" in name else {}))
        loss = f", loss {output.loss:.3f}" if getattr(output, "loss", None) is not None else ""
        print(f"{folder.name}: {name}, {sum(p.numel() for p in model.parameters())} parameters{loss}")


if __name__ == "__main__":
    main()

"""Loads checkpoints that limbeck wrote with PyPI transformers and compares what both make of the same batch.

    python check_checkpoints.py FOLDER...

A FOLDER holds `config.json`, `model.safetensors` (or shards and their index), `case.json` (`input_ids`,
`attention_mask`, and where the model takes them `token_type_ids` and `position_ids`) and `outputs.safetensors` (limbeck's
`hidden.N`, `attention.N`, `logits`, `start_logits`, `end_logits`, `sentence_logits`, `pooled`; any of them). The class is
the first of `architectures`. A key that is missing, unexpected or of another shape is an error; so is a difference of
more than 2e-5 outside of padding. Prints a line a folder; exits with 1 if one failed. Nothing is downloaded.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

LIMIT = 2e-5
INPUTS = ["input_ids", "attention_mask", "token_type_ids", "position_ids"]
PER_TEXT = ["pooled", "sentence_logits"]
# transformers returns no scores before the mask; their probabilities are compared.
NOT_COMPARED = r"scores\.\d+"


class Failure(Exception):
    pass


def load(folder):
    config = json.loads((folder / "config.json").read_text())
    name = config["architectures"][0]
    model_class = getattr(transformers, name, None)
    if model_class is None:
        raise Failure(f"transformers has no class {name}")
    # What a class would pass over in silence is named here as well.
    model_class._keys_to_ignore_on_load_missing = None
    model_class._keys_to_ignore_on_load_unexpected = None
    model, info = model_class.from_pretrained(
        folder,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        local_files_only=True,
        use_safetensors=True,
        attn_implementation="eager",
        dtype=torch.float32,
    )
    problems = [f"{kind}: {sorted(map(str, found))}" for kind, found in info.items() if found]
    if problems:
        raise Failure("; ".join(problems))
    pattern = config.get("limbeck", {}).get("attention_pattern")
    if pattern:
        narrow(model, pattern)
    return model.eval(), name


def narrow(model, pattern):
    """Gives the layers of limbeck's attention pattern their masks, which transformers does not know."""
    if pattern["kind"] != "banded":
        raise Failure(f"unknown attention pattern {pattern}")
    blocks = model.base_model.h
    for layer in range(pattern["first"], len(blocks), pattern["every"]):
        causal = blocks[layer].attn.bias
        position = torch.arange(causal.shape[-1])
        away = position[:, None] - position[None, :]
        seen = away < pattern["width"]
        if pattern.get("stride"):
            seen |= away % pattern["stride"] == 0
        blocks[layer].attn.bias = causal & seen


def outputs_of(out):
    """transformers' outputs under the names that limbeck's files have."""
    found = {f"hidden.{i}": value for i, value in enumerate(out.hidden_states)}
    # An ALBERT layer with inner layers gives a tuple.
    attentions = [a for group in out.attentions for a in (group if isinstance(group, tuple) else (group,))]
    found |= {f"attention.{i}": value for i, value in enumerate(attentions)}
    names = {"prediction_logits": "logits", "seq_relationship_logits": "sentence_logits", "sop_logits": "sentence_logits"}
    names |= {"pooler_output": "pooled"} | {name: name for name in ("logits", "start_logits", "end_logits")}
    return found | {own: out[theirs] for theirs, own in names.items() if out.get(theirs) is not None}


def check(folder):
    """Compares one folder; gives the number of tensors, the largest difference and where it is."""
    model, class_name = load(folder)
    case = json.loads((folder / "case.json").read_text())
    inputs = {name: torch.tensor(case[name]) for name in INPUTS if name in case}
    with torch.no_grad():
        expected = outputs_of(model(**inputs, output_hidden_states=True, output_attentions=True))
    mask = inputs["attention_mask"].bool()
    own = load_file(folder / "outputs.safetensors")
    compared = [name for name in sorted(own) if not re.fullmatch(NOT_COMPARED, name)]
    if not compared:
        raise Failure("outputs.safetensors holds nothing to compare")
    differences = {}
    for name in compared:
        if name not in expected:
            raise Failure(f"{class_name} gives no {name}")
        ours, theirs = own[name].float(), expected[name]
        if ours.shape != theirs.shape:
            raise Failure(f"{name} is {list(ours.shape)}, in transformers {list(theirs.shape)}")
        if name.startswith("attention."):
            pairs = mask[:, None, :, None] & mask[:, None, None, :]
            ours, theirs = (value[pairs.expand_as(value)] for value in (ours, theirs))
        elif not (name in PER_TEXT or class_name.endswith("ForSequenceClassification")) or name.startswith("hidden."):
            ours, theirs = ours[mask], theirs[mask]
        differences[name] = (ours - theirs).abs().max().item()
    wrong = [f"{name} differs by {value:.3g}" for name, value in differences.items() if not value <= LIMIT]
    if wrong:
        raise Failure("; ".join(wrong))
    worst = max(differences, key=differences.get)
    return class_name, len(compared), differences[worst], worst


def tensors_in(folder):
    count = 0
    for file in folder.glob("*.safetensors"):
        if file.name.startswith("model"):
            with safe_open(file, "pt") as opened:
                count += len(opened.keys())
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    folders = parser.parse_args().folders
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    failed = 0
    for folder in folders:
        try:
            class_name, count, worst, where = check(folder)
            print(f"ok   {folder}: {class_name}, {tensors_in(folder)} tensors, {count} outputs, {worst:.1e} at {where}")
        except Exception as error:  # One broken folder must not hide the others.
            failed += 1
            kind = "" if isinstance(error, Failure) else f"{type(error).__name__}: "
            print(f"FAIL {folder}: {kind}{' '.join(str(error).split())}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

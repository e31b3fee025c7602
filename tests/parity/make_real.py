"""Makes the reference values of two real models from PyPI torch, transformers and tokenizers.

    python make_real.py --mpnet FOLDER --bert-mlm FOLDER

The folders hold config.json, model.safetensors and tokenizer.json of all-mpnet-base-v2 and of the 2-layer BERT with an
MLM head. Only parts of what the models give are kept; the weights are not. See README.md.
"""

import argparse
import hashlib
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, BertForMaskedLM, MPNetModel

from make_references import versions, write_json, write_tensors
from texts import MINILM_TEXTS

MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
BERT_MLM_SHA256 = "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a"
# The last of them is long: relative positions beyond 128 share the last buckets.
MPNET_TEXTS = MINILM_TEXTS
BERT_MLM_TEXTS = [
    "Paris is the capital of [MASK].",
    "The battery life is [MASK], but the screen is wonderful!",
    "He [MASK] the door and [MASK] outside to look at the rain.",
]
TOP = 20


def load(model_class, folder, sha256):
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert found == sha256, f"{folder}/model.safetensors has sha256 {found}, expected {sha256}"
    config = AutoConfig.from_pretrained(folder, attn_implementation="eager")
    model, info = model_class.from_pretrained(
        folder, config=config, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    assert not any(info.values()), info
    return model.eval()


def batch(folder, texts, pad):
    """Ids of each text, and ids and mask of all as one right-padded batch."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = [tokenizer.encode(text).ids for text in texts]
    ids = torch.full((len(rows), max(map(len, rows))), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return rows, ids, mask


def described(name, sha256, texts, rows, **more):
    listed = [{"text": text, "ids": row} for text, row in zip(texts, rows)]
    write_json(name, {"versions": versions(), "model_sha256": sha256} | more | {"texts": listed})


def mpnet(folder):
    """all-mpnet-base-v2: corners of the hidden states, attention, pooled output and sentence embedding."""
    model = load(MPNetModel, folder, MPNET_SHA256)
    rows, ids, mask = batch(folder, MPNET_TEXTS, model.config.pad_token_id)
    with torch.no_grad():
        out = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    keep = mask.unsqueeze(-1).float()
    embedding = torch.nn.functional.normalize((out.last_hidden_state * keep).sum(1) / keep.sum(1))
    tensors = {}
    for i, row in enumerate(rows):
        n = len(row)
        layers = [h[i, :n] for h in out.hidden_states]
        tensors[f"{i}.last_hidden.first8"] = out.last_hidden_state[i, :n, :8]
        tensors[f"{i}.hidden.corner"] = torch.stack([h[:4, :4] for h in layers])
        tensors[f"{i}.hidden.mean"] = torch.stack([h.double().mean() for h in layers])
        tensors[f"{i}.hidden.mean_abs"] = torch.stack([h.double().abs().mean() for h in layers])
        tensors[f"{i}.attention.corner"] = torch.stack([a[i, :, :4, :4] for a in out.attentions])
        tensors[f"{i}.pooled"] = out.pooler_output[i]
        tensors[f"{i}.embedding"] = embedding[i]
    write_tensors("mpnet-outputs.safetensors", tensors)
    described("mpnet.json", MPNET_SHA256, MPNET_TEXTS, rows)
    return [len(row) for row in rows]


def bert_mlm(folder):
    """The 2-layer BERT: its hidden states whole, logits of the first 64 tokens and the best at each mask."""
    model = load(BertForMaskedLM, folder, BERT_MLM_SHA256)
    rows, ids, mask = batch(folder, BERT_MLM_TEXTS, model.config.pad_token_id)
    with torch.no_grad():
        out = model(ids, attention_mask=mask, output_hidden_states=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    mask_id = tokenizer.token_to_id("[MASK]")
    tensors, best, guesses = {}, [], []
    for i, row in enumerate(rows):
        n = len(row)
        logits = out.logits[i, :n]
        tensors[f"{i}.hidden"] = torch.stack([h[i, :n] for h in out.hidden_states])
        tensors[f"{i}.logits.first64"] = logits[:, :64]
        tensors[f"{i}.logits.log_sum_exp"] = logits.double().logsumexp(-1)
        positions = [at for at, token in enumerate(row) if token == mask_id]
        top = logits[positions].topk(TOP)
        tensors[f"{i}.top.values"] = top.values
        best.append({"positions": positions, "top_ids": top.indices.tolist()})
        guesses += [tokenizer.id_to_token(token) for token in top.indices[:, 0].tolist()]
    write_tensors("bert-mlm-outputs.safetensors", tensors)
    described("bert-mlm.json", BERT_MLM_SHA256, BERT_MLM_TEXTS, rows, masked=best)
    return guesses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mpnet", type=Path, required=True, help="the all-mpnet-base-v2 model folder")
    parser.add_argument("--bert-mlm", type=Path, required=True, help="the model folder of the 2-layer BERT")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print("mpnet token counts:", mpnet(arguments.mpnet))
    print("best token at each mask:", bert_mlm(arguments.bert_mlm))


if __name__ == "__main__":
    main()

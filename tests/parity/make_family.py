"""Makes the reference values of the model family from PyPI transformers: a seeded tiny model a case.

    python make_family.py

writes `references/family/<case>/`: the model as `save_pretrained` writes it (`config.json`, `model.safetensors`), the
batch, targets and loss (`case.json`), everything the model gives (`outputs.safetensors`) and the gradient of the loss
for every tensor of the file (`gradients.safetensors`). See README.md.
"""

import json
import re
import shutil
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

OUT = Path(__file__).parent / "references" / "family"
LENGTHS = [12, 7, 2, 9]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BERT = {**SMALL, **NO_DROPOUT, "vocab_size": 50, "max_position_embeddings": 40, "type_vocab_size": 2}
ROBERTA = {**BERT, "max_position_embeddings": 42, "type_vocab_size": 1, "pad_token_id": 1}
MPNET = {**SMALL, **NO_DROPOUT, "vocab_size": 50, "max_position_embeddings": 182, "pad_token_id": 1}
DISTILBERT = {
    "vocab_size": 50, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40,
    "dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0, "qa_dropout": 0.0,
}
ALBERT = {**BERT, "embedding_size": 8, "num_hidden_layers": 3, "hidden_act": "gelu_new", "classifier_dropout_prob": 0.0}
ELECTRA = {**BERT, "embedding_size": 8}
GPT2 = {
    "vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 24, "n_positions": 40, "resid_pdrop": 0.0,
    "embd_pdrop": 0.0, "attn_pdrop": 0.0, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
    "classifier_dropout": 0.0,
}
BANDED = {"kind": "banded", "width": 3, "first": 1, "every": 2}
STRIDED = {"kind": "banded", "width": 2, "stride": 4, "first": 1, "every": 2}

# Case, class, configuration, kind of targets and loss, and what else is special.
CASES = [
    ("bert-encoder", "BertModel", BERT, "encoder", {}),
    ("bert-classification", "BertForSequenceClassification", {**BERT, "num_labels": 3}, "classes", {}),
    ("bert-regression", "BertForSequenceClassification", {**BERT, "num_labels": 1}, "numbers", {}),
    ("bert-multi-label", "BertForSequenceClassification",
     {**BERT, "num_labels": 4, "problem_type": "multi_label_classification"}, "multi-label", {}),
    ("bert-token", "BertForTokenClassification", {**BERT, "num_labels": 5}, "token-classes", {}),
    ("bert-span", "BertForQuestionAnswering", BERT, "span", {}),
    ("bert-masked-lm", "BertForMaskedLM", BERT, "tokens", {}),
    ("bert-pretraining", "BertForPreTraining", BERT, "pretraining", {}),
    ("roberta-classification", "RobertaForSequenceClassification", {**ROBERTA, "num_labels": 3}, "classes", {}),
    ("roberta-token", "RobertaForTokenClassification", {**ROBERTA, "num_labels": 5}, "token-classes", {}),
    ("roberta-span", "RobertaForQuestionAnswering", ROBERTA, "span", {}),
    ("roberta-masked-lm", "RobertaForMaskedLM", ROBERTA, "tokens", {}),
    # Long enough for every kind of relative position bucket.
    ("mpnet-encoder", "MPNetModel", MPNET, "encoder", {"lengths": [150, 40]}),
    ("mpnet-classification", "MPNetForSequenceClassification", {**MPNET, "num_labels": 3}, "classes", {}),
    ("mpnet-token", "MPNetForTokenClassification", {**MPNET, "num_labels": 5}, "token-classes", {}),
    ("mpnet-span", "MPNetForQuestionAnswering", MPNET, "span", {}),
    ("mpnet-masked-lm", "MPNetForMaskedLM", MPNET, "tokens", {}),
    ("distilbert-classification", "DistilBertForSequenceClassification", {**DISTILBERT, "num_labels": 3}, "classes", {}),
    ("distilbert-token", "DistilBertForTokenClassification", {**DISTILBERT, "num_labels": 5}, "token-classes", {}),
    ("distilbert-span", "DistilBertForQuestionAnswering", DISTILBERT, "span", {}),
    ("distilbert-masked-lm", "DistilBertForMaskedLM", DISTILBERT, "tokens", {}),
    ("albert-encoder", "AlbertModel", ALBERT, "encoder", {}),
    ("albert-classification", "AlbertForSequenceClassification", {**ALBERT, "num_labels": 3}, "classes", {}),
    ("albert-token", "AlbertForTokenClassification", {**ALBERT, "num_labels": 5}, "token-classes", {}),
    ("albert-span", "AlbertForQuestionAnswering", ALBERT, "span", {}),
    ("albert-masked-lm", "AlbertForMaskedLM", ALBERT, "tokens", {}),
    ("albert-pretraining", "AlbertForPreTraining", ALBERT, "pretraining", {}),
    ("albert-not-shared", "AlbertForSequenceClassification", {**ALBERT, "num_labels": 3, "num_hidden_groups": 3},
     "classes", {}),
    ("albert-groups", "AlbertForSequenceClassification",
     {**ALBERT, "num_labels": 3, "num_hidden_layers": 4, "num_hidden_groups": 2}, "classes", {}),
    ("albert-inner", "AlbertForSequenceClassification",
     {**ALBERT, "num_labels": 3, "num_hidden_layers": 2, "inner_group_num": 2}, "classes", {}),
    ("electra-classification", "ElectraForSequenceClassification", {**ELECTRA, "num_labels": 3}, "classes", {}),
    ("electra-token", "ElectraForTokenClassification", {**ELECTRA, "num_labels": 5}, "token-classes", {}),
    ("electra-span", "ElectraForQuestionAnswering", ELECTRA, "span", {}),
    ("electra-replaced-token", "ElectraForPreTraining", ELECTRA, "replaced", {}),
    ("electra-masked-lm", "ElectraForMaskedLM", ELECTRA, "tokens", {}),
    ("electra-wide", "ElectraForPreTraining", {**ELECTRA, "embedding_size": 16}, "replaced", {}),
    ("gpt2-lm", "GPT2LMHeadModel", GPT2, "next-token", {}),
    ("gpt2-classification", "GPT2ForSequenceClassification", {**GPT2, "num_labels": 3}, "classes", {}),
    ("gpt2-token", "GPT2ForTokenClassification", {**GPT2, "num_labels": 5}, "token-classes", {}),
    ("gpt2-span", "GPT2ForQuestionAnswering", GPT2, "span", {}),
    ("gpt2-left", "GPT2LMHeadModel", GPT2, "next-token", {"left": True}),
    ("gpt2-banded", "GPT2LMHeadModel", {**GPT2, "n_layer": 4}, "next-token", {"pattern": BANDED}),
    ("gpt2-strided", "GPT2LMHeadModel", {**GPT2, "n_layer": 4}, "next-token", {"pattern": STRIDED}),
]


def redraw(model):
    """Weights at which attention is not uniform and activations are not linear, biases that are not 0."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = re.search(r"(LayerNorm|layer_norm|layer_layer_norm|ln_\w+)\.weight$", name)
            if norm:
                parameter.copy_(1 + 0.1 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.3 * torch.randn_like(parameter))


class Projections:
    """Queries and keys of every layer, in the order in which the layers are run."""

    def __init__(self, model, heads):
        self.queries, self.keys, self.heads = [], [], heads
        for name, module in model.named_modules():
            if re.search(r"\.(query|q_lin|attn\.q)$", name):
                module.register_forward_hook(lambda _m, _i, out: self.queries.append(self.by_head(out)))
            elif re.search(r"\.(key|k_lin|attn\.k)$", name):
                module.register_forward_hook(lambda _m, _i, out: self.keys.append(self.by_head(out)))
            elif name.endswith(".c_attn"):
                module.register_forward_hook(self.keep_both)

    def by_head(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keep_both(self, _module, _inputs, out):
        query, key, _ = out.chunk(3, -1)
        self.queries.append(self.by_head(query))
        self.keys.append(self.by_head(key))

    def scores(self):
        return [q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 for q, k in zip(self.queries, self.keys, strict=True)]


def seen_in_layer(pattern, layer, length):
    """What a causal layer sees, [query, key]."""
    away = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    seen = away >= 0
    if pattern and layer >= pattern["first"] and (layer - pattern["first"]) % pattern["every"] == 0:
        inside = away < pattern["width"]
        if "stride" in pattern:
            inside |= away % pattern["stride"] == 0
        seen &= inside
    return seen


def batch(config, special):
    lengths = special.get("lengths", LENGTHS)
    pad = config.pad_token_id
    ids = torch.randint(5, config.vocab_size, (len(lengths), max(lengths)))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        kept = slice(max(lengths) - length, None) if special.get("left") else slice(0, length)
        mask[row, kept] = 1
    ids[mask == 0] = pad
    return ids, mask


def targets_of(kind, config, ids, mask):
    """What the loss compares with, under the names of transformers' arguments."""
    rows, some = ids.shape[0], (torch.rand(ids.shape) < 0.5) & (mask == 1)
    some[:, 0] = mask[:, 0] == 1
    ignored = torch.full_like(ids, -100)
    if kind == "classes":
        return {"labels": torch.randint(0, config.num_labels, (rows,))}
    if kind == "numbers":
        return {"labels": torch.randn(rows)}
    if kind == "multi-label":
        return {"labels": torch.randint(0, 2, (rows, config.num_labels)).float()}
    if kind == "token-classes":
        return {"labels": torch.where(some, torch.randint(0, config.num_labels, ids.shape), ignored)}
    if kind == "span":
        lengths = mask.sum(1)
        return {"start_positions": lengths // 3, "end_positions": lengths - 1}
    if kind in ("tokens", "pretraining"):
        return {"labels": torch.where(some, torch.randint(5, config.vocab_size, ids.shape), ignored)}
    if kind == "replaced":
        return {"labels": torch.randint(0, 2, ids.shape) * mask}
    if kind == "next-token":
        # The first token of a text padded on the left is not predicted: what stands before it is no text.
        before = torch.nn.functional.pad(mask[:, :-1], (1, 0))
        return {"labels": torch.where(mask * before == 1, ids, ignored)}
    return {}


def loss_of(kind, out, targets, mask):
    """transformers' own loss, where padding takes no part in it."""
    if kind == "encoder":
        keep = mask.unsqueeze(-1).float()
        return (out.last_hidden_state**2 * keep).sum() / keep.sum() + (out.pooler_output**2).mean()
    if kind == "span":
        # transformers lets padding compete for the answer; limbeck's loss does not.
        padding = (mask.float() - 1) * torch.finfo(torch.float32).max
        sides = [(out.start_logits, "start_positions"), (out.end_logits, "end_positions")]
        losses = [torch.nn.functional.cross_entropy(logits + padding, targets[key]) for logits, key in sides]
        return sum(losses) / 2
    return out.loss


def make(case, class_name, settings, kind, special, seed):
    torch.manual_seed(seed)
    config_class = getattr(transformers, re.match(r"(Bert|Roberta|MPNet|DistilBert|Albert|Electra|GPT2)", class_name)[0] + "Config")
    config = config_class(**settings, attn_implementation="eager")
    model = getattr(transformers, class_name)(config).eval()
    redraw(model)
    folder = OUT / case
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    pattern = special.get("pattern")
    if pattern:
        written = json.loads((folder / "config.json").read_text())
        written["limbeck"] = {"attention_pattern": pattern}
        (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
        for layer, block in enumerate(model.transformer.h):
            seen = seen_in_layer(pattern, layer, config.n_positions)
            block.attn.bias = seen[None, None]

    ids, mask = batch(config, special)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = torch.randint(0, 2, ids.shape) * mask
    if special.get("left"):
        inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
    targets = targets_of(kind, config, ids, mask)
    if kind == "pretraining":
        key = "sentence_order_label" if "Albert" in class_name else "next_sentence_label"
        targets[key] = torch.randint(0, 2, (ids.shape[0],))

    projections = Projections(model, config.num_attention_heads)
    out = model(**inputs, **targets, output_hidden_states=True, output_attentions=True)
    loss = loss_of(kind, out, targets, mask)
    loss.backward()

    tensors = {f"hidden.{i}": h for i, h in enumerate(out.hidden_states)}
    length = ids.shape[1]
    pairs = (mask[:, None, :, None] * mask[:, None, None, :]).bool()
    # An ALBERT layer with inner layers gives a tuple.
    attentions = [a for group in out.attentions for a in (group if isinstance(group, tuple) else (group,))]
    scores = projections.scores()
    assert len(attentions) == len(scores)
    for i, (attention, score) in enumerate(zip(attentions, scores)):
        seen = pairs
        if "GPT2" in class_name:
            seen = pairs & seen_in_layer(pattern, i, length)
        if "MPNet" in class_name:
            encoder = model.encoder if kind == "encoder" else model.mpnet.encoder
            score = score + encoder.compute_position_bias(out.hidden_states[0])
        expected = torch.softmax(score.masked_fill(~seen, torch.finfo(torch.float32).min), -1)
        kept = (expected - attention).abs() * pairs
        assert kept.max() < 1e-5, f"{case}: the caught scores do not give the attention of layer {i}"
        tensors[f"attention.{i}"] = attention * pairs
        tensors[f"scores.{i}"] = score * seen
    for name, key in [("logits", "logits"), ("prediction_logits", "logits"), ("start_logits", "start_logits"),
                      ("end_logits", "end_logits"), ("seq_relationship_logits", "sentence_logits"),
                      ("sop_logits", "sentence_logits"), ("pooler_output", "pooled")]:
        value = getattr(out, name, None)
        if value is not None:
            tensors[key] = value
    save(folder / "outputs.safetensors", tensors)

    parameters = dict(model.named_parameters())
    gradients = {}
    with safe_open(folder / "model.safetensors", "pt") as file:
        for name in file.keys():
            # Of two tied names the file has the one that named_parameters has, or the other.
            value = parameters.get(name)
            if value is None:
                value = model.get_parameter(name)
            gradients[name] = value.grad if value.grad is not None else torch.zeros_like(value)
    save(folder / "gradients.safetensors", gradients)

    def lists(tensors):
        return {key: value.tolist() for key, value in tensors.items()}

    case_json = {"case": case, "class": class_name, "kind": kind, **lists(inputs), "targets": lists(targets),
                 "loss": loss.item(), "versions": {"torch": torch.__version__, "transformers": transformers.__version__}}
    (folder / "case.json").write_text(json.dumps(case_json, separators=(",", ":")) + "\n", encoding="ascii")
    (folder / "generation_config.json").unlink(missing_ok=True)


def save(path, tensors):
    save_file({key: value.detach().float().contiguous().clone() for key, value in tensors.items()}, path)


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    OUT.mkdir(parents=True, exist_ok=True)
    for seed, (case, *rest) in enumerate(CASES, start=100):
        make(case, *rest, seed)
        print(case)


if __name__ == "__main__":
    main()

"""Makes the committed reference values from PyPI torch, transformers and tokenizers.

    python make_references.py --minilm FOLDER

FOLDER is the all-MiniLM-L6-v2 model folder (config.json, model.safetensors, tokenizer.json).
Everything is seeded and runs on one CPU thread. See README.md for what each file holds.
"""

import argparse
import hashlib
import json
from pathlib import Path

import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import BertModel, get_linear_schedule_with_warmup

from texts import MINILM_TEXTS, nasty_texts

OUT = Path(__file__).parent / "references"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def write_json(name, value):
    text = json.dumps(value, ensure_ascii=True, indent=None, separators=(",", ":"))
    (OUT / name).write_text(text + "\n", encoding="ascii")


def write_tensors(name, tensors):
    kept = {key: value.detach().to(torch.float32).contiguous().clone() for key, value in tensors.items()}
    save_file(kept, OUT / name)


def versions():
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }


class ScoreCatcher:
    """Attention scores Q K^T / sqrt(d) before mask and softmax, which transformers does not return."""

    def __init__(self, bert):
        self.parts = {}
        self.heads = bert.config.num_attention_heads
        self.layers = bert.config.num_hidden_layers
        for index, layer in enumerate(bert.encoder.layer):
            for part in ("query", "key"):
                module = getattr(layer.attention.self, part)
                module.register_forward_hook(self.keep((index, part)))

    def keep(self, key):
        def hook(_module, _inputs, output):
            batch, length, hidden = output.shape
            self.parts[key] = output.view(batch, length, self.heads, hidden // self.heads).transpose(1, 2)

        return hook

    def scores(self):
        result = []
        for index in range(self.layers):
            query, key = self.parts[(index, "query")], self.parts[(index, "key")]
            result.append(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5)
        return result


def minilm(folder):
    """all-MiniLM-L6-v2 on six texts, as one padded batch."""
    weights = (folder / "model.safetensors").read_bytes()
    found = hashlib.sha256(weights).hexdigest()
    assert found == MINILM_SHA256, f"{folder}/model.safetensors has sha256 {found}, expected {MINILM_SHA256}"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = BertModel.from_pretrained(folder, attn_implementation="eager", torch_dtype=torch.float32).eval()
    rows = [tokenizer.encode(text).ids for text in MINILM_TEXTS]
    longest = max(map(len, rows))
    assert longest <= 512
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    catcher = ScoreCatcher(model)
    with torch.no_grad():
        out = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    scores = catcher.scores()

    tensors = {}
    for i, row in enumerate(rows):
        n = len(row)
        layers = [h[i, :n] for h in out.hidden_states]
        tensors[f"{i}.last_hidden.first8"] = out.last_hidden_state[i, :n, :8]
        tensors[f"{i}.hidden.corner"] = torch.stack([h[:4, :4] for h in layers])
        tensors[f"{i}.hidden.mean"] = torch.stack([h.double().mean() for h in layers])
        tensors[f"{i}.hidden.mean_abs"] = torch.stack([h.double().abs().mean() for h in layers])
        tensors[f"{i}.attention.corner"] = torch.stack([a[i, :, :4, :4] for a in out.attentions])
        tensors[f"{i}.scores.corner"] = torch.stack([s[i, :, :4, :4] for s in scores])
        tensors[f"{i}.pooled"] = out.pooler_output[i]
    shortest = min(range(len(rows)), key=lambda i: len(rows[i]))
    n = len(rows[shortest])
    tensors["shortest.hidden"] = torch.stack([h[shortest, :n] for h in out.hidden_states])
    tensors["shortest.attention"] = torch.stack([a[shortest, :, :n, :n] for a in out.attentions])
    tensors["shortest.scores"] = torch.stack([s[shortest, :, :n, :n] for s in scores])
    write_tensors("minilm-outputs.safetensors", tensors)
    write_json(
        "minilm.json",
        {
            "versions": versions(),
            "model_sha256": MINILM_SHA256,
            "shortest": shortest,
            "texts": [{"text": text, "ids": row} for text, row in zip(MINILM_TEXTS, rows)],
        },
    )
    return [len(row) for row in rows]


def tokenizer_cases(folder):
    """Token ids and offsets (in Unicode scalar values) of texts that break tokenizers."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    cases = []
    for text in nasty_texts():
        encoding = tokenizer.encode(text)
        flat = [edge for pair in encoding.offsets for edge in pair]
        cases.append({"text": text, "ids": encoding.ids, "offsets": flat})
    sha256 = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    write_json("tokenizer.json", {"versions": versions(), "tokenizer_sha256": sha256, "cases": cases})
    return len(cases)


def losses():
    """Losses and their gradients for the student, in double precision on fp32 inputs."""
    torch.manual_seed(11)
    tensors, cases = {}, {}

    def keep(name, value, loss, student):
        (gradient,) = torch.autograd.grad(loss, student)
        tensors[f"{name}.student"], tensors[f"{name}.gradient"] = student, gradient
        cases[name] = value | {"loss": loss.item()}

    def leaf(*shape, scale=1.0):
        # Rounded to fp32 first, so that both sides start from the same numbers.
        return (scale * torch.randn(*shape)).double().requires_grad_(True)

    for rows, classes, temperature in [(1, 2, 1.0), (7, 2, 2.0), (5, 77, 4.0), (32, 3, 0.5)]:
        student, teacher = leaf(rows, classes, scale=3.0), leaf(rows, classes, scale=3.0).detach()
        name = f"soft.{rows}x{classes}.T{temperature}"
        log_q = torch.nn.functional.log_softmax(student / temperature, -1)
        p = torch.nn.functional.softmax(teacher / temperature, -1)
        loss = torch.nn.functional.kl_div(log_q, p, reduction="batchmean") * temperature**2
        tensors[f"{name}.teacher"] = teacher
        keep(name, {"kind": "soft", "temperature": temperature}, loss, student)

    for lengths, hidden in [([5], 8), ([9, 4, 1, 7], 32), ([3, 16], 384)]:
        batch, longest = len(lengths), max(lengths)
        student, teacher = leaf(batch, longest, hidden), leaf(batch, longest, hidden).detach()
        mask = torch.tensor([[int(i < n) for i in range(longest)] for n in lengths])
        name = f"cosine.{batch}x{longest}x{hidden}"
        kept = mask.bool()
        target = torch.ones(int(kept.sum()), dtype=torch.double)
        loss = torch.nn.functional.cosine_embedding_loss(student[kept], teacher[kept], target, reduction="mean")
        tensors[f"{name}.teacher"] = teacher
        keep(name, {"kind": "cosine", "mask": mask.tolist()}, loss, student)

    for rows, classes in [(1, 2), (6, 3), (16, 77)]:
        student = leaf(rows, classes, scale=3.0)
        labels = torch.randint(0, classes, (rows,))
        loss = torch.nn.functional.cross_entropy(student, labels)
        keep(f"hard.{rows}x{classes}", {"kind": "hard", "labels": labels.tolist()}, loss, student)

    write_tensors("losses.safetensors", tensors)
    write_json("losses.json", {"versions": versions(), "cases": cases})
    return {name: round(case["loss"], 4) for name, case in cases.items()}


def adamw():
    """Twelve steps on a quadratic: two decay groups, warm-up and linear decay, global-norm clipping."""
    torch.manual_seed(13)
    steps, warmup, rate, decay, clip = 12, 3, 0.05, 0.1, 1.0
    shapes = {"a.dense.weight": (4, 3), "a.dense.bias": (4,), "a.norm.weight": (4,), "z.weight": (2, 2, 2)}
    params = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}
    goals = {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}
    curvature = {name: 0.1 + torch.rand(shape) for name, shape in shapes.items()}
    plain = [p for name, p in params.items() if name.endswith(".bias") or name.endswith("norm.weight")]
    decayed = [p for name, p in params.items() if not (name.endswith(".bias") or name.endswith("norm.weight"))]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}],
        lr=rate, betas=(0.9, 0.999), eps=1e-8, foreach=False, fused=False,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    tensors = {f"start.{name}": p for name, p in params.items()}
    tensors = {name: value.detach().clone() for name, value in tensors.items()}
    norms, rates = [], []
    for step in range(steps):
        # The size alternates around the limit: some steps are clipped, some are not.
        size = 0.2 if step % 3 == 1 else 2.0
        for name, p in params.items():
            p.grad = size * curvature[name] * (p.detach() - goals[name])
            tensors[f"{step}.gradient.{name}"] = p.grad.clone()
        norms.append(torch.nn.utils.clip_grad_norm_(list(params.values()), clip).item())
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        for name, p in params.items():
            tensors[f"{step}.after.{name}"] = p.detach().clone()
    write_tensors("adamw.safetensors", tensors)
    settings = {"steps": steps, "warmup": warmup, "rate": rate, "weight_decay": decay, "clip_norm": clip}
    write_json("adamw.json", {"versions": versions(), "norms": norms, "rates": rates, "names": list(shapes)} | settings)
    return norms


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=Path, required=True, help="the all-MiniLM-L6-v2 model folder")
    folder = parser.parse_args().minilm
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    OUT.mkdir(exist_ok=True)
    print("MiniLM token counts:", minilm(folder))
    print("tokenizer cases:", tokenizer_cases(folder))
    print("losses:", losses())
    print("AdamW gradient norms:", adamw())


if __name__ == "__main__":
    main()

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


def distillation():
    """The losses of `distill`, written out text by text, head by head and query by query, in double precision on fp32
    inputs; gradients for everything that learns. What the released codes do is called as they call it."""
    torch.manual_seed(17)
    functional = torch.nn.functional
    tensors, cases = {}, {}

    def keep(name, value, loss, learnt, given):
        for key, tensor in learnt.items():
            (gradient,) = torch.autograd.grad(loss, tensor, retain_graph=True)
            assert gradient.abs().max() > 1e-4
            tensors[f"{name}.{key}"], tensors[f"{name}.{key}.gradient"] = tensor, gradient
        for key, tensor in given.items():
            tensors[f"{name}.{key}"] = tensor
        assert name not in cases
        cases[name] = value | {"loss": loss.item()}

    def leaf(*shape, scale=1.0):
        # Rounded to fp32 first, so that both sides start from the same numbers.
        return (scale * torch.randn(*shape)).double().requires_grad_(True)

    def given(*shape, scale=1.0):
        return leaf(*shape, scale=scale).detach()

    def masked(lengths):
        return torch.tensor([[int(i < n) for i in range(max(lengths))] for n in lengths])

    def divergence(teacher, student):
        """KL of one distribution's logits from another's."""
        p, q = torch.softmax(teacher, -1), torch.softmax(student, -1)
        return (p * (p.log() - q.log())).sum()

    for rows, classes, temperature in [(5, 3, 1.0), (4, 17, 2.0)]:
        for averaging in ["rows", "rows-and-classes"]:
            student, teacher = leaf(rows, classes, scale=3.0), given(rows, classes, scale=3.0)
            if averaging == "rows":
                loss = functional.cross_entropy(student / temperature, torch.softmax(teacher / temperature, -1))
            else:
                # soft_cross_entropy of TinyBERT's task_distill.py.
                log_q = functional.log_softmax(student / temperature, -1)
                loss = (-functional.softmax(teacher / temperature, -1) * log_q).mean()
            value = {"kind": "soft-cross-entropy", "temperature": temperature, "averaging": averaging}
            name = f"soft-cross-entropy.{rows}x{classes}.{averaging}"
            keep(name, value, loss, {"student": student}, {"teacher": teacher})

    for rows, labels, temperature in [(6, 4, 1.0), (3, 1, 2.5)]:
        student, teacher = leaf(rows, labels, scale=3.0), given(rows, labels, scale=3.0)
        total = 0.0
        for row in range(rows):
            for label in range(labels):
                p = torch.sigmoid(teacher[row, label] / temperature)
                q = torch.sigmoid(student[row, label] / temperature)
                total = total + p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
        value = {"kind": "soft-labels", "temperature": temperature}
        name = f"soft-labels.{rows}x{labels}"
        keep(name, value, total * temperature**2 / rows, {"student": student}, {"teacher": teacher})

    for lengths, temperature in [([6], 1.0), ([9, 4, 1], 2.0)]:
        shape = (len(lengths), max(lengths), 2)
        student, teacher = leaf(*shape, scale=3.0), given(*shape, scale=3.0)
        loss = 0.0
        for side in range(2):
            for i, n in enumerate(lengths):
                part = divergence(teacher[i, :n, side] / temperature, student[i, :n, side] / temperature)
                loss = loss + part * temperature**2 / (2 * len(lengths))
        value = {"kind": "soft-spans", "temperature": temperature, "mask": masked(lengths).tolist()}
        keep(f"soft-spans.{shape[0]}x{shape[1]}", value, loss, {"student": student}, {"teacher": teacher})

    lengths, classes, temperature = [5, 2, 7], 11, 2.0
    shape = (len(lengths), max(lengths), classes)
    student, teacher, mask = leaf(*shape, scale=3.0), given(*shape, scale=3.0), masked(lengths)
    # As DistilBERT's distiller.py selects, with its loss.
    select = mask.bool().unsqueeze(-1).expand_as(student)
    s, t = (torch.masked_select(x, select).view(-1, classes) / temperature for x in (student, teacher))
    criterion = torch.nn.KLDivLoss(reduction="batchmean")
    loss = criterion(functional.log_softmax(s, -1), functional.softmax(t, -1)) * temperature**2
    value = {"kind": "soft-tokens", "temperature": temperature, "mask": mask.tolist()}
    keep("soft-tokens", value, loss, {"student": student}, {"teacher": teacher})

    for lengths, width, teacher_width, padding in [
        ([4], 8, 8, "excluded"),
        ([7, 3], 6, 10, "excluded"),
        ([7, 3], 6, 10, "counted"),
    ]:
        batch, longest = len(lengths), max(lengths)
        student, teacher = leaf(batch, longest, width), given(batch, longest, teacher_width)
        learnt, projected = {"student": student}, student
        if width != teacher_width:
            learnt["projection"] = leaf(teacher_width, width, scale=0.5)
            projected = student @ learnt["projection"].T
        if padding == "counted":
            loss = torch.nn.MSELoss()(projected, teacher)
        else:
            squares = [(projected[i, :n] - teacher[i, :n]).square().sum() for i, n in enumerate(lengths)]
            loss = sum(squares) / (sum(lengths) * teacher_width)
        value = {"kind": "hidden-states", "padding": padding, "mask": masked(lengths).tolist()}
        name = f"hidden-states.{batch}x{longest}x{width}to{teacher_width}.{padding}"
        keep(name, value, loss, learnt, {"teacher": teacher})

    for lengths, heads, padding in [([5], 2, "excluded"), ([6, 2, 4], 3, "excluded"), ([6, 2, 4], 3, "counted")]:
        batch, longest, mask = len(lengths), max(lengths), masked(lengths)
        pairs = (mask.unsqueeze(1) * mask.unsqueeze(2)).unsqueeze(1)
        student, teacher = leaf(batch, heads, longest, longest, scale=2.0), given(batch, heads, longest, longest, scale=2.0)
        student, teacher = (student * pairs).detach().requires_grad_(True), teacher * pairs
        if padding == "counted":
            loss = torch.nn.MSELoss()(student, teacher)
        else:
            loss = 0.0
            for head in range(heads):
                cut = [(student[i, head, :n, :n] - teacher[i, head, :n, :n]).square().sum() for i, n in enumerate(lengths)]
                loss = loss + sum(cut) / sum(n * n for n in lengths) / heads
        value = {"kind": "attention-scores", "padding": padding, "mask": mask.tolist()}
        name = f"attention-scores.{batch}x{heads}x{longest}.{padding}"
        keep(name, value, loss, {"student": student}, {"teacher": teacher})

    for lengths, heads, causal in [([5], 2, False), ([6, 2, 4], 3, False), ([5, 3], 2, True)]:
        batch, longest, mask = len(lengths), max(lengths), masked(lengths)
        student, teacher = leaf(batch, heads, longest, longest, scale=2.0), given(batch, heads, longest, longest, scale=2.0)
        loss = 0.0
        for i, n in enumerate(lengths):
            for head in range(heads):
                for query in range(n):
                    keys = query + 1 if causal else n
                    part = divergence(teacher[i, head, query, :keys], student[i, head, query, :keys])
                    loss = loss + part / (heads * sum(lengths))
        if causal:
            mask = (mask.unsqueeze(1) * mask.unsqueeze(2)).tril()
        value = {"kind": "attention-distributions", "mask": mask.tolist()}
        name = f"attention-distributions.{batch}x{heads}x{longest}{'.causal' if causal else ''}"
        keep(name, value, loss, {"student": student}, {"teacher": teacher})

    for lengths, width, teacher_width, heads in [([5], 8, 8, 2), ([6, 2, 4], 6, 12, 3), ([4, 3], 5, 9, 1)]:
        batch, longest = len(lengths), max(lengths)
        student, teacher = leaf(batch, longest, width), given(batch, longest, teacher_width)
        loss = 0.0
        for i, n in enumerate(lengths):
            for head in range(heads):
                s, t = (
                    x[i, :n, head * x.shape[2] // heads : (head + 1) * x.shape[2] // heads] for x in (student, teacher)
                )
                for query in range(n):
                    scores = [(x @ x[query]) / x.shape[1] ** 0.5 for x in (s, t)]
                    loss = loss + divergence(scores[1], scores[0]) / (heads * sum(lengths))
        value = {"kind": "relations", "heads": heads, "mask": masked(lengths).tolist()}
        name = f"relations.{batch}x{longest}x{width}to{teacher_width}.{heads}"
        keep(name, value, loss, {"student": student}, {"teacher": teacher})

    write_tensors("distillation.safetensors", tensors)
    write_json("distillation.json", {"versions": versions(), "cases": cases})
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
    print("distillation:", distillation())
    print("AdamW gradient norms:", adamw())


if __name__ == "__main__":
    main()

"""The peer of `cargo xtask bench train`: the same distillation in PyTorch and transformers.

    python train_speed.py prepare --minilm FOLDER --mpnet FOLDER --sentiment FOLDER --work FOLDER --rows-short N ...
    python train_speed.py run --work FOLDER --losses layers --teacher teacher --student narrow --data short --batch 32 ...

    python train_speed.py serve

`prepare` makes models and data for both sides; `run` trains and prints its steps with their times as JSON, and `serve` does so
for each line that it reads. The losses
are those of export/benches/train/*.toml, written as PyTorch users have them.
"""

import argparse
import gc
import json
import random
import resource
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification
from transformers import MPNetConfig, MPNetForSequenceClassification, get_linear_schedule_with_warmup
from transformers.models.bert.modeling_bert import BertSelfAttention

MAX_TOKENS = 128
# Rows for dev and test.
HELD_OUT = 32
AT_FIRST = {}
LABELS = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}


# ---- prepare


def write_rows(folder, rows, few):
    """A data set, and one of `few` rows for comparing losses."""
    dev, test, train = rows[: HELD_OUT // 2], rows[HELD_OUT // 2 : HELD_OUT], rows[HELD_OUT:]
    for place, train in ((folder, train), (folder.with_name(f"{folder.name}-check"), train[:few])):
        place.mkdir(parents=True, exist_ok=True)
        for name, part in {"dev": dev, "test": test, "train": train}.items():
            lines = [json.dumps({"text": text, "label": label}) for text, label in part]
            (place / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def enough(rows, count, repeat):
    """The first `count`; where that is more than there are, those for training again in another order."""
    if len(rows) < count and not repeat:
        raise SystemExit(f"there are {len(rows)} texts, {count} are asked for")
    found = list(rows)
    while len(found) < count:
        # Not those of dev and test: limbeck leaves them out of training, and rows would no longer have the same numbers.
        found += random.sample(rows[HELD_OUT:], len(rows) - HELD_OUT)
    return found[:count]


def classifier(kind, config, folder):
    """A pretrained model with a new head; with new weights where the folder has none: speed does not depend on them."""
    if (folder / "model.safetensors").is_file():
        return kind.from_pretrained(folder, **LABELS).float()
    return kind(config.from_pretrained(folder, **LABELS))


def prepare(args):
    torch.manual_seed(7)
    random.seed(7)
    files = [json.loads((args.sentiment / f"{name}.json").read_text()) for name in ("amazon", "imdb", "yelp")]
    labelled = [[row for row in rows if row["class"] is not None] for rows in files]
    sentences = [[(row["text"].strip(), LABELS["id2label"][row["class"]]) for row in rows] for rows in labelled]
    tokenizer = AutoTokenizer.from_pretrained(args.minilm)

    seen, short = set(), []
    for text, label in [row for rows in sentences for row in rows]:
        if text.lower() not in seen:
            seen.add(text.lower())
            short.append((text, label))
    random.shuffle(short)
    write_rows(args.work / "short", enough(short, args.rows_short + HELD_OUT, args.repeat), 5 * args.batch_short)

    # Texts that fill MAX_TOKENS: sentences of one file in a row, from every second one on.
    long = []
    for rows in sentences:
        for start in range(0, len(rows), 2):
            text, end = rows[start][0], start + 1
            while end < len(rows) and len(tokenizer(text)["input_ids"]) < MAX_TOKENS:
                text, end = f"{text} {rows[end][0]}", end + 1
            if len(tokenizer(text)["input_ids"]) >= MAX_TOKENS:
                long.append((text, rows[start][1]))
    random.shuffle(long)
    write_rows(args.work / "long", enough(long, args.rows_long + HELD_OUT, args.repeat), 5 * args.batch_long)

    def save(model, name, source):
        folder = args.work / name
        model.save_pretrained(folder)
        shutil.copy(source / "tokenizer.json", folder)
        return folder

    teacher = classifier(BertForSequenceClassification, BertConfig, args.minilm)
    save(teacher, "teacher", args.minilm)
    base = classifier(MPNetForSequenceClassification, MPNetConfig, args.mpnet)
    save(base, "base-teacher", args.mpnet)
    config = teacher.config.to_dict()
    narrow = BertConfig(**{**config, "num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200})
    maps = {f"distill.{name}.weight": torch.randn(384, 312) / 312**0.5 for name in ("hidden", "embeddings")}
    save_file(maps, save(BertForSequenceClassification(narrow), "narrow", args.minilm) / "distill.safetensors")
    three = BertForSequenceClassification(BertConfig(**{**config, "num_hidden_layers": 3}))
    state = teacher.state_dict()
    for to, source in enumerate((0, 3, 5)):
        prefix = f"bert.encoder.layer.{source}."
        for name in [name for name in state if name.startswith(prefix)]:
            three.state_dict()[name.replace(prefix, f"bert.encoder.layer.{to}.")].copy_(state[name])
    for name in [name for name in state if not name.startswith("bert.encoder.layer.")]:
        three.state_dict()[name].copy_(state[name])
    save(three, "three", args.minilm)
    maps = {"distill.hidden.weight": torch.randn(768, 384) / 384**0.5}
    save_file(maps, save(three, "three-of-base", args.minilm) / "distill.safetensors")


# ---- run


class AttentionWithScores(BertSelfAttention):
    """transformers' eager attention, giving the scores before the mask in place of the probabilities: what TinyBERT's
    released modeling.py does, since no model of transformers returns scores."""

    def forward(self, hidden_states, attention_mask=None, head_mask=None, output_attentions=False, **_):
        batch, length, _ = hidden_states.shape

        def heads(x):
            return x.view(batch, length, self.num_attention_heads, self.attention_head_size).transpose(1, 2)

        query, key, value = heads(self.query(hidden_states)), heads(self.key(hidden_states)), heads(self.value(hidden_states))
        scores = torch.matmul(query, key.transpose(-1, -2)) / self.attention_head_size**0.5
        masked = scores if attention_mask is None else scores + attention_mask
        weights = self.dropout(F.softmax(masked, dim=-1))
        context = torch.matmul(weights, value).permute(0, 2, 1, 3).contiguous().view(batch, length, self.all_head_size)
        return context, scores


class LayerLosses(torch.nn.Module):
    """TinyBERT's (Jiao 2020, section 3.1), without padding; the student's m-th of 4 layers learns from the 6-layer
    teacher's layer m 6 / 4, rounded half up."""

    STUDENT_FROM = (2, 3, 5, 6)

    def __init__(self, maps):
        super().__init__()
        self.hidden = torch.nn.Parameter(maps["distill.hidden.weight"])
        self.embeddings = torch.nn.Parameter(maps["distill.embeddings.weight"])

    def forward(self, student, teacher, batch):
        keep = batch["attention_mask"].float()
        tokens = keep.sum()
        pairs = keep[:, None, :, None] * keep[:, None, None, :]

        def states(own, other, weight):
            squares = (F.linear(own, weight) - other).square().mean(-1)
            return (squares * keep).sum() / tokens

        loss = states(student.hidden_states[0], teacher.hidden_states[0], self.embeddings)
        for layer, source in enumerate(self.STUDENT_FROM):
            loss = loss + states(student.hidden_states[layer + 1], teacher.hidden_states[source], self.hidden)
            squares = (student.attentions[layer] - teacher.attentions[source - 1]).square() * pairs
            loss = loss + squares.sum() / (pairs.sum() * squares.shape[1])
        return loss


class AnswerLosses(torch.nn.Module):
    """DistilBERT's (distiller.py): soft targets at temperature 2, labels, and the cosine of the last hidden states."""

    def forward(self, student, teacher, batch):
        soft = F.kl_div(
            F.log_softmax(student.logits / 2, -1), F.softmax(teacher.logits / 2, -1), reduction="batchmean"
        )
        labels = F.cross_entropy(student.logits, batch["labels"])
        mask = batch["attention_mask"].unsqueeze(-1).expand_as(student.hidden_states[-1]).bool()
        width = student.hidden_states[-1].shape[-1]
        own = torch.masked_select(student.hidden_states[-1], mask).view(-1, width)
        other = torch.masked_select(teacher.hidden_states[-1], mask).view(-1, width)
        cosine = F.cosine_embedding_loss(own, other, own.new_ones(own.shape[0]))
        return 5.0 * 4.0 * soft + 2.0 * labels + cosine


def in_fp32(given, precision):
    """What autocast gave, for losses in fp32."""
    if precision == "fp32":
        return given
    lists = {name: [value.float() for value in getattr(given, name) or ()] for name in ("hidden_states", "attentions")}
    return SimpleNamespace(logits=given.logits.float(), **lists)


def gpu_of(device):
    """The GPU in NVML's words, or None."""
    if device != "cuda":
        return None
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def gpu_mb(gpu):
    if gpu is None:
        return None
    import pynvml

    return pynvml.nvmlDeviceGetMemoryInfo(gpu).used / 1e6


def joules(gpu):
    """What the GPU has used, or the processor packages where RAPL is readable."""
    if gpu is not None:
        import pynvml

        return pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3
    try:
        packages = [path for path in Path("/sys/class/powercap").iterdir() if path.name.count(":") == 1]
        readings = [int((path / "energy_uj").read_text()) / 1e6 for path in packages]
    except OSError:
        return None
    return sum(readings) if readings else None


def resident_mb(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def run(args):
    torch.backends.cuda.enable_cudnn_sdp(not args.no_cudnn_attention)
    gpu = gpu_of(args.device)
    # Later runs of one program find what the first one took.
    before = AT_FIRST.setdefault("gpu_mb", gpu_mb(gpu))
    torch.set_num_threads(args.threads)
    torch.manual_seed(7)
    layers = args.losses == "layers"
    attention = "eager" if layers else "sdpa"
    dropout = {}
    if args.dropout is not None:
        dropout = {"hidden_dropout_prob": args.dropout, "attention_probs_dropout_prob": args.dropout}

    def load(name, **more):
        model = BertForSequenceClassification.from_pretrained(args.work / name, attn_implementation=attention, **more)
        if layers:
            for layer in model.bert.encoder.layer:
                layer.attention.self.__class__ = AttentionWithScores
        return model.to(args.device)

    teacher, student = load(args.teacher).eval(), load(args.student, **dropout).train()
    teacher.requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(args.work / args.student)
    rows = [json.loads(line) for line in (args.work / args.data / "train.jsonl").read_text().splitlines()]
    encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    examples = [(index, ids, LABELS["label2id"][row["label"]]) for index, (ids, row) in enumerate(zip(encoded, rows))]

    def collate(chosen):
        batch = tokenizer.pad({"input_ids": [ids for _, ids, _ in chosen]}, padding="longest", return_tensors="pt")
        batch["labels"] = torch.tensor([label for _, _, label in chosen])
        sizes = {"tokens": int(batch["attention_mask"].sum()), "padded": batch["input_ids"].numel()}
        return {"indices": [index for index, _, _ in chosen], **sizes}, dict(batch)

    def all_done():
        if args.device == "cuda":
            torch.cuda.synchronize()

    # On a GPU batches are made by processes of their own, ahead of time.
    ahead = {"num_workers": 4, "pin_memory": True} if args.device == "cuda" else {}
    if args.batches == "shuffled":
        loader = DataLoader(examples, batch_size=args.batch, shuffle=True, collate_fn=collate, **ahead)
    else:
        # limbeck's own batches, of like lengths.
        order = json.loads(Path(args.batches).read_text())
        loader = DataLoader(examples, batch_sampler=order, collate_fn=collate, **ahead)

    if layers:
        from safetensors.torch import load_file

        losses = LayerLosses(load_file(args.work / args.student / "distill.safetensors")).to(args.device)
    else:
        losses = AnswerLosses()
    named = [*student.named_parameters(), *((f"map.{name}", value) for name, value in losses.named_parameters())]
    plain = [value for name, value in named if name.endswith("bias") or "LayerNorm" in name]
    decayed = [value for name, value in named if not (name.endswith("bias") or "LayerNorm" in name)]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, fused=True)
    # Rounded half up, as in limbeck; Python's own `round` goes to the even number.
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * len(loader) + 0.5), len(loader))
    everything = [value for _, value in named]

    def autocast(precision):
        return torch.autocast(args.device, torch.bfloat16, enabled=precision == "bf16")

    # The loss is read at the end: on a GPU that would wait for all that is queued. Nor is any other step waited for, but
    # the last before the measured ones and the last of all.
    steps, losses_of_steps, energy, processor, resident = [], [], None, 0.0, resident_mb("VmRSS:")
    begun = time.perf_counter()
    for step, batch in loader:
        if len(steps) == args.warm:
            all_done()
            energy, processor, begun = joules(gpu), time.process_time(), time.perf_counter()
        batch = {name: value.to(args.device, non_blocking=True) for name, value in batch.items()}
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad(), autocast(args.teacher_precision):
            taught = in_fp32(teacher(**inputs, output_hidden_states=True, output_attentions=layers), args.teacher_precision)
        with autocast(args.precision):
            given = in_fp32(student(**inputs, output_hidden_states=True, output_attentions=layers), args.precision)
        loss = losses(given, taught, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        optimizer.step()
        schedule.step()
        losses_of_steps.append(loss.detach())
        last = len(steps) + 1 in (len(loader), args.stop_after)
        if last:
            all_done()
        now = time.perf_counter()
        steps.append({**step, "seconds": now - begun})
        begun = now
        if last:
            break
    steps = [{**step, "loss": loss.item()} for step, loss in zip(steps, losses_of_steps)]
    used, processor = joules(gpu), time.process_time() - processor
    return {
        "engine": "pytorch",
        "timed": {"steps": steps},
        "processor_seconds": processor,
        "resident_mb": resident,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "joules": used - energy if used is not None and energy is not None else None,
        "gpu_mb": gpu_mb(gpu) - before if gpu is not None else None,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def serve(args):
    """Runs what each line of the input asks for, a JSON list of arguments, and answers with a line: on a GPU programs start for
    longer than they train. What one run leaves in memory is freed before the next."""
    for line in sys.stdin:
        asked = args.parser.parse_args(json.loads(line))
        found = asked.run(asked)
        # Before the answer: the other side, which comes next, measures what it takes itself.
        gc.collect()
        torch.cuda.empty_cache()
        print(json.dumps(found), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("prepare")
    for name in ("--minilm", "--mpnet", "--sentiment", "--work"):
        verb.add_argument(name, type=Path, required=True)
    for name in ("--rows-short", "--rows-long", "--batch-short", "--batch-long"):
        verb.add_argument(name, type=int, required=True)
    verb.add_argument("--repeat", action="store_true", help="take texts more than once where there are too few")
    verb.set_defaults(run=prepare)
    verb = verbs.add_parser("run")
    verb.add_argument("--work", type=Path, required=True)
    verb.add_argument("--losses", choices=("layers", "answers"), required=True)
    for name in ("--teacher", "--student", "--data"):
        verb.add_argument(name, required=True)
    for name in ("--batch", "--warm", "--threads"):
        verb.add_argument(name, type=int, required=True)
    verb.add_argument("--batches", default="shuffled", help="a JSON file of lists of row numbers, or `shuffled`")
    verb.add_argument("--dropout", type=float)
    verb.add_argument("--stop-after", type=int)
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="the student's")
    verb.add_argument("--no-cudnn-attention", action="store_true", help="its kernels are made anew for each shape")
    verb.add_argument("--teacher-precision", choices=("fp32", "bf16"), default="fp32")
    verb.set_defaults(run=run)
    verb = verbs.add_parser("serve")
    verb.set_defaults(run=serve, parser=parser)
    args = parser.parse_args()
    found = args.run(args)
    if found is not None:
        print(json.dumps(found))


if __name__ == "__main__":
    main()

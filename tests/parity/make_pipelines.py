"""What PyPI transformers' pipelines answer, for the sdk's tasks to be compared with.

    python make_pipelines.py --minilm FOLDER --masked-lm FOLDER --data FOLDER [--out references/pipelines]

The encoder is all-MiniLM-L6-v2 as it is; for each task a linear head is trained on its frozen outputs, from texts with a
clear licence (sentence polarity and subjectivity CC BY 4.0, banking77 CC BY 4.0, CLINC150 CC BY 3.0, XQuAD CC BY-SA 4.0).
`heads/TASK/` holds the head's tensors and a config.json; with MiniLM's own tensors they make the model. Masked words are
guessed by the 2-layer masked-LM BERT of the tests.

Each TASK.jsonl holds an input a line with what the pipeline answers. Offsets count Unicode scalar values. The numbers in
summary.json say that the heads have learned something; they are no claim about quality.
"""

import argparse
import csv
import hashlib
import json
import random
import shutil
import tempfile
import zipfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, pipeline
from transformers.pipelines import question_answering as qa

HARD = [
    "Ada met Babbage in London 🙂",
    "👩‍👩‍👧 Ada 👨🏽‍🚀 London 🇩🇪🇫🇷",
    "café Adä naïve façade",
    "東京 Ada 大学で学ぶ",
    "Ada في لندن מלון Ada",
    "A.D.A. 'n' O'Neil-Smith, e-mail: a@b.c (1,000.50 €)",
    "   Ada   met\tBabbage\n",
    "❤️ 1️⃣ ½ Ⅷ",
]
ZERO_SHOT_LABELS = ["travel", "banking", "food and cooking", "work"]
TEMPLATE = "This text is about {}."


def rounded(value):
    if isinstance(value, float):
        return round(value, 7)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    if hasattr(value, "item"):
        return rounded(value.item())
    return value


def stable(items, key, count):
    """`count` of the items, chosen by the hash of their text."""
    return sorted(items, key=lambda item: hashlib.sha256(key(item).encode()).hexdigest())[:count]


class Data:
    def __init__(self, folder):
        def lines(zip_name, member):
            with zipfile.ZipFile(folder / "nltk" / zip_name) as archive:
                return [line.strip() for line in archive.read(member).decode("utf-8").splitlines() if line.strip()]

        self.positive = lines("sentence_polarity.zip", "sentence_polarity/rt-polarity.pos")
        self.negative = lines("sentence_polarity.zip", "sentence_polarity/rt-polarity.neg")
        self.plots = lines("subjectivity.zip", "subjectivity/plot.tok.gt9.5000")
        with open(folder / "banking77/train.csv", newline="", encoding="utf-8") as file:
            self.banking = [(row["text"], row["category"]) for row in csv.DictReader(file)]
        with open(folder / "banking77/test.csv", newline="", encoding="utf-8") as file:
            self.banking_test = [(row["text"], row["category"]) for row in csv.DictReader(file)]
        self.clinc = json.loads((folder / "clinc150/data_full.json").read_text(encoding="utf-8"))
        articles = json.loads((folder / "xquad_en/first_36_articles.json").read_text(encoding="utf-8"))["data"]
        self.train_articles, self.test_articles = articles[:24], articles[24:]


class Encoder:
    """MiniLM, frozen; one text or pair at a time."""

    def __init__(self, folder):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, texts, pairs=None, length=128):
        pooled = []
        for start in range(0, len(texts), 32):
            chunk = slice(start, start + 32)
            batch = self.tokenizer(
                texts[chunk],
                pairs[chunk] if pairs else None,
                padding=True,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            pooled.append(self.model(**batch).pooler_output)
        return torch.cat(pooled)

    @torch.no_grad()
    def tokens(self, *texts, **options):
        encoding = self.tokenizer(*texts, return_offsets_mapping=True, return_tensors="pt", **options)
        offsets = encoding.pop("offset_mapping")
        encoding.pop("overflow_to_sample_mapping", None)
        return [(self.model(**{k: v[i : i + 1] for k, v in encoding.items()}).last_hidden_state[0], encoding, offsets[i], i)
                for i in range(len(offsets))]


def fit(features, targets, outputs, loss, steps=400, rate=0.02):
    """A linear head, full batch."""
    torch.manual_seed(0)
    head = torch.nn.Linear(features.shape[1], outputs)
    torch.nn.init.normal_(head.weight, std=0.02)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(head(features), targets).backward()
        optimizer.step()
    return {"weight": head.weight.detach().clone(), "bias": head.bias.detach().clone()}


class Models:
    """Heads, and the models that they make with MiniLM."""

    def __init__(self, minilm, out):
        self.minilm, self.out = minilm, out
        self.base = load_file(minilm / "model.safetensors")
        self.base = {f"bert.{k.removeprefix('bert.')}": v for k, v in self.base.items() if "position_ids" not in k}

    def write(self, name, architecture, prefix, head, labels=None, problem=None):
        folder = self.out / "heads" / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file({f"{prefix}.{key}": value for key, value in head.items()}, folder / "head.safetensors")
        config = AutoConfig.from_pretrained(self.minilm).to_dict()
        config["architectures"] = [architecture]
        for key in ["_name_or_path", "transformers_version", "torch_dtype", "dtype", "gradient_checkpointing"]:
            config.pop(key, None)
        config = {k: v for k, v in config.items() if v is not None and (v != [] and v is not False)}
        if labels:
            config["id2label"] = {str(i): label for i, label in enumerate(labels)}
            config["label2id"] = {label: i for i, label in enumerate(labels)}
        if problem:
            config["problem_type"] = problem
        (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        model = Path(tempfile.mkdtemp())
        shutil.copy(folder / "config.json", model)
        for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]:
            shutil.copy(self.minilm / file, model)
        tensors = self.base | {f"{prefix}.{key}": value for key, value in head.items()}
        if architecture != "BertForSequenceClassification":
            tensors = {key: value for key, value in tensors.items() if ".pooler." not in key}
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
        return model


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(rounded(line), ensure_ascii=False, sort_keys=True) + "\n")
    print(f"{path.name}: {len(lines)} lines, {path.stat().st_size} bytes")


def sequence_heads(data, encoder, models, out, summary):
    cross_entropy, binary = torch.nn.functional.cross_entropy, torch.nn.functional.binary_cross_entropy_with_logits
    positive, negative = stable(data.positive, str, 1560), stable(data.negative, str, 1560)
    plots = stable(data.plots, str, 860)

    texts = positive[:1500] + negative[:1500]
    features = encoder(texts)
    head = fit(features, torch.tensor([1] * 1500 + [0] * 1500), 2, cross_entropy)
    folder = models.write("polarity", "BertForSequenceClassification", "classifier", head, ["negative", "positive"])
    run = pipeline("text-classification", model=str(folder), top_k=None)
    held_out = [(t, "positive") for t in positive[1500:]] + [(t, "negative") for t in negative[1500:]]
    long = " ".join(t for t, _ in held_out[:40])
    inputs = [t for t, _ in held_out] + HARD + [long]
    answers = [run([t], truncation=True, max_length=128)[0] for t in inputs]
    write_lines(out / "polarity.jsonl", [{"text": t, "labels": a} for t, a in zip(inputs, answers)])
    right = sum(a[0]["label"] == label for (_, label), a in zip(held_out, answers))
    summary["polarity"] = {"accuracy": right / len(held_out), "texts": len(held_out)}

    features = torch.cat([features, encoder(plots[:800])])
    flags = [[1, 0, 1]] * 1500 + [[0, 1, 1]] * 1500 + [[0, 0, 0]] * 800
    head = fit(features, torch.tensor(flags, dtype=torch.float), 3, binary)
    labels = ["positive", "negative", "subjective"]
    problem = "multi_label_classification"
    folder = models.write("aspects", "BertForSequenceClassification", "classifier", head, labels, problem)
    run = pipeline("text-classification", model=str(folder), top_k=None)
    inputs = [t for t, _ in held_out[40:80]] + plots[800:] + HARD
    answers = [run([t], truncation=True, max_length=128)[0] for t in inputs]
    write_lines(out / "aspects.jsonl", [{"text": t, "labels": a} for t, a in zip(inputs, answers)])

    names = sorted({label for _, label in data.banking})
    train = stable(data.banking, lambda row: row[0], 4000)
    head = fit(encoder([t for t, _ in train]), torch.tensor([names.index(label) for _, label in train]), 77, cross_entropy)
    folder = models.write("banking77", "BertForSequenceClassification", "classifier", head, names)
    run = pipeline("text-classification", model=str(folder), top_k=5)
    held_out = stable(data.banking_test, lambda row: row[0], 120)
    answers = [run([t], truncation=True, max_length=128)[0] for t, _ in held_out]
    write_lines(out / "banking77.jsonl", [{"text": t, "labels": a} for (t, _), a in zip(held_out, answers)])
    right = sum(a[0]["label"] == label for (_, label), a in zip(held_out, answers))
    summary["banking77"] = {"accuracy": right / len(held_out), "texts": len(held_out)}


def pair_heads(data, encoder, models, out, summary):
    """Whether an utterance is about an intent (entailment), and whether two utterances have one intent (a number)."""
    choose = random.Random(0)
    rows = stable(data.clinc["train"], lambda row: row[0], 3000)
    intents = sorted({label for _, label in rows})
    about = lambda label: TEMPLATE.format(label.replace("_", " "))
    premises, hypotheses, targets = [], [], []
    for text, label in rows[:2000]:
        other = choose.choice([i for i in intents if i != label])
        premises += [text, text]
        hypotheses += [about(label), about(other)]
        targets += [1, 0]
    head = fit(encoder(premises, hypotheses), torch.tensor(targets), 2, torch.nn.functional.cross_entropy)
    labels = ["not_entailment", "entailment"]
    folder = models.write("entailment", "BertForSequenceClassification", "classifier", head, labels)
    run = pipeline("text-classification", model=str(folder), top_k=None)
    pairs = []
    for text, label in stable(data.clinc["test"], lambda row: row[0], 55):
        pairs += [(text, about(label), 1), (text, about(choose.choice(intents)), 0)]
    article = data.test_articles[0]["paragraphs"]
    pairs += [(hard, HARD[0], None) for hard in HARD] + [(article[0]["context"], article[1]["context"], None)]
    answers = [run({"text": a, "text_pair": b}, truncation=True, max_length=128) for a, b, _ in pairs]
    write_lines(out / "entailment.jsonl", [{"text": a, "second": b, "labels": x} for (a, b, _), x in zip(pairs, answers)])
    known = [(target, x) for (_, _, target), x in zip(pairs, answers) if target is not None]
    right = sum(x[0]["label"] == labels[target] for target, x in known)
    summary["entailment"] = {"accuracy": right / len(known), "pairs": len(known)}

    zero = pipeline("zero-shot-classification", model=str(folder))
    lines = []
    for text, _ in stable(data.clinc["val"], lambda row: row[0], 100):
        for multi_label in [False, True]:
            answer = zero(text, ZERO_SHOT_LABELS, hypothesis_template=TEMPLATE, multi_label=multi_label)
            lines.append({"text": text, "multi_label": multi_label, "labels": answer["labels"], "scores": answer["scores"]})
    write_lines(out / "zero-shot.jsonl", lines)

    by_intent = {}
    for text, label in rows:
        by_intent.setdefault(label, []).append(text)
    first, second, targets = [], [], []
    for text, label in rows[:1500]:
        other = choose.choice([i for i in intents if i != label])
        first += [text, text]
        second += [choose.choice(by_intent[label]), choose.choice(by_intent[other])]
        targets += [[5.0], [0.0]]
    head = fit(encoder(first, second), torch.tensor(targets), 1, torch.nn.functional.mse_loss)
    folder = models.write("alike", "BertForSequenceClassification", "classifier", head, ["score"], "regression")
    run = pipeline("text-classification", model=str(folder), function_to_apply="none", top_k=None)
    tests = stable(data.clinc["test"], lambda row: row[0], 112)
    pairs = [(a[0], b[0], a[1] == b[1]) for a, b in zip(tests, tests[1:])]
    answers = [run({"text": a, "text_pair": b}, truncation=True, max_length=128) for a, b, _ in pairs]
    write_lines(out / "alike.jsonl", [{"text": a, "second": b, "labels": x} for (a, b, _), x in zip(pairs, answers)])


def kind(question):
    """What a question asks for, by its first words."""
    words = question.lower()
    for name, signs in [("PER", ["who ", "whom "]), ("LOC", ["where ", "what country", "what city", "which country"]),
                        ("NUM", ["when ", "how many", "how much", "what year", "in what year"])]:
        if any(sign in words for sign in signs):
            return name
    return None


def token_head(data, encoder, models, out, summary):
    """Answers of XQuAD as entities, by what their questions ask for."""
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-NUM", "I-NUM"]

    def tagged(articles):
        for article in articles:
            for paragraph in article["paragraphs"]:
                spans = [(a["answer_start"], a["answer_start"] + len(a["text"]), kind(q["question"]))
                         for q in paragraph["qas"] for a in q["answers"] if kind(q["question"])]
                yield paragraph["context"], spans

    features, targets = [], []
    for context, spans in tagged(data.train_articles):
        hidden, _, offsets, _ = encoder.tokens(context, truncation=True, max_length=512)[0]
        own = torch.zeros(len(hidden), dtype=torch.long)
        for start, end, name in spans:
            inside = [i for i, (a, b) in enumerate(offsets.tolist()) if a < b and a >= start and b <= end]
            for place, i in enumerate(inside):
                own[i] = labels.index(("B-" if place == 0 else "I-") + name)
        features.append(hidden[1:-1])
        targets.append(own[1:-1])
    weights = torch.tensor([0.15] + [1.0] * 6)
    loss = lambda x, y: torch.nn.functional.cross_entropy(x, y, weight=weights)
    head = fit(torch.cat(features), torch.cat(targets), 7, loss, steps=250)
    folder = models.write("entities", "BertForTokenClassification", "classifier", head, labels)
    texts = []
    for context, _ in tagged(data.test_articles):
        texts += [sentence.strip() + "." for sentence in context.split(". ") if 20 < len(sentence) < 300]
    texts = stable(texts, str, 110) + HARD
    lines = []
    runs = {name: pipeline("token-classification", model=str(folder), aggregation_strategy=name)
            for name in ["none", "first", "average", "max"]}
    for text in texts:
        line = {"text": text}
        for name, run in runs.items():
            line[name] = [[e.get("entity_group") or e["entity"], e["score"], e["start"], e["end"]] for e in run(text)]
        lines.append(line)
    write_lines(out / "entities.jsonl", lines)
    summary["entities"] = {"texts": len(texts), "entities": sum(len(line["first"]) for line in lines)}


def reader_head(data, encoder, models, out, summary):
    features, targets = [], []
    for article in data.train_articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answer = question["answers"][0]
                start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
                hidden, encoding, offsets, _ = encoder.tokens(
                    question["question"], paragraph["context"], truncation="only_second", max_length=384)[0]
                inside = [i for i, (a, b) in enumerate(offsets.tolist())
                          if encoding.sequence_ids(0)[i] == 1 and a >= start and b <= end]
                if inside:
                    features.append(hidden)
                    targets.append((inside[0], inside[-1]))
    longest = max(len(hidden) for hidden in features)
    padded = torch.zeros(len(features), longest, features[0].shape[1])
    mask = torch.full((len(features), longest), -1e4)
    for i, hidden in enumerate(features):
        padded[i, : len(hidden)] = hidden
        mask[i, : len(hidden)] = 0
    targets = torch.tensor(targets)

    def loss(logits, targets):
        start, end = logits.unbind(-1)
        entropy = torch.nn.functional.cross_entropy
        return entropy(start + mask, targets[:, 0]) + entropy(end + mask, targets[:, 1])

    torch.manual_seed(0)
    linear = torch.nn.Linear(padded.shape[2], 2)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss(linear(padded), targets).backward()
        optimizer.step()
    head = {"weight": linear.weight.detach().clone(), "bias": linear.bias.detach().clone()}
    folder = models.write("reader", "BertForQuestionAnswering", "qa_outputs", head)
    run = pipeline("question-answering", model=str(folder))
    select = qa.select_starts_ends
    questions = [(q["question"], paragraph["context"], q["answers"][0]["text"])
                 for article in data.test_articles for paragraph in article["paragraphs"] for q in paragraph["qas"]]
    questions = stable(questions, lambda row: row[0] + row[1], 140)
    lines, exact = [], 0
    contexts = []
    for number, (question, context, expected) in enumerate(questions):
        line = {"question": question, "max_tokens": 384, "stride": 128}
        if number >= 100:
            line |= {"max_tokens": 128, "stride": 32}
        if context not in contexts:
            contexts.append(context)
        line["context"] = contexts.index(context)
        options = dict(question=question, context=context, max_seq_len=line["max_tokens"], doc_stride=line["stride"])
        line["answers"] = run(**options, top_k=3)
        # The score of "no answer" is rarely among the best, where alone the pipeline shows it.
        nulls = []
        qa.select_starts_ends = lambda *a, **k: (found := select(*a, **k), nulls.append(found[3]))[0]
        run(**options, handle_impossible_answer=True)
        qa.select_starts_ends = select
        line["no_answer"] = nulls[-1]
        exact += line["answers"][0]["answer"].lower().strip(".,") == expected.lower()
        lines.append(line)
    write_lines(out / "reader.jsonl", [{"contexts": contexts}] + lines)
    summary["reader"] = {"exact_match": exact / len(lines), "questions": len(lines)}


def masked_words(data, folder, out, summary):
    run = pipeline("fill-mask", model=str(folder), tokenizer=str(folder), top_k=5)
    choose = random.Random(1)
    lines, right = [], 0
    for text, _ in stable(data.clinc["test"], lambda row: row[0], 110):
        words = text.split()
        place = choose.randrange(len(words))
        hidden = words[place]
        words[place] = "[MASK]"
        text = " ".join(words)
        answer = run(text)
        right += answer[0]["token_str"] == hidden
        lines.append({"text": text, "masks": [[[a["token"], a["score"], a["token_str"]] for a in answer]]})
    for text in ["🙂 [MASK] met [MASK] in café [MASK]!", "the [MASK] of [MASK] is 東京"]:
        answer = run(text)
        lines.append({"text": text, "masks": [[[a["token"], a["score"], a["token_str"]] for a in one] for one in answer]})
    write_lines(out / "masks.jsonl", lines)
    summary["masks"] = {"accuracy": right / 110, "texts": 110}


def embeddings(data, minilm, out):
    run = pipeline("feature-extraction", model=str(minilm), return_tensors=True)
    texts = [t for t, _ in stable(data.clinc["val"], lambda row: row[0], 92)] + HARD
    lines = []
    for text in texts:
        vector = torch.nn.functional.normalize(run(text)[0].mean(0), dim=0)
        lines.append({"text": text, "vector": [round(v, 6) for v in vector.tolist()]})
    write_lines(out / "embeddings.jsonl", lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--masked-lm", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "references/pipelines")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="embeddings masks entities reader pairs sequences")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    data, encoder, models = Data(arguments.data), Encoder(arguments.minilm), Models(arguments.minilm, out)
    steps = {
        "embeddings": lambda: embeddings(data, arguments.minilm, out),
        "masks": lambda: masked_words(data, arguments.masked_lm, out, summary),
        "entities": lambda: token_head(data, encoder, models, out, summary),
        "reader": lambda: reader_head(data, encoder, models, out, summary),
        "pairs": lambda: pair_heads(data, encoder, models, out, summary),
        "sequences": lambda: sequence_heads(data, encoder, models, out, summary),
    }
    known = out / "summary.json"
    summary = json.loads(known.read_text()) if arguments.only and known.is_file() else {}
    summary |= {"torch": torch.__version__, "transformers": transformers.__version__}
    for name, step in steps.items():
        if not arguments.only or name in arguments.only:
            step()
    (out / "summary.json").write_text(json.dumps(rounded(summary), indent=1, sort_keys=True) + "\n")
    print(json.dumps(rounded(summary), indent=1))


if __name__ == "__main__":
    main()

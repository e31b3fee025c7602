"""Runs the recipes of this folder and writes what they gave. Standard library only.

    python3 run.py PREPARED OUT [--limbeck PROGRAM] [--only GROUPS] [--steps N] [--downstream FOLDER]
                   [--seeds LIST]

PREPARED is what prepare.py wrote. GROUPS are some of sentence,sharing,electra,gpt2, or single recipes; the tokenizers that they ask for are
trained first. Each recipe goes on where it was stopped, and one that is done is not done again; what a recipe starts from is trained
before it. The models of `electra` are then fine-tuned on the sets of wrong words and on those below FOLDER, which `../tasks/prepare.py`
wrote, and beside them one that was never trained. `--steps` cuts every run short, to try the recipes out, in an OUT of its own.
OUT/results.json has a row for each recipe that was run, now or before, ALBERT's table of models by tasks, and what the fine-tuned models
score.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import subprocess

HERE = pathlib.Path(__file__).parent
TOKENIZERS = {
    "wordpiece": ["--kind", "wordpiece", "--vocab-size", "4000", "--lowercase", "prose/train.txt"],
    "news": ["--kind", "wordpiece", "--vocab-size", "4000", "--lowercase", "news/train.txt"],
    "byte-bpe": ["--kind", "byte-bpe", "--vocab-size", "1000", "shakespeare/train.txt"],
}
# Name, task, ending of its files, measure on test.*, epochs, longest text. The last four are made by prepare.py.
DOWNSTREAM = [
    ("polarity", "text-classification", "tsv", "accuracy", 3, 64),
    ("wikiann", "token-classification", "conll", "entity_f1", 3, 64),
    ("banking77", "text-classification", "csv", "accuracy", 8, 64),
    ("misspelt", "token-classification", "conll", "entity_f1", 4, 64),
    ("confused", "token-classification", "conll", "entity_f1", 4, 64),
    ("mistaken", "token-classification", "conll", "entity_f1", 4, 64),
    ("swapped", "token-classification", "conll", "entity_f1", 4, 64),
]
FINETUNE = ["--learning-rate", 5e-4, "--batch-size", 32]
COMMON = ["--device", "cpu", "--threads", 1]
# What the ELECTRAs that replace tokens start from.
START = HERE / "electra-start.toml"


def starts(recipe):
    return f'start = "{START.stem}"' in recipe.read_text()


def downstream(limbeck, model, out, folders, seeds, short):
    """Test scores of a model that is fine-tuned on each set, by set: of all seeds, their mean and sample deviation."""
    found = {}
    for name, task, ending, measure, epochs, max_tokens in DOWNSTREAM:
        folder = next((folder / name for folder in folders if (folder / name).exists()), None)
        files = {part: folder / f"{part}.{ending}" for part in ["train", "dev", "test"]} if folder else {}
        if not files or not all(file.exists() for file in files.values()):
            print(f"{name}: left out, its train.{ending}, dev.{ending} and test.{ending} are not there", flush=True)
            continue
        scores = []
        for seed in seeds[:1] if short else seeds:
            tuned = out / f"{name}-{seed}"
            data = ["--train", files["train"], "--dev", files["dev"], "--max-tokens", max_tokens]
            settings = ["--epochs", 1 if short else epochs, *FINETUNE, "--seed", seed, *COMMON]
            limbeck("finetune", "--task", task, "--model", model, *data, *settings, "--out", tuned)
            bundle = out / f"{name}-{seed}.limbeck"
            bundle.unlink(missing_ok=True)
            limbeck("pack", tuned, "--task", task, "--max-tokens", max_tokens, "-o", bundle)
            scored = json.loads(limbeck("eval", bundle, files["test"], "--json"))
            scores.append(scored["metrics"][measure])
        spread = statistics.stdev(scores) if len(scores) > 1 else None
        found[name] = {"measure": measure, "scores": scores, "mean": statistics.mean(scores), "deviation": spread}
        print(f"{out.name}, {name}: {measure} {found[name]['mean']:.4f}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--limbeck", default="limbeck")
    parser.add_argument("--only", default="sentence,sharing,electra,gpt2")
    parser.add_argument("--steps")
    parser.add_argument("--downstream", type=pathlib.Path)
    parser.add_argument("--seeds", default="1,2,3", help="of fine-tuning")
    options = parser.parse_args()
    groups = options.only.split(",")
    prepared, out = options.prepared.resolve(), options.out.resolve()
    program = pathlib.Path(options.limbeck)
    program = str(program.resolve()) if program.exists() else options.limbeck

    def limbeck(*arguments):
        done = subprocess.run([program, *map(str, arguments)], cwd=prepared, check=True, stdout=subprocess.PIPE)
        return done.stdout.decode()

    # `gpt2` before `gpt2-distilled`, whose teacher it is.
    found = sorted(HERE.glob("*.toml"), key=lambda recipe: recipe.stem)
    recipes = [recipe for recipe in found if {recipe.stem, recipe.stem.split("-")[0]} & set(groups)]
    if any(starts(recipe) for recipe in recipes):
        recipes = [START, *(recipe for recipe in recipes if recipe != START)]
    for name, arguments in TOKENIZERS.items():
        asked = any(f'"tokenizer/{name}"' in recipe.read_text() for recipe in recipes)
        if asked and not (prepared / "tokenizer" / name / "tokenizer.json").exists():
            limbeck("tokenizer", "train", "--max-tokens", 128, "--out", f"tokenizer/{name}", *arguments)
    results = out / "results.json"
    known = json.loads(results.read_text()) if results.exists() else {}
    rows, table, tuned = (known.get(key, {}) for key in ["recipes", "trained_on_by_scored_on", "downstream"])

    def write():
        date = datetime.date.today().isoformat()
        found = {"schema": 1, "date": date, "recipes": rows, "trained_on_by_scored_on": table, "downstream": tuned}
        results.write_text(json.dumps(known | found, indent=2) + "\n")

    for recipe in recipes:
        name = recipe.stem
        more = ["--steps", options.steps] if options.steps else []
        if name == "gpt2-distilled":
            more += ["--teacher", out / "gpt2"]
        if starts(recipe):
            more += ["--model", out / START.stem]
        limbeck("pretrain", "--recipe", recipe.resolve(), "--data", ".", "--out", out / name, *COMMON, *more)
        done = json.loads((out / name / "pretrain.json").read_text())
        keys = ["parameters", "generator_parameters", "tokens_seen", "flops", "held_out", "distilled", "wall_seconds"]
        rows[name] = {key: done[key] for key in keys if key in done} | {"steps": done["outcome"]["steps"]}
        if starts(recipe):
            rows[name]["start"] = START.stem
        shape = json.loads((out / name / "config.json").read_text())
        rows[name] |= {key: shape[key] for key in ["embedding_size", "hidden_size"] if key in shape}
        print(f"{name}: {rows[name]['held_out']}", flush=True)
        if name.startswith("sentence-"):
            # `sentence-none` never saw pairs: it answers by an untrained head, at chance.
            held_out = ["--held-out", "news/held-out.txt", "--json"]
            scores = {
                task: json.loads(limbeck("pretrain", "--evaluate-on", task, "--model", out / name, *COMMON, *held_out))
                for task in ["mlm", "nsp", "sop"]
            }
            share = {"mlm": "masked_accuracy", "nsp": "sentence_accuracy", "sop": "sentence_accuracy"}
            table[name] = {task: score["held_out"][share[task]] for task, score in scores.items()}
        write()

    electra = [recipe.stem for recipe in recipes if recipe.stem.startswith("electra-") and recipe != START]
    if electra:
        folders = [prepared / "errors", *([options.downstream.resolve()] if options.downstream else [])]
        seeds = [int(seed) for seed in options.seeds.split(",")]
        # New weights: one step, at a rate that changes nothing.
        new = ["--recipe", (HERE / "electra-mlm.toml").resolve(), "--steps", 1, "--learning-rate", 1e-12]
        limbeck("pretrain", *new, "--data", ".", "--out", out / "electra-none", *COMMON)
        for name in ["electra-none", *electra]:
            scores = downstream(limbeck, out / name, out / "finetuned" / name, folders, seeds, options.steps)
            tuned[name] = tuned.get(name, {}) | scores
            write()


if __name__ == "__main__":
    main()

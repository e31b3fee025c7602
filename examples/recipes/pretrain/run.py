"""Runs the recipes of this folder and writes what they gave. Standard library only.

    python3 run.py PREPARED OUT [--limbeck PROGRAM] [--only sentence,sharing,electra,gpt2] [--steps N]

PREPARED is what prepare.py wrote. Tokenizers are trained first. Each recipe goes on where it was stopped, and one that is done is
not done again. `--steps` cuts every run short, to try the recipes out. OUT/results.json has a row for each recipe that was run, now or
before, and ALBERT's table of models by tasks.
"""

import argparse
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).parent
TOKENIZERS = {
    "wordpiece": ["--kind", "wordpiece", "--vocab-size", "4000", "--lowercase", "prose/train.txt"],
    "news": ["--kind", "wordpiece", "--vocab-size", "4000", "--lowercase", "news/train.txt"],
    "byte-bpe": ["--kind", "byte-bpe", "--vocab-size", "1000", "shakespeare/train.txt"],
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--limbeck", default="limbeck")
    parser.add_argument("--only", default="sentence,sharing,electra,gpt2")
    parser.add_argument("--steps")
    options = parser.parse_args()
    groups = options.only.split(",")
    prepared, out = options.prepared.resolve(), options.out.resolve()
    program = pathlib.Path(options.limbeck)
    program = str(program.resolve()) if program.exists() else options.limbeck

    def limbeck(*arguments):
        done = subprocess.run([program, *map(str, arguments)], cwd=prepared, check=True, stdout=subprocess.PIPE)
        return done.stdout.decode()

    for name, arguments in TOKENIZERS.items():
        if not (prepared / "tokenizer" / name / "tokenizer.json").exists():
            limbeck("tokenizer", "train", "--max-tokens", 128, "--out", f"tokenizer/{name}", *arguments)
    results = out / "results.json"
    known = json.loads(results.read_text()) if results.exists() else {}
    rows, table = known.get("recipes", {}), known.get("trained_on_by_scored_on", {})
    # `gpt2` before `gpt2-distilled`, whose teacher it is.
    for recipe in sorted(HERE.glob("*.toml"), key=lambda recipe: recipe.stem):
        name = recipe.stem
        if name.split("-")[0] not in groups:
            continue
        more = ["--steps", options.steps] if options.steps else []
        if name == "gpt2-distilled":
            more += ["--teacher", out / "gpt2"]
        common = ["--device", "cpu", "--threads", 1]
        limbeck("pretrain", "--recipe", recipe.resolve(), "--data", ".", "--out", out / name, *common, *more)
        done = json.loads((out / name / "pretrain.json").read_text())
        keys = ["parameters", "generator_parameters", "tokens_seen", "flops", "held_out", "distilled", "wall_seconds"]
        rows[name] = {key: done[key] for key in keys if key in done} | {"steps": done["outcome"]["steps"]}
        shape = json.loads((out / name / "config.json").read_text())
        rows[name] |= {key: shape[key] for key in ["embedding_size", "hidden_size"] if key in shape}
        print(f"{name}: {rows[name]['held_out']}", flush=True)
        if name.startswith("sentence-"):
            # `sentence-none` never saw pairs: it answers by an untrained head, at chance.
            held_out = ["--held-out", "news/held-out.txt", "--json"]
            scores = {
                task: json.loads(limbeck("pretrain", "--evaluate-on", task, "--model", out / name, *common, *held_out))
                for task in ["mlm", "nsp", "sop"]
            }
            share = {"mlm": "masked_accuracy", "nsp": "sentence_accuracy", "sop": "sentence_accuracy"}
            table[name] = {task: score["held_out"][share[task]] for task, score in scores.items()}
        found = {"schema": 1, "date": done["date"], "recipes": rows, "trained_on_by_scored_on": table}
        results.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

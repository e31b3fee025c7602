"""Trains the model of this folder, packs it, tries it with examples, and writes what came of it. Standard library only.

    python3 run.py PREPARED OUT [--limbeck PROGRAM] [--steps N]

PREPARED is what make.py wrote. Goes on where it was stopped. OUT/results.json has the losses, and how many prompts of each task
were completed right by the number of examples in them, by the fp32 bundle and by smaller ones.
"""

import argparse
import datetime
import json
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
SHOTS = [0, 1, 2, 4, 8]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--limbeck", default="limbeck")
    parser.add_argument("--steps")
    options = parser.parse_args()
    prepared, out = options.prepared.resolve(), options.out.resolve()
    program = pathlib.Path(options.limbeck)
    program = str(program.resolve()) if program.exists() else options.limbeck

    def limbeck(*arguments):
        done = subprocess.run([program, *map(str, arguments)], cwd=prepared, check=True, stdout=subprocess.PIPE)
        return done.stdout.decode()

    if not (prepared / "tokenizer" / "tokenizer.json").exists():
        kind = ["--kind", "byte-bpe", "--vocab-size", 300, "--max-tokens", 192]
        limbeck("tokenizer", "train", *kind, "--out", "tokenizer", "train.jsonl")
    more = ["--steps", options.steps] if options.steps else []
    model = out / "model"
    limbeck("pretrain", "--recipe", HERE / "recipe.toml", "--data", ".", "--out", model, "--device", "cpu", "--threads", 1, *more)
    bundles = {"fp32": ["pack", model, "--task", "generation"]}
    for name, mode in [("int8", "int8-dynamic"), ("int8 weights", "int8-weights"), ("int4 weights", "int4-weights")]:
        bundles[name] = ["quantize", model, "--mode", mode, "--unproven"]
    found = {}
    for name, arguments in bundles.items():
        bundle = out / f"{name.replace(' ', '-')}.limbeck"
        bundle.unlink(missing_ok=True)
        limbeck(*arguments, "-o", bundle)
        shots = ["--shots", ",".join(map(str, SHOTS)), "--examples", "examples.jsonl", "--newlines", 0]
        found[name] = json.loads(limbeck("eval", bundle, "test.jsonl", *shots, "--json"))
    done = json.loads((model / "pretrain.json").read_text())
    kept = {key: done[key] for key in ["parameters", "tokens_seen", "held_out", "wall_seconds"]}
    results = {"schema": 1, "date": datetime.date.today().isoformat(), "steps": done["outcome"]["steps"], **kept, "shots": found}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

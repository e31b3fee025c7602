"""Makes a teacher, a 3-layer student and their bundles for every task, and measures the bundles through the sdk.

    python3 make.py DATA MODEL OUT [--limbeck PROGRAM] [--only SET]

DATA is what prepare.py wrote, MODEL the Hugging Face folder of the encoder (all-MiniLM-L6-v2 here). What is done is not
done again, and a run that was stopped goes on where it was. OUT/results.json holds what was measured. Standard library
only; PROGRAM is `target/release/limbeck` as `cargo xtask limbeck -- --help` builds it, its libraries to be found as
`cargo xtask limbeck` finds them.
"""

import argparse
import json
import pathlib
import subprocess

# Set: task, columns, training settings, longest text. Small on purpose: minutes each on two cores.
TASKS = {
    "cola": ("text-classification", [], ["--epochs", "2", "--learning-rate", "1e-4"], 48),
    "stsb": ("sentence-embedding", ["--pair-column", "second", "--label-column", "score"],
             ["--epochs", "1", "--learning-rate", "3e-5"], 64),
    "rte": ("pair-classification", ["--pair-column", "hypothesis"], ["--epochs", "3", "--learning-rate", "5e-5"], 128),
    "wikiann": ("token-classification", [], ["--epochs", "1", "--learning-rate", "1e-4"], 128),
    "banking77": ("text-classification", [], ["--epochs", "3", "--learning-rate", "2e-4"], 64),
    "polarity": ("text-classification", [], ["--epochs", "1", "--learning-rate", "5e-5"], 64),
    "clinc150": ("text-classification", [], ["--epochs", "1", "--learning-rate", "3e-4"], 48),
    "xquad": ("question-answering", [], ["--epochs", "1", "--batch-size", "16", "--learning-rate", "1e-4",
                                         "--stride", "48"], 192),
}


def run(program, *words, quiet=False):
    command = [str(word) for word in (program, *words)]
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE if quiet else None, text=True, check=True)
    return json.loads(done.stdout) if quiet else None


def measure(limbeck, name, role, folder, data, out):
    """Packs a model (fp32 and int8), calibrates it if it is a classifier, and measures both on test."""
    task, columns, _, longest = TASKS[name]
    find = lambda part: next(data.glob(f"{part}.*"))
    train = json.loads((folder / "finetune.json").read_text())
    calibrated = train["goal"] in ("class", "labels")
    rows = []
    for storage in ("fp32", "int8"):
        bundle = out / f"{name}-{role}-{storage}.limbeck"
        verb = ["pack"] if storage == "fp32" else ["quantize", "--unproven"]
        run(limbeck, *verb, folder, "-o", bundle, "--task", task, "--max-tokens", longest, "--language", "en")
        scope = []
        if calibrated:
            outside = data / "dev_out_of_scope.tsv"
            fit = ["--out-of-scope", outside] if outside.exists() else []
            run(limbeck, "calibrate", bundle, "--data", find("dev"), "-o", bundle, *columns, *fit)
            outside = data / "test_out_of_scope.tsv"
            scope = ["--out-of-scope", outside] if outside.exists() else []
        run(limbeck, "verify", bundle)
        quality = run(limbeck, "eval", bundle, find("test"), *columns, *scope, "--json", quiet=True)
        rows.append({
            "set": name, "role": role, "storage": storage, "task": task, "layers": len(train["layers"]),
            "bytes": bundle.stat().st_size, "examples": quality["examples"], "metrics": quality["metrics"],
            "dev": {"measure": train["measure"], "value": train["outcome"]["best_dev"]},
            "train_rows": train["train_rows"], "train_seconds": round(train["wall_seconds"]),
        })
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--limbeck", default="target/release/limbeck")
    parser.add_argument("--only", choices=TASKS, action="append")
    arguments = parser.parse_args()
    limbeck, out = arguments.limbeck, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in arguments.only or TASKS:
        data = arguments.data / name
        if not data.is_dir():
            print(f"{name}: {data} is not there, left out")
            continue
        task, columns, settings, longest = TASKS[name]
        start, layers = arguments.model, []
        for role in ("teacher", "student"):
            folder = out / f"{name}-{role}"
            run(limbeck, "finetune", "--task", task, "--model", start, *layers, "--out", folder,
                "--train", next(data.glob("train.*")), "--dev", next(data.glob("dev.*")),
                "--max-tokens", longest, *settings, *columns)
            rows += measure(limbeck, name, role, folder, data, out)
            start, layers = folder, ["--layers", "3"]
        trained = json.loads((folder / "finetune.json").read_text())
        results = {"schema": 1, "date": trained["date"], "machine": trained["machine"], "rows": rows}
        (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"{out / 'results.json'} is written")


if __name__ == "__main__":
    main()

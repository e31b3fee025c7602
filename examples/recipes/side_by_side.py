"""Trains the seeds of a recipe side by side, each in a process of its own, and then measures them all. Standard library only.

    python3 side_by_side.py --limbeck target/release/limbeck --seeds 1,2,3 --out out/wikiann -- \\
        --recipe examples/recipes/wikiann/3x384/recipe.toml --teacher all-minilm-l6-v2 --data prepared/wikiann --device cuda

What stands behind `--` is given to every `limbeck distill`. For a GPU that one training does not fill: on a CPU processes take
each other's cores. The teacher is trained once, with the first seed; the others begin when it is done. What was finished stays: after
a kill the same command goes on.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbeck", required=True, help="the program")
    parser.add_argument("--seeds", required=True, help="two or more, with commas between them")
    parser.add_argument("--out", type=Path, required=True, help="folder for results; OUT-seed-N beside it are taken for the while")
    parser.add_argument("rest", nargs="*", help="options of limbeck distill, behind --")
    args = parser.parse_args()
    first, *others = args.seeds.split(",")
    out, apart = args.out, {seed: args.out.with_name(f"{args.out.name}-seed-{seed}") for seed in others}

    def distill(folder, *more):
        words = ["distill", *args.rest, "--seeds", args.seeds, "--out", folder, "--cache", out / "cache", *more]
        return [args.limbeck, *map(str, words)]

    running = {}

    def start(seed, folder):
        folder.mkdir(parents=True, exist_ok=True)
        log = open(folder / "side_by_side.log", "ab")
        running[seed] = subprocess.Popen(distill(folder, "--only-seed", seed), stdout=log, stderr=log)
        print(f"seed {seed}: {folder / 'side_by_side.log'}", flush=True)

    def wait(until):
        """Until something is so, or all are done."""
        while any(process.poll() is None for process in running.values()) and not until():
            time.sleep(0.2)
        failed = [seed for seed, process in running.items() if process.poll()]
        if failed:
            sys.exit(f"seed {failed[0]} failed; its log says why")

    # Of an earlier try: folders that were moved already are trained.
    waiting = [seed for seed in others if not all((out / f"{name}-seed-{seed}").exists() for name in ("student", "control"))]
    try:
        start(first, out)
        log = out / "train.log"
        wait(lambda: log.exists() and "\nStudent: " in log.read_text(encoding="utf-8"))
        for seed in waiting:
            for teacher in out.glob("teacher*/stage.json"):
                shutil.copytree(
                    teacher.parent,
                    apart[seed] / teacher.parent.name,
                    dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("resume.safetensors", "best-*"),
                )
            start(seed, apart[seed])
        wait(lambda: False)
    finally:
        # When one fails the others are ended.
        for process in running.values():
            process.terminate()
            process.wait()
    for seed in waiting:
        for name in ("student", "control"):
            folder = out / f"{name}-seed-{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            (apart[seed] / folder.name).rename(folder)
        with open(out / "train.log", "a", encoding="utf-8") as log:
            log.write((apart[seed] / "train.log").read_text(encoding="utf-8"))
        shutil.rmtree(apart[seed])
    sys.exit(subprocess.run(distill(out)).returncode)


if __name__ == "__main__":
    main()

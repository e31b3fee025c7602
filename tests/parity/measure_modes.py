"""Size, quality and latency of one model in every mode of `limbeck quantize`, as docs/quantization-results.md.

    python3 tests/parity/measure_modes.py LIMBECK MODEL DATA.jsonl SCRATCH > docs/quantization-results.md

LIMBECK is the program, MODEL a Hugging Face folder, DATA labelled rows (for quality, and for calibration). Modes take turns
in ROUNDS rounds of fresh processes; of each length the least of their medians is given: the machine may be shared.
"""

import datetime
import json
import platform
import subprocess
import sys

ROUNDS, LENGTHS = 2, "16,128"
STATIC = ["--mode", "int8-static", "--calibration-data"]
MODES = [
    ("fp32", None),
    ("fp16", ["--mode", "fp16"]),
    ("int8", ["--mode", "int8"]),
    ("int8, table int4", ["--mode", "int8", "--table", "int4"]),
    ("int8-dynamic", ["--mode", "int8-dynamic"]),
    ("int8-static, percentile", [*STATIC, "DATA", "--observer", "percentile"]),
    ("int8-weights, 32", ["--mode", "int8-weights"]),
    ("int4-weights, 32", ["--mode", "int4-weights"]),
    ("int4-weights, 32, zero points", ["--mode", "int4-weights", "--zero-points"]),
    ("int4-weights, 128", ["--mode", "int4-weights", "--block-size", "128"]),
]


def main(limbeck, model, data, scratch):
    def run(*arguments):
        output = subprocess.run([limbeck, *arguments, "--json"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(output.stdout)

    rows = []
    for number, (name, options) in enumerate(MODES):
        bundle = f"{scratch}/mode-{number}.limbeck"
        if options is None:
            made = run("pack", model, "-o", bundle)
        else:
            options = [data if option == "DATA" else option for option in options]
            made = run("quantize", model, "-o", bundle, "--unproven", *options)
        quality = run("eval", bundle, data)["metrics"]["accuracy"]
        rows.append({"name": name, "bundle": bundle, "bytes": made["bytes"], "quality": quality, "ms": {}, "mb": []})
    for _ in range(ROUNDS):
        for row in rows:
            result = run("bench", row["bundle"], "--lengths", LENGTHS, "--runs", "30", "--warm-up", "5")
            row["mb"].append((result["peak_memory_mb"] - result["resident_before_open_mb"]))
            for case in result["cases"]:
                row["ms"].setdefault(case["tokens"], []).append(case["p50_ms"])
    lengths = sorted(rows[0]["ms"])
    count = sum(1 for _ in open(data, encoding="utf-8"))
    print("# Modes of `limbeck quantize`, measured\n")
    print(f"{datetime.date.today()}, {platform.machine()}, one thread, a shared machine: compare rows, not with other pages. Made by")
    print("[tests/parity/measure_modes.py](../tests/parity/measure_modes.py) with the student of the sentiment recipe (3 layers of 384,")
    print(f"17.4 M parameters) on {count:,} of its 3,000 sentences, of which it was trained on most: what counts is the difference to fp32.")
    print("Memory is what opening and running add to the process.\n")
    print("| mode | file, MB | accuracy | " + " | ".join(f"{length} tokens, ms" for length in lengths) + " | memory, MB |")
    print("|---|---|---|" + "---|" * (len(lengths) + 1))
    for row in rows:
        times = " | ".join(f"{min(row['ms'][length]):.2f}" for length in lengths)
        print(f"| {row['name']} | {row['bytes'] / 1e6:.1f} | {row['quality']:.1%} | {times} | {min(row['mb']):.0f} |")


main(*sys.argv[1:])

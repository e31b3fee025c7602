"""Runs the graphs that `limbeck export` writes in PyPI onnxruntime, and compares what they give.

    python check_graphs.py --limbeck PROGRAM FOLDER...

A FOLDER is one that the test `written_checkpoints_for_transformers` wrote: a checkpoint, its batch (`case.json`) and what
limbeck's libtorch model makes of it (`outputs.safetensors`). Each is exported in both profiles with a mask, loaded and run.
Prints a line a folder; exits with 1 if one differs by more than 1e-4 outside of padding.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import onnxruntime
from safetensors.numpy import load_file

LIMIT = 1e-4
NAMES = {"sentence_logits": "sentence_logits", "pooler_output": "pooled", "logits": "logits",
         "start_logits": "start_logits", "end_logits": "end_logits"}


def export(program, folder, profile, out, *more):
    command = [program, "export", folder, "--mask", "--profile", profile, "--out", out, *more]
    subprocess.run(command, check=True, capture_output=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(out / "model.onnx", options, providers=["CPUExecutionProvider"])


def run(program, folder, profile, out):
    case = json.loads((folder / "case.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    types = config.get("type_vocab_size", 0) > 1 and "token_type_ids" in case
    session = export(program, folder, profile, out, *["--token-types"] * types)
    feeds = {i.name: numpy.array(case[i.name], dtype=numpy.int32) for i in session.get_inputs()}
    mask = numpy.array(case["attention_mask"])
    want = load_file(folder / "outputs.safetensors")
    last = max(int(name.split(".")[1]) for name in want if name.startswith("hidden."))
    names = NAMES | {"last_hidden_state": f"hidden.{last}"}
    largest = 0.0
    for output, value in zip(session.get_outputs(), session.run(None, feeds)):
        reference = want[names[output.name]]
        assert value.shape == reference.shape, f"{output.name} has shape {value.shape}, not {reference.shape}"
        keep = numpy.ones(value.shape[:1]) if value.shape[:2] != mask.shape else mask
        keep = keep.reshape(keep.shape + (1,) * (value.ndim - keep.ndim))
        difference = numpy.abs(value - reference) * keep
        assert numpy.isfinite(difference).all(), f"{output.name} is not finite"
        largest = max(largest, float(difference.max()))
    if "LMHeadModel" in config["architectures"][0]:
        session = export(program, folder, profile, out, "--cache")
        largest = max(largest, decode(session, case, want["logits"]))
    assert largest <= LIMIT, f"differs by {largest:.1e}"
    return largest


def decode(session, case, want):
    """Decodes token by token after a prompt of two, with the keys and values of earlier tokens."""
    ids, mask = (numpy.array(case[key], dtype=numpy.int32) for key in ("input_ids", "attention_mask"))
    past = {i.name: numpy.zeros([len(ids), i.shape[1], 0, i.shape[3]], numpy.float32)
            for i in session.get_inputs() if i.name.startswith("past_")}
    done, largest = 0, 0.0
    while done < ids.shape[1]:
        step = 2 if done == 0 else 1
        feeds = {"input_ids": ids[:, done:done + step], "attention_mask": mask[:, :done + step]} | past
        outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))
        difference = numpy.abs(outputs["logits"] - want[:, done:done + step]) * mask[:, done:done + step, None]
        largest = max(largest, float(difference.max()))
        past = {name: outputs[name.replace("past_", "present_")] for name in past}
        done += step
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbeck", required=True, help="the limbeck program")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}")
    failed = False
    for folder in arguments.folders:
        with tempfile.TemporaryDirectory() as out:
            try:
                found = [run(arguments.limbeck, folder, p, Path(out) / p) for p in ("ort", "portable")]
                print(f"ok   {folder.name}: ort {found[0]:.1e}, portable {found[1]:.1e}")
            except (AssertionError, subprocess.CalledProcessError, RuntimeError) as error:
                failed = True
                print(f"FAIL {folder.name}: {getattr(error, 'stderr', b'') or error}")
    sys.exit(failed)


if __name__ == "__main__":
    main()

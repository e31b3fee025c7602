"""What order.py and replaced.py share: their arguments, and results.json, of which each writes its own part."""

import argparse
import json
import pathlib


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--limbeck", default="limbeck")
    return parser


def record(results, name, found):
    known = json.loads(results.read_text()) if results.exists() else {}
    results.write_text(json.dumps(known | {name: found}, indent=2) + "\n")

"""``python -m limbeck``: looks at a bundle, and measures it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Optional

from . import Bundle, Error, __version__
from ._bench import TEXT, bench, table


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m limbeck",
        description="Looks at limbeck bundles, and measures how fast they run from Python.",
        epilog="example: python -m limbeck bench sentiment.limbeck --seconds 5 --json",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    info = verbs.add_parser("info", help="say what a bundle is")
    info.add_argument("bundle")
    info.add_argument("--json", action="store_true", help="its whole manifest")
    run = verbs.add_parser("bench", help="measure a bundle")
    run.add_argument("bundle")
    run.add_argument("--text", default=TEXT, help="the text that is read (default: a sentence of 80 letters)")
    run.add_argument("--seconds", type=float, default=2.0, help="how long (default 2), ten calls at least")
    run.add_argument("--threads", type=int, default=0, help="threads of one call (default 1)")
    run.add_argument(
        "--runtime", metavar="FILE", help="the ONNX Runtime library (default: that of onnxruntime)"
    )
    run.add_argument("--json", action="store_true", help="a JSON object instead of a table")
    given = parser.parse_args(arguments)
    try:
        if given.verb == "info":
            with Bundle(given.bundle) as bundle:
                if given.json:
                    print(json.dumps(bundle.manifest, indent=2, ensure_ascii=False))
                else:
                    print(f"{bundle.id} {bundle.version}, build {bundle.build}, {bundle.size} bytes")
                    print(f"{bundle.task}, up to {bundle.max_tokens} tokens")
                    print("labels: " + (", ".join(bundle.labels) or "none"))
            return 0
        report = bench(
            given.bundle, runtime=given.runtime, text=given.text, seconds=given.seconds, threads=given.threads
        )
    except Error as error:
        print(f"error: {error.status_name}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2) if given.json else table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

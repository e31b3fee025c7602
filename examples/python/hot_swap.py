"""Serves texts from standard input while a newer model replaces the one in use: no call fails for it, and a candidate
that is worse is refused.

    python hot_swap.py BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts

One text a line; the newer bundle is tried after the first one.
"""

import sys

import limbeck


def replace(slot: limbeck.Slot, path: str) -> None:
    """A candidate that cannot be opened, does another task, is older, or fails its own self-test is told, and the
    model in use stays."""
    try:
        with limbeck.Model(path) as candidate:
            slot.publish(candidate)  # the slot holds what it uses
    except limbeck.Error as error:
        print(f"not replaced: {error.status_name}: {error}")


def main(arguments: list[str]) -> int:
    if len(arguments) != 3:
        print("usage: hot_swap.py BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts", file=sys.stderr)
        return 2
    path, runtime, newer = arguments
    try:
        with limbeck.Model(path, runtime=runtime) as first, limbeck.Slot(first) as slot:
            for number, line in enumerate(sys.stdin):
                text = line.rstrip("\n")
                with slot.model() as model:  # the one that is in use at this moment
                    best = model.classify(text).best
                print(f"model {slot.generation}: {best.label}  {best.probability:.3f}  {text}")
                if number == 0:
                    replace(slot, newer)
    except limbeck.Error as error:
        print(f"{error.status_name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

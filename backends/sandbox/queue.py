"""The submission queue of the `jobs` route: a weight in a file, set and read by a program, as a plan's `command` route wants it.

    python -m backends.sandbox.queue DIR get
    python -m backends.sandbox.queue DIR set 100

Standard library only, so that it starts fast. `set` replaces the file as a whole and may be repeated.
"""

from __future__ import annotations

import json
import os
import sys

_USAGE = "usage: python -m backends.sandbox.queue DIR get | DIR set WEIGHT (0..100)"


def read(folder: str) -> int:
    """The weight on the target; 0 where none was ever set."""
    try:
        with open(os.path.join(folder, "queue.json")) as file:
            return int(json.load(file)["weight"])
    except FileNotFoundError:
        return 0


def write(folder: str, weight: int) -> None:
    """Set the weight, durably."""
    path = os.path.join(folder, "queue.json")
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w") as file:
        json.dump({"weight": weight}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def main(argv: list[str]) -> int:
    """Returns the exit code."""
    match argv:
        case [folder, "get"]:
            sys.stdout.write(f"{read(folder)}\n")
            return 0
        case [folder, "set", text] if text.isdecimal() and int(text) <= 100:
            write(folder, int(text))
            return 0
    sys.stderr.write(f"{_USAGE}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

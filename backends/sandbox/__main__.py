"""`python -m backends.sandbox --dir DIR [--scenario NAME] [--seed N] [--with-parent PID]`: the sandbox as a process of its own.

One JSON line on stdout once all is up; runs until SIGTERM or SIGINT. With `--with-parent PID` it ends when that process, the one
that started it, does.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from backends.errors import CutoverError
from backends.sandbox.parent import die_with_parent


def main(argv: list[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m backends.sandbox")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--scenario", default="clean")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--with-parent", type=int, metavar="PID")
    options = parser.parse_args(argv)
    if options.with_parent is not None:
        die_with_parent(options.with_parent, signal.SIGTERM)
    from backends.sandbox.foreground import run_foreground

    try:
        run_foreground(options.dir, options.scenario, options.seed)
    except CutoverError as error:
        sys.stderr.write(f"sandbox: {error.message}\n{error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m backends.engine`: the engine's process. People start it with `cutover up`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backends.engine.paths import journal_of
from backends.engine.process import main

parser = argparse.ArgumentParser(prog="cutover-engine")
parser.add_argument("--state", required=True)
parser.add_argument("--plan")
parser.add_argument("--first-plan", help="as --plan where the folder holds no journal yet; else the plan is the journal's")
parser.add_argument("--ready-fd", type=int)
parser.add_argument("--companion", type=int, help="end when this process does")
parser.add_argument("--take-over", action="store_true", help="take the migration from an engine elsewhere")
given = parser.parse_args()
is_new = not journal_of(Path(given.state)).is_file()
plan = given.plan or (given.first_plan if is_new else None)
sys.exit(main(given.state, plan, given.ready_fd, given.companion, take_over=given.take_over))

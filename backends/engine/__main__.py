"""`python -m backends.engine`: the engine's process. People start it with `cutover up`."""

from __future__ import annotations

import argparse
import sys

from backends.engine.process import main

parser = argparse.ArgumentParser(prog="cutover-engine")
parser.add_argument("--state", required=True)
parser.add_argument("--plan")
parser.add_argument("--ready-fd", type=int)
parser.add_argument("--companion", type=int, help="end when this process does")
given = parser.parse_args()
sys.exit(main(given.state, given.plan, given.ready_fd, given.companion))

"""Named points at every step boundary at which a test can kill the engine.

`CUTOVER_FAILPOINT=NAME[@N]` ends the process with SIGKILL when the point is reached for the Nth time (the first by default);
`CUTOVER_FAILPOINT_LOG=FILE` notes every point that is passed. Without either, a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Pass the point `name`, or die there."""
    log = os.environ.get("CUTOVER_FAILPOINT_LOG")
    wanted = os.environ.get("CUTOVER_FAILPOINT")
    if not log and not wanted:
        return
    _passed[name] += 1
    if log:
        with open(log, "a") as file:
            file.write(f"{name}@{_passed[name]}\n")
    if wanted:
        point, _, count = wanted.partition("@")
        if point == name and _passed[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)

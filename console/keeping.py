"""What a command has measured, into the migration's journal: by the engine that runs, else here under the migration's lock."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

from console.commands.transfer_bar import run
from console.engine import command as give
from console.sync_turn import engine_runs


def see_that_it_can_be_kept(folder: Path, plan: Path, who: str) -> None:
    """Before anything is measured: the folder is this migration's, its plan may be this one, and nobody else holds it."""
    if not engine_runs(folder):
        run(_keep_here(folder, plan, who, "", None))


def keep(folder: Path, plan: Path, who: str, kind: str, result: dict[str, Any]) -> None:
    """`kind`: of the event, and the engine's command that makes it. Raises `CutoverError` where it cannot be kept."""
    if engine_runs(folder):
        give(folder, kind, {"result": result})
    else:
        run(_keep_here(folder, plan, who, kind, result))


async def _keep_here(folder: Path, plan: Path, who: str, kind: str, result: dict[str, Any] | None) -> None:
    from backends.engine.process import alone

    async with alone(folder, plan, who) as engine:
        if result is not None:
            await engine.record(kind, json.loads(json.dumps(result)), actor=getpass.getuser())

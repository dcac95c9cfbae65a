"""A training command on a host: started so that it outlives our link, waited for, ended when its time is over, and cleared away.

The command runs in a session of its own, in a folder of ours on the host (0700, a random name) that holds its process id, its output, its
exit status and the figures that it writes. A link that is lost is made again: the command goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.escape import plain
from backends.plan.models import Source
from backends.ssh.errors import LinkLost, SshError
from backends.ssh.models import CommandResult
from backends.ssh.pool import SshPool
from backends.validation.errors import TrialFailed

CALL_SECONDS = 30.0
LOST_SECONDS = 120.0  # that a host may be out of reach before a run counts as lost
_SOONEST, _LATEST = 0.1, 5.0  # seconds between two looks
_SHOWN = 2000  # bytes of output
# Constant text: folder, working folder and argv come as arguments, never as text of a shell.
_START = (
    'umask 077; mkdir -- "$1" || exit 3; cd -- "$2" || { rmdir -- "$1"; exit 4; }; dir=$1; shift 2; '
    'setsid sh -c \'dir=$1; shift; echo $$ >"$dir/pid"; "$@" >"$dir/output" 2>&1 </dev/null; '
    'echo $? >"$dir/ended"; mv "$dir/ended" "$dir/status"\' sh "$dir" "$@" >/dev/null 2>&1 </dev/null & '
    # Not before its number is known: whoever ends it right away could not kill it.
    'i=0; while [ ! -s "$dir/pid" ] && [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done'
)
_LOOK = (
    'if [ -f "$1/status" ]; then cat "$1/status"; elif [ ! -f "$1/pid" ] || kill -0 "$(cat "$1/pid")" 2>/dev/null; '
    'then echo running; elif [ -f "$1/status" ]; then cat "$1/status"; else echo gone; fi'
)
_OUTPUT = 'tail -c "$2" -- "$1/output"'
_END = 'pid=$(cat "$1/pid" 2>/dev/null) && [ ! -f "$1/status" ] && kill -KILL -- "-$pid" 2>/dev/null; rm -rf -- "$1" || { sleep 0.2; rm -rf -- "$1"; }'


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: its exit status, how long it took, the end of what it printed."""

    status: int
    seconds: float
    output: str


class RemoteRun:
    """One run of `argv` on `host`, in `folder` there (the login's home where it is empty). `async with`: nothing of it stays at the end."""

    def __init__(self, pool: SshPool, host: str, argv: Sequence[str], *, folder: str, env: Mapping[str, str], seed: int) -> None:
        self.host = host
        self.place = f"/tmp/cutover-validate-{secrets.token_hex(16)}"
        out = f"{self.place}/figures"
        replaced = [word.replace("{seed}", str(seed)).replace("{out}", out) for word in argv]
        given = {"PYTHONHASHSEED": str(seed % 2**32)} | dict(env) | {"CUTOVER_SEED": str(seed), "CUTOVER_OUT": out}
        self._argv = ["env", *(f"{name}={value}" for name, value in given.items()), *replaced]
        self._pool = pool
        self._folder = folder or "."
        self._began = 0.0

    def source(self, value: str, by: str) -> Source:
        """Where the figures are that it writes."""
        return Source.model_validate({"file": f"ssh://{self.host}{self.place}/figures", "value": value, "by": by})

    async def __aenter__(self) -> RemoteRun:
        self._began = time.monotonic()
        starting = asyncio.create_task(self._call(_START, self.place, self._folder, *self._argv), name=f"start on {self.host}")
        try:
            said = await asyncio.shield(starting)
        except (SshError, asyncio.CancelledError):
            # It may have been begun, or be just about to: cleared away only when that has ended.
            await asyncio.wait({starting})
            await self.__aexit__()
            raise
        if said.exit_status == 4:
            raise TrialFailed(f"there is no folder {plain(self._folder, 200)} on {plain(self.host)}")
        if said.exit_status:
            raise TrialFailed(f"could not begin on {plain(self.host)}: {plain(said.stderr.strip(), 300)}")
        return self

    async def __aexit__(self, *error: object) -> None:
        """End what still runs, and clear the folder away; a host that is out of reach keeps it."""
        clearing = asyncio.create_task(self._clear(), name=f"clear {self.host}")
        try:
            await asyncio.shield(clearing)
        except asyncio.CancelledError:
            # The other side has failed meanwhile: the connection stays until this one is cleared too.
            await asyncio.wait({clearing})
            raise

    async def _clear(self) -> None:
        with contextlib.suppress(SshError, TimeoutError):
            async with asyncio.timeout(CALL_SECONDS):
                await self._call(_END, self.place)

    async def wait(self, limit: float) -> Ended:
        """Until it has ended. Raises `TrialFailed` when `limit` seconds are over, or it is gone."""
        pause, lost_since = _SOONEST, None
        while True:
            try:
                said = (await self._call(_LOOK, self.place)).stdout.decode("ascii", "replace").strip()
                lost_since = None
            except SshError as error:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > LOST_SECONDS:
                    raise TrialFailed(f"{plain(self.host)} is out of reach: {error.message}") from error
                said = "running"
            seconds = time.monotonic() - self._began
            if said.isdigit():
                output = (await self._call(_OUTPUT, self.place, str(_SHOWN))).stdout
                return Ended(int(said), seconds, plain(output.strip(), _SHOWN))
            if said != "running":
                raise TrialFailed(f"the run on {plain(self.host)} is gone without a status: was it killed?")
            if seconds > limit:
                raise TrialFailed(f"the run on {plain(self.host)} has not ended within {limit:g} s")
            await asyncio.sleep(pause)
            pause = min(_LATEST, pause * 1.5)

    async def _call(self, script: str, *args: str) -> CommandResult:
        argv = ["sh", "-c", script, "sh", *args]
        try:
            return await self._pool.run(self.host, argv, timeout=CALL_SECONDS)
        except LinkLost:
            if script == _START:
                raise  # whether it was begun is not known; its folder's name is ours alone, so it is not begun twice
            return await self._pool.run(self.host, argv, timeout=CALL_SECONDS)

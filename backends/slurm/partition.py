"""The state of a partition of Slurm (22.05 and later), asked and set by `scontrol` where its controller is reached.

Measured on 22.05: UP queues and starts; DRAIN refuses submissions and still starts what is queued; INACTIVE refuses and starts nothing; DOWN
queues and starts nothing.
"""

from __future__ import annotations

from backends.errors import CouldNot
from backends.escape import plain
from backends.ssh.place import Places, shown, shown_argv

LIMIT = 15.0
UP, DRAIN = "UP", "DRAIN"
STATES = (UP, DRAIN, "DOWN", "INACTIVE")


class SlurmError(CouldNot):
    """Slurm could not be asked or told."""

    code = "slurm_error"


def parse_partition(text: str, name: str) -> str:
    """The state in the answer of `scontrol -o show partition NAME`. Raises ValueError where it is not that."""
    words = text.split()
    states = [word.removeprefix("State=") for word in words if word.startswith("State=")]
    if f"PartitionName={name}" not in words or len(states) != 1 or states[0] not in STATES:
        raise ValueError(f"scontrol answered `{plain(text.strip(), 120)}`, which says no state of partition {name}")
    return states[0]


async def ask_slurm(places: Places, argv: tuple[str, ...], seconds: float = LIMIT) -> str:
    """Run one of Slurm's commands where its controller is reached. Raises `SlurmError` with what it said, and its cure."""
    host = places.hosts[0]
    said = await places.run(host, argv, seconds)
    if said.status == 0:
        return said.out
    low, hint = said.words.lower(), ""
    if "access/permission denied" in low or "invalid user" in low:
        hint = "the user of that host must be an operator of Slurm: sacctmgr modify user USER set adminlevel=operator"
    elif "not found" in low or "invalid partition" in low:
        hint = "see sinfo there; a command not found: name a host with Slurm's commands first in runs_on, or write on: engine"
    elif "unable to contact" in low or "configuration source" in low:
        hint = "slurmctld does not answer there: see scontrol ping"
    raise SlurmError(f"`{shown_argv(argv)}` on {shown(host)} ended with {said.status}: {said.words}", hint=hint)


async def partition_state(places: Places, name: str) -> str:
    """UP, DRAIN, DOWN or INACTIVE. Raises `SlurmError`."""
    try:
        return parse_partition(await ask_slurm(places, ("scontrol", "-o", "show", "partition", name)), name)
    except ValueError as error:
        raise SlurmError(str(error)) from error


async def set_partition(places: Places, name: str, state: str) -> None:
    """Absolute, safe to repeat. Raises `SlurmError`."""
    await ask_slurm(places, ("scontrol", "update", f"PartitionName={name}", f"State={state}"))

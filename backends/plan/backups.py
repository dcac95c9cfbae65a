"""What of a plan says how a dataset is backed up before it moves: `backups`."""

from __future__ import annotations

from typing import Literal

from backends.plan.parts import Argv, Part
from backends.plan.units import Duration

KEPT = 3  # good snapshots, where the plan does not say


class Backup(Part):
    """Of legacy's side of a dataset: the versions that its bucket keeps, a snapshot in a folder of its own, or what a command makes there.

    `to` names the store below which snapshots lie; without it they lie beside legacy's tree. `command` gets `{place}`, the URL of the
    snapshot's folder, and `{number}`. `every`: in staging it is taken anew that often, and an older one is late. `keep`: so many snapshots whose
    trial was good stay, and older ones go until the plan is armed; None, the default of the other kinds, keeps all.
    """

    dataset: str
    kind: Literal["versioned", "snapshot", "command"]
    to: str | None = None
    command: Argv | None = None
    timeout: Duration = 3600.0  # of the command
    every: Duration | None = None
    keep: int | None = None

    @property
    def kept(self) -> int | None:
        """How many good ones stay; None: all."""
        return self.keep if self.keep is not None or self.kind != "snapshot" else KEPT

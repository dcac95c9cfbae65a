"""What a round of sync is asked to do, how far it is, and what came of it. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Proof = Literal["stored_checksums", "combined_parts", "manifest", "re_read", "size_only"]
Direction = Literal["forward", "reverse"]


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """How a round copies. `bandwidth` in bits a second, shared by all its streams."""

    parallel: int = 10
    bandwidth: float | None = None
    exclude: tuple[str, ...] = ()
    delete: bool = False  # only by plan, only after commit
    max_delete: float = 0.01
    dry_run: bool = False
    retry_failed: bool = False
    newest_first: bool = False
    folders: bool = False  # unit: folder
    direction: Direction = "forward"
    accept_empty: bool = False  # an operator has said that a suddenly empty side is meant


@dataclass(slots=True)
class Progress:
    """Live figures of the round in progress; the engine reads them while the round writes them. Never goes backwards."""

    status: Literal["waiting", "listing", "copying", "in sync", "failed"] = "waiting"
    listed: int = 0
    objects_total: int = 0  # listed on the source
    objects_done: int = 0  # equal on both sides by now
    bytes_total: int = 0
    bytes_done: int = 0
    to_copy_objects: int = 0  # of this round
    to_copy_bytes: int = 0
    copied_objects: int = 0
    copied_bytes: int = 0
    failed: int = 0
    oldest_missing_at: datetime | None = None
    active: dict[str, tuple[int, int]] = field(default_factory=dict)  # key -> (done, size), bytes


@dataclass(frozen=True, slots=True)
class Failure:
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What one round did; `lag_*` is what the other side still lacks at its end (0, 0, 0.0 when in sync)."""

    dataset: str
    direction: Direction
    listed: int
    copied: int
    unchanged: int
    deleted: int
    failed: int
    bytes: int  # sent
    seconds: float
    proofs: dict[Proof, int]
    failures: tuple[Failure, ...]
    repaired: tuple[Failure, ...]  # damaged on the way, found by the proof, copied again
    lag_objects: int
    lag_bytes: int
    lag_seconds: float
    objects_total: int
    bytes_total: int
    resent_bytes: int = 0  # of a copy that an earlier run had begun
    compared: int = 0  # found on the target unknown to the index, proven equal, not copied; part of `unchanged`
    vanished: int = 0  # gone from the source between listing and copy; no failure
    aborted_uploads: int = 0  # left open by an earlier run
    dry_run: bool = False

    @property
    def is_proven(self) -> bool:
        """In sync, with nothing failed and nothing that rests on size alone."""
        return self.failed == 0 and self.lag_objects == 0 and not self.proofs.get("size_only")

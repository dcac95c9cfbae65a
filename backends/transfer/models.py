"""What a round of sync is asked to do, how far it is, and what came of it. Sizes in bytes, times in seconds."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from backends.transfer.pace import Pace
    from backends.transfer.workers.fleet import Fleet

Proof = Literal["stored_checksums", "combined_parts", "manifest", "re_read", "size_only"]
Direction = Literal["forward", "reverse"]
Status = Literal["waiting", "listing", "copying", "verifying", "in sync", "failed"]
FAILURES_SHOWN = 20
MARKERS = (
    "_SUCCESS",
    "*.complete",
    ".metadata",
    "latest",
    "*.index.json",
    "trainer_state.json",
)  # written last by who writes folders
DELETES_LISTED = 100_000  # of what would be deleted, at most so many are named in a result


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """How a round copies. `bandwidth` in bits a second, shared by all its streams."""

    parallel: int = 10  # objects under way, at most
    bandwidth: float | None = None
    pace: Pace | None = None  # that of the session, shared by all its rounds; None: one of its own
    fleet: Fleet | None = None  # the hosts that carry too, of this round only
    exclude: tuple[str, ...] = ()
    delete: bool = False  # the plan says `after-commit`
    delete_barred: str = "the migration is not committed"  # SR4: why nothing may be deleted now; "" where it may
    max_delete: float = 0.01
    dry_run: bool = False
    retry_failed: bool = False
    newest_first: bool = False
    folders: bool = False  # unit: folder
    markers: tuple[str, ...] = MARKERS
    settle: float = 30.0  # seconds that a folder must have been quiet before it is copied
    copy_seconds: float | None = None  # then begin nothing more: what is newest by now is found by the next round
    direction: Direction = "forward"
    accept_empty: bool = False  # an operator has said that a suddenly empty side is meant


@dataclass(frozen=True, slots=True)
class Failure:
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A folder, or a marker above folders, that was left for the next round."""

    folder: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deletes:
    """What legacy no longer has. `deletable` objects of the target are copies of ours, unchanged since, and gone from legacy; `listed`
    names what went, or would go, the first `DELETES_LISTED`. `rule` and `reason` say why they were left: SR4 before the commit,
    MAX_DELETE, or "" for what passes by itself."""

    deletable: int = 0
    bytes: int = 0
    kept: int = 0  # found changed, or back on legacy, at the last look
    rule: str = ""
    reason: str = ""
    listed: tuple[str, ...] = ()


@dataclass(slots=True)
class Progress:
    """Live figures of the round in progress: plain attributes that the round writes and others read (`trend.Trend`) when they like.

    One of them may serve many rounds; `rounds` tells them apart. What a round found is written when its listings have ended.
    """

    status: Status = "waiting"
    began_at: float = 0.0  # `time.monotonic()` at the start of this round
    rounds: int = 0  # whose listings have come to their end
    only_failed: bool = False  # nothing is listed, the totals are of what failed last time
    is_listed: bool = False  # both listings have come to their end; the totals stand
    listed: int = 0
    objects_total: int = 0  # listed on the source
    objects_done: int = 0  # equal on both sides by now
    bytes_total: int = 0
    bytes_done: int = 0
    found_objects: int = 0  # that the other side lacked at the end of this round's listings
    found_bytes: int = 0
    found_seconds: float = 0.0  # age of the oldest of them
    to_copy_objects: int = 0  # of this round
    to_copy_bytes: int = 0  # less what an earlier run had left of them on the target
    to_compare: int = 0  # objects that may be there already: compared, and copied where they differ
    copied_objects: int = 0
    copied_bytes: int = 0
    compared: int = 0
    left_objects: int = 0  # to copy and to compare, whose end is not known yet
    failed: int = 0
    failed_bytes: int = 0  # of `to_copy_bytes`, that will not come in this round
    oldest_missing_at: datetime | None = None
    active: dict[str, tuple[int, int]] = field(default_factory=dict)  # key -> (done, size), bytes; the first began first
    resumed: dict[str, int] = field(
        default_factory=dict
    )  # key -> bytes that arrived in an earlier run, of objects not yet active
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=FAILURES_SHOWN))  # the last some of this round
    proofs: Counter[Proof] = field(default_factory=Counter)  # of this round's objects
    streams: int = 0  # in use
    streams_limit: int = 0  # how many there may be now; 0 where there is no round
    busy: int = 0  # times that a store asked to slow down
    hub_bytes: int = 0  # sent to the hub by this round
    saved_bytes: int = 0  # that compression saved of them
    notes: list[str] = field(default_factory=list)  # what was found out about a store, for people


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
    only_failed: bool = False  # nothing was listed, all figures are of what had failed before
    listing_seconds: float = 0.0  # of `seconds`, until both listings had come to their end
    found_objects: int = 0  # that the other side lacked at the end of the listings
    found_bytes: int = 0
    found_seconds: float = 0.0  # age of the oldest of them
    hub_bytes: int = 0  # sent to the hub, where there is one
    saved_bytes: int = 0  # that compression saved of them

    waiting: tuple[Waiting, ...] = ()  # unit: folder: part of the lag, no failures
    deletes: Deletes = Deletes()
    was_cut: bool = False  # another round was due before all was begun
    carried: Mapping[str, int] = field(default_factory=dict)  # bytes by host where others carried too; this machine is ""

    @property
    def is_proven(self) -> bool:
        """In sync, with nothing failed and nothing that rests on size alone."""
        return self.failed == 0 and self.lag_objects == 0 and not self.proofs.get("size_only")

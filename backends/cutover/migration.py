"""Everything that a journal says of a migration, as it stands after its last event. Made by `backends.cutover.fold`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from backends.vocabulary import Phase, State

WAIVE = "preflight:"  # what the item of a signature begins with that waives what preflight could not prove
Writer = Literal["legacy", "none", "target"]
Direction = Literal["forward", "backward", "safety"]
StepStatus = Literal["waiting", "running", "confirmed", "failed", "skipped"]
SUBJECT = ("route", "workload", "dataset", "side", "reverse")  # what of its args says which thing an operation is done to


def thing(kind: str, args: Mapping[str, Any]) -> str:
    """What an operation does, and to what."""
    return " ".join([kind, *(f"{name}={args[name]}" for name in SUBJECT if name in args)])


@dataclass(slots=True)
class Hold:
    by: str
    reason: str
    at: datetime


@dataclass(slots=True)
class Signature:
    """What no machine can check, or what a person takes upon himself: who, why, when."""

    by: str
    reason: str
    at: datetime


@dataclass(slots=True)
class RouteFold:
    """`desired` is what we last meant, `confirmed` what was last seen to be so; `since` the observed time of that, from
    which windows of triggers start anew."""

    desired: int = 0
    confirmed: int = 0
    since: float = 0.0
    in_flight: bool = False
    foreign: str | None = None
    failed: int | None = None  # what our last change, which failed, had meant: it may yet come about
    leaving: bool = False  # its weight went to 0, and nobody has seen yet that its clients have left target

    def fell(self, weight: int) -> None:
        """The weight is this from now on, as far as we know."""
        self.leaving = self.leaving or (weight == 0 and max(self.confirmed, self.desired) > 0)

    def found(self, weight: int, now: float, *, was_foreign: bool = False) -> None:
        """It was not we who brought it to this weight, or not as we meant: soak and windows begin anew here (cutover.md, section 6)."""
        self.fell(weight)
        if weight != self.confirmed or was_foreign:
            self.since = now
        self.desired = self.confirmed = weight


@dataclass(slots=True)
class TtlFold:
    """A record's TTL in seconds: `before` we changed it, `now` as it was last confirmed (None: never set), since which observed time."""

    before: int
    now: int | None = None
    since: float = 0.0
    is_meant: bool = False  # somewhere between INTENT and its end, or never known to have failed

    @property
    def may_be_changed(self) -> bool:
        return self.is_meant or (self.now is not None and self.now != self.before)


@dataclass(slots=True)
class LongAnswerFold:
    """A TTL longer than the plan's that somebody had set, seconds: given out up to `until` (observed), None while it still was."""

    ttl: float
    names_target: bool
    until: float | None = None

    def left(self, now: float) -> float:
        """Seconds for which such an answer may still be used; while it is given out, or nobody looks, its whole TTL."""
        return self.ttl if self.until is None else self.ttl - (now - self.until)


@dataclass(slots=True)
class Token:
    """Who may write a dataset; `epoch` rises at each handover."""

    writer: Writer = "legacy"
    epoch: int = 0
    was_target: bool = False


@dataclass(slots=True)
class Op:
    """One operation of the journal, open until CONFIRMED, FAILED or FOREIGN."""

    id: str
    kind: str
    args: dict[str, Any]
    direction: Direction
    run: str
    status: Literal["INTENT", "SENT", "OBSERVED"] = "INTENT"
    limit: float = 30.0
    began: float = 0.0  # observed seconds
    boot: str = ""  # the boot in which it was meant, and its clock then, seconds
    boot_at: float = 0.0


@dataclass(slots=True)
class RunFold:
    """A run of several operations: an advance, a rollback."""

    id: str
    kind: str
    mode: str
    reason: str
    actor: str
    started_at: datetime
    steps: list[dict[str, Any]]
    status: list[StepStatus]
    detail: list[str]
    took: list[float | None]  # seconds of each confirmed step
    committed: bool = False  # its commit point has been passed
    ended_at: datetime | None = None
    outcome: str | None = None


@dataclass(slots=True)
class Armed:
    plan_hash: str
    weights: dict[str, int]
    scripts: dict[str, str]
    pins: dict[str, dict[str, Any]] = field(default_factory=dict)  # what a route keeps beside its weight


@dataclass(slots=True)
class BackupFold:
    """A backup of a dataset. `good`: what came of its last trial, None before the first. `is_fresh`: taken since the migration was last
    rolled back. `ends`: it is being removed, and may lack some of its objects."""

    number: int
    kind: str
    objects: int
    bytes: int
    where: str
    sum: str
    taken_at: datetime
    good: bool | None = None
    tried: str = ""
    tried_at: datetime | None = None
    is_fresh: bool = True
    ends: bool = False


@dataclass(slots=True)
class VerdictFold:
    verdict: str
    value: float | None
    limit: float | None
    reason: str
    at: datetime
    phase: str = ""
    unit: str = ""  # of value and limit: fraction, seconds, count, value; empty where it was not told


@dataclass(slots=True)
class Told:
    """A command with an idempotency key. `outcome` holds its `answer` or its `error`; None until it has ended."""

    command: str
    digest: str
    outcome: dict[str, Any] | None = None


@dataclass(slots=True)
class Override:
    """A rule that does not refuse until `until`, observed seconds."""

    rule: str
    reason: str
    by: str
    at: datetime
    until: float


@dataclass(slots=True)
class Asked:
    """A move that waits for a second person until `until`, observed seconds. `hash` binds the approval to it."""

    id: str
    what: str
    only: str | None
    hash: str
    reason: str
    by: str
    uid: int
    person: str
    until: float


@dataclass(slots=True)
class Migration:
    """Everything that the journal says."""

    name: str = ""
    plan_path: str = ""
    plan_hash: str = ""
    plan_text: str = ""
    seq: int = 0
    state: State = State.PLANNED
    phase: Phase | None = None
    before_block: State | None = None  # where rollback_blocked came from
    holds: list[Hold] = field(default_factory=list)
    routes: dict[str, RouteFold] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    ttls: dict[str, TtlFold] = field(default_factory=dict)  # of routes by DNS, once they were noted
    long_answers: dict[str, LongAnswerFold] = field(default_factory=dict)  # by route, as last told
    quiesced: set[tuple[str, str]] = field(default_factory=set)  # (workload, side) that we stopped
    started: set[tuple[str, str]] = field(default_factory=set)  # (workload, side) that we started
    pinned: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # (workload, side): what starting it brings back
    still: dict[tuple[str, str], float] = field(default_factory=dict)  # (workload, side) -> stopped there since when (observed)
    at_step: dict[str, int] = field(default_factory=dict)  # workload -> the step that it was last stopped at
    closed: set[tuple[str, str]] = field(default_factory=set)  # (workload, side) that takes no new work, by us
    doubts: dict[tuple[str, str], float] = field(default_factory=dict)  # (workload, side) whose stop failed -> it may act until
    ops: dict[str, Op] = field(default_factory=dict)  # open ones
    run: RunFold | None = None  # the open one, or the last
    took: dict[str, float] = field(default_factory=dict)  # thing -> seconds that it took when it was last confirmed
    armed: Armed | None = None
    needs_resume: bool = False  # rolled back: every advance is refused until `resume --reason`
    unfenced: bool = False
    unfenced_legacy: set[str] = field(default_factory=set)  # workloads that an evacuation could not stop there
    forced: set[str] = field(default_factory=set)  # datasets handed to target without a last round: legacy may hold what it lacks
    evacuating: bool = False  # begun, and to be gone on with after any restart
    evacuated: bool = False  # done, and legacy not seen alive since
    unfenced_target: set[str] = field(default_factory=set)  # workloads that an emergency could not stop on target: `unfenced`
    unsettled: set[str] = field(default_factory=set)  # datasets of which only target may hold something, after an emergency
    away: set[str] = field(
        default_factory=set
    )  # routes that the last rollback could not lead home: tried again while it is blocked
    observed: float = 0.0
    now: float = field(
        default=0.0, compare=False
    )  # observed time, kept by who holds the clock; the journal's last where nobody does
    last_shift: float | None = None  # observed time of the last forward weight change
    window_from: float | None = None  # observed time when the dual or the retire window began
    seat: str | None = None
    seat_since: datetime | None = None
    seat_uid: int | None = None  # verified; None in journals before it was kept
    overrides: dict[str, Override] = field(default_factory=dict)
    asked: Asked | None = None
    window_told: bool = False  # that the present window is over
    commands: dict[str, Told] = field(default_factory=dict)  # idempotency key -> what came of it
    gates: dict[str, VerdictFold] = field(default_factory=dict)
    triggers: dict[str, VerdictFold] = field(default_factory=dict)
    rounds: dict[str, dict[str, Any]] = field(default_factory=dict)  # dataset -> last round in the journal
    at_zero: dict[tuple[str, str], float] = field(default_factory=dict)  # (dataset, way) -> when it was proven
    backups: dict[str, BackupFold] = field(default_factory=dict)  # dataset -> the last
    backups_taken: dict[tuple[str, int], BackupFold] = field(default_factory=dict)  # (dataset, number): all that are left
    compared: dict[str, bool] = field(default_factory=dict)  # dataset -> were both sides shown to be equal by the last rollback
    uncompared: set[str] = field(default_factory=set)  # of those, whose comparison did not come to its end
    rollbacks: int = 0
    legacy_left: float = 1.0  # share of legacy's capacity, at worst: what may have been lowered counts as lowered
    lowered_to: float = 1.0  # the last retire step that was confirmed
    archived: set[str] = field(default_factory=set)  # datasets of the archive that were proven since the commit
    signed: dict[str, Signature] = field(default_factory=dict)  # item -> who signed it
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)  # measure -> legacy's figures, as last recorded
    validated: dict[str, dict[str, Any]] = field(default_factory=dict)  # workload -> the last validation run
    checkpoints: dict[str, dict[str, Any]] = field(default_factory=dict)  # workload -> the last two that were compared

    @property
    def is_held(self) -> bool:
        return bool(self.holds)

    def overrides_rule(self, rule: str, now: float) -> bool:
        """Does an operator's override lift this rule at this observed time? It ends by itself with its time."""
        held = self.overrides.get(rule)
        return held is not None and held.until > now

    @property
    def open_run(self) -> RunFold | None:
        return self.run if self.run is not None and self.run.ended_at is None else None

    def route(self, name: str) -> RouteFold:
        return self.routes.setdefault(name, RouteFold())

    def token(self, dataset: str) -> Token:
        return self.tokens.setdefault(dataset, Token())

    @property
    def exposure(self) -> Literal["none", "some", "all"]:
        """How much of the traffic may be on the target, what is in flight included."""
        weights = [max(r.desired, r.confirmed) for r in self.routes.values()]
        if not weights or not any(weights):
            return "none"
        return "all" if all(w == 100 for w in weights) else "some"

    @property
    def has_effects(self) -> bool:
        """Is there anything that a rollback would undo: weight, a stopped writer, a token away from legacy, a lowered TTL?"""
        return (
            self.exposure != "none"
            or any(r.foreign is not None for r in self.routes.values())
            or any(t.writer != "legacy" for t in self.tokens.values())
            or any(side == "legacy" for _, side in self.quiesced)
            or any(side == "target" for _, side in self.started)
            or any(t.may_be_changed for t in self.ttls.values())
        )

"""The whole state of a migration at one instant, as the engine tells it to consoles, scripts and `status --json`.

Units: sizes in bytes, times in seconds, instants UTC, ratios and utilisation as fractions (0.05 is 5 %), weights in
percent 0..100 on the target. `None` is "not known" and is shown as `-`, never as 0. Strings may hold text from outside: who draws
them escapes them (`backends.escape.plain`).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from backends.verdict import Verdict

SideName = Literal["legacy", "target"]
SIDES: tuple[SideName, SideName] = ("legacy", "target")


class State(StrEnum):
    """The states of a migration (the table is `backends.cutover.states`)."""

    PLANNED = "planned"
    PREPARING = "preparing"
    ARMED = "armed"
    SHIFTING = "shifting"
    SOAKING = "soaking"
    DUAL = "dual"
    COMMITTED = "committed"
    RETIRING = "retiring"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    RECONCILING = "reconciling"
    ROLLBACK_BLOCKED = "rollback_blocked"
    DECOMMISSIONED = "decommissioned"


class Phase(StrEnum):
    """The five phases of every plan."""

    DEVELOPMENT = "development"
    TESTING = "testing"
    STAGING = "staging"
    CUTOVER = "cutover"
    DECOMMISSION = "decommission"


class Health(StrEnum):
    """What we know of a side: silence of our own link is `unknown`, not `dead`."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Level(StrEnum):
    """The four meanings that have a colour and a glyph."""

    GOOD = "good"
    WAITING = "waiting"
    HELD = "held"
    BREACH = "breach"


class Model(BaseModel):
    """Base of every part: frozen; unknown fields from a newer engine are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class EngineView(Model):
    pid: int
    started: datetime
    socket: str
    version: str = ""
    recovering: bool = False


class PlanView(Model):
    path: str
    hash: str
    armed_hash: str | None = None  # pinned at arming
    text: str = ""


class HoldView(Model):
    """Why nothing moves forward. `by` is an actor, a gate, a trigger or a rule."""

    by: str
    reason: str
    at: datetime


class SeatView(Model):
    holder: str | None = None
    since: datetime | None = None


class SideView(Model):
    provider: str
    region: str | None = None
    health: Health = Health.UNKNOWN
    age: float | None = None  # seconds since the last proof of health
    reason: str = ""


class SoakView(Model):
    elapsed: float
    at_least: float
    samples: int = 0
    samples_needed: int = 0


class RouteView(Model):
    name: str
    workload: str
    kind: str  # sandbox, command, haproxy, …
    steps: tuple[int, ...] = ()
    desired: int
    observed: int | None = None
    observed_age: float | None = None
    data_plane: float | None = None  # share of clients seen on the target, a fraction
    advance: Literal["manual", "auto"] = "manual"
    soak: SoakView | None = None
    in_flight: bool = False
    foreign: str | None = None  # what somebody else set
    error: str | None = None


class Lag(Model):
    """What one side holds and the other does not yet. `seconds`: age of the oldest such object."""

    objects: int | None = None
    bytes: int | None = None
    seconds: float | None = None


class FailureView(Model):
    key: str
    reason: str


class SlowView(Model):
    """An object under way."""

    key: str
    done: int
    size: int
    seconds: float | None = None  # under way


class ProofCounts(Model):
    """Objects by how their identity on both sides was shown; `size_only` is never called verified."""

    stored_checksums: int = 0
    combined_parts: int = 0
    manifest: int = 0
    re_read: int = 0
    size_only: int = 0


class DatasetView(Model):
    name: str
    source: str
    target: str
    writer: Literal["legacy", "none", "target"] = "legacy"
    epoch: int = 0
    direction: Literal["forward", "reverse"] = "forward"
    status: Literal["waiting", "listing", "copying", "verifying", "in sync", "failed"] = "waiting"
    listed: int | None = None
    objects_total: int | None = None
    objects_done: int = 0
    bytes_total: int | None = None
    bytes_done: int = 0
    share: float | None = None  # of all that was listed, a fraction; never falls
    is_followed: bool = False  # all was there once: what is missing since is lag
    left_objects: int = 0  # of this round, to copy and to compare
    rate: float | None = None  # bytes a second over the last minute of copying
    object_rate: float | None = None  # objects a second
    ingest_rate: float | None = None  # bytes a second that come in where data is written
    ingest_objects: float | None = None  # objects a second
    eta_state: Literal["none", "listing", "measuring", "stalled", "never", "eta"] = "none"
    eta_seconds: float | None = None  # between `eta_low` and `eta_high`; all three only in state `eta`
    eta_low: float | None = None
    eta_high: float | None = None
    eta_never: bool = False  # "never at this rate"
    stalled: float | None = None  # seconds since anything moved
    lag: Lag = Lag()
    lag_trend: Literal["shrinking", "steady", "growing"] | None = None
    lag_history: tuple[int, ...] = ()  # bytes that each of the last rounds found missing, the oldest first
    reverse_lag: Lag | None = None
    proven: int = 0
    proofs: ProofCounts = ProofCounts()
    failed: int = 0
    failures: tuple[FailureView, ...] = ()  # the first some
    repaired: tuple[FailureView, ...] = ()  # damaged on the way, found by the proof, copied again
    slowest: tuple[SlowView, ...] = ()  # the longest under way
    streams: int = 0  # in use
    streams_limit: int = 0
    busy: int = 0  # times that a store asked to slow down
    hub_bytes: int = 0  # sent to the hub
    saved_bytes: int = 0  # that compression saved of them
    notes: tuple[str, ...] = ()  # what was found out about a store
    round: int = 0
    last_round_at: datetime | None = None
    error: str | None = None


class GateView(Model):
    name: str
    phase: Phase
    verdict: Verdict
    reason: str = ""
    value: float | None = None
    limit: float | None = None
    at: datetime | None = None
    current: bool = False  # a gate of the phase that is to be left next


class TriggerView(Model):
    name: str
    measure: str
    workload: str = ""
    kind: str = ""
    unit: Literal["fraction", "seconds", "count", "value"] = "fraction"
    verdict: Verdict
    value: float | None = None
    limit: float | None = None
    action: Literal["rollback", "hold", "tell"] = "rollback"
    mode: Literal["graceful", "emergency"] = "graceful"
    windows: tuple[float, float] | None = None  # short, long; seconds
    compared_with: str = ""  # legacy now, baseline, absolute limit
    reason: str = ""
    age: float | None = None
    period: float | None = None
    history: tuple[float | None, ...] = ()


class PointView(Model):
    at: float
    legacy: float | None = None
    target: float | None = None
    delta: float | None = None  # (target - legacy) / |legacy|
    verdict: Verdict | None = None  # None: waiting
    too_good: bool = False
    legacy_now: float | None = None  # how far each side has come on the axis
    target_now: float | None = None


class ValidationView(Model):
    measure: str
    workload: str
    kind: str
    by: str = "time"
    tolerance: float | None = None
    points: tuple[PointView, ...] = ()
    legacy_curve: tuple[tuple[float, float], ...] = ()
    target_curve: tuple[tuple[float, float], ...] = ()
    legacy_value: float | None = None
    target_value: float | None = None
    delta: float | None = None
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    legacy_age: float | None = None
    target_age: float | None = None


class GpuView(Model):
    index: int
    uuid: str = ""
    name: str = ""
    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    history: tuple[float | None, ...] = ()  # utilisation, oldest first
    alarm: str | None = None


class HostView(Model):
    name: str
    side: SideName
    address: str = ""
    health: str = "connecting"  # connecting, live, late, silent, refused, key changed, auth failed
    error: str | None = None
    age: float | None = None
    period: float = 1.0
    driver: str | None = None
    cuda: str | None = None
    gpus: tuple[GpuView, ...] = ()


class WorkloadView(Model):
    name: str
    kind: str  # class of the plan: realtime, batch, training, pipeline
    writes: tuple[str, ...] = ()
    legacy: Literal["running", "quiesced", "stopped", "unknown"] = "unknown"
    target: Literal["running", "quiesced", "stopped", "unknown"] = "unknown"


class ReadinessView(Model):
    """How ready rollback is, at every moment."""

    ready: bool = False
    possible: bool = True  # is there anything to roll back to in this state
    blocked_by: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds_to_safe: float | None = None
    gap: Lag = Lag()  # what an emergency rollback would leave behind on the target
    reverse_lag: Lag = Lag()
    horizon: float | None = None  # seconds until rollback is no longer possible; None: no end known
    legacy: Health = Health.UNKNOWN
    legacy_age: float | None = None
    unfenced: bool = False


class StepView(Model):
    """One step of a preview or of a run, in the executor's own words."""

    text: str
    status: Literal["waiting", "running", "confirmed", "failed", "skipped"] = "waiting"
    detail: str = ""
    seconds: float | None = None  # expected, or taken


class PreviewView(Model):
    """What a command would do. `hash` binds a confirmation to exactly this."""

    command: str
    mode: str = ""
    hash: str = ""
    steps: tuple[StepView, ...] = ()
    allowed: bool = True
    refused_by: str | None = None
    reason: str = ""  # which rule, what is seen
    would_allow: str = ""  # what would allow it
    seconds: float | None = None
    gap: Lag = Lag()
    warnings: tuple[str, ...] = ()


class RunView(Model):
    """An operation of several steps in progress or just ended: an advance, a rollback."""

    kind: str  # advance, rollback, evacuate
    mode: str = ""
    reason: str = ""
    actor: str = ""
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    steps: tuple[StepView, ...] = ()


class EventView(Model):
    seq: int
    at: datetime
    kind: str
    text: str
    actor: str = ""
    level: Level | None = None


class Snapshot(Model):
    """Everything that the console draws and that `status --json` prints."""

    schema_version: int = 1
    name: str
    at: datetime
    seq: int = 0  # head of the journal
    simulation: bool = False
    engine: EngineView | None = None
    plan: PlanView
    state: State
    phase: Phase | None = None
    held: tuple[HoldView, ...] = ()
    blind: bool = False
    blind_reason: str = ""
    seat: SeatView = SeatView()
    sides: dict[SideName, SideView] = Field(default_factory=dict)
    routes: tuple[RouteView, ...] = ()
    datasets: tuple[DatasetView, ...] = ()
    gates: tuple[GateView, ...] = ()
    triggers: tuple[TriggerView, ...] = ()
    validation: tuple[ValidationView, ...] = ()
    hosts: tuple[HostView, ...] = ()
    workloads: tuple[WorkloadView, ...] = ()
    rollback: ReadinessView = ReadinessView()
    run: RunView | None = None
    next: PreviewView | None = None  # what `advance` would do now
    window_elapsed: float | None = None  # dual or retire window, observed seconds
    window_total: float | None = None
    events: tuple[EventView, ...] = ()
    journal_ok: bool = True
    journal_note: str = ""

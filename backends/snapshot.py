"""The whole state of a migration at one instant, as the engine tells it to consoles, scripts and `status --json`.

Units: sizes in bytes, times in seconds, instants UTC, ratios and utilisation as fractions (0.05 is 5 %), weights in
percent 0..100 on the target. `None` is "not known" and is shown as `-`, never as 0. Strings may hold text from outside: who draws
them escapes them (`backends.escape.plain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import Field

from backends.checkpoint_view import CheckpointView, TensorView
from backends.dataset_view import DatasetView, FailureView, Lag, Model, ProofCounts, SlowView
from backends.verdict import Verdict
from backends.vocabulary import SIDES, Health, Level, Phase, SideName, State

__all__ = [
    "SIDES",
    "ApprovalView",
    "BackupView",
    "ChecklistView",
    "CheckpointView",
    "DatasetView",
    "DiskView",
    "EngineView",
    "EventView",
    "FailureView",
    "GateView",
    "GpuDetail",
    "GpuSums",
    "GpuView",
    "Health",
    "HoldView",
    "HostPast",
    "HostView",
    "InventoryView",
    "Lag",
    "Level",
    "MachineView",
    "MigView",
    "OverrideView",
    "Phase",
    "PlanView",
    "PointView",
    "PreflightView",
    "PreviewView",
    "ProcessView",
    "ProofCounts",
    "ReadinessView",
    "RouteView",
    "RunView",
    "SeatView",
    "SideName",
    "SideView",
    "SlowView",
    "Snapshot",
    "SoakView",
    "State",
    "StepView",
    "TensorView",
    "TriggerView",
    "ValidationView",
    "WorkloadView",
    "mean_of",
    "sums_of",
]


_Figure = TypeVar("_Figure", int, float)


class EngineView(Model):
    pid: int
    started: datetime
    socket: str
    version: str = ""
    recovering: bool = False


class LeaseView(Model):
    """The lease that keeps a second engine off. `note` says what is wrong with it; empty where it is ours for certain."""

    place: str
    held: bool
    seconds_left: float | None = None  # until it has to have been renewed
    epoch: int = 0  # rises when it changes hands
    note: str = ""


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
    uid: int | None = None  # the holder's, verified


class OverrideView(Model):
    """A rule that an operator has lifted for a time."""

    rule: str
    reason: str
    by: str
    at: datetime
    seconds_left: float


class ApprovalView(Model):
    """A move that waits for a second person."""

    what: str
    by: str
    uid: int
    reason: str = ""
    seconds_left: float


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
    note: str = ""  # why it is waited for, or what makes it notable


class ValidationView(Model):
    measure: str
    workload: str
    kind: str
    by: str = "time"
    tolerance: float | None = None
    points: tuple[PointView, ...] = ()  # of the gates
    notable: tuple[PointView, ...] = ()  # beside them
    legacy_curve: tuple[tuple[float, float], ...] = ()
    target_curve: tuple[tuple[float, float], ...] = ()
    legacy_value: float | None = None
    target_value: float | None = None
    delta: float | None = None
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    legacy_age: float | None = None
    target_age: float | None = None


class MigView(Model):
    """A MIG device of a GPU."""

    uuid: str = ""
    name: str = ""
    memory_used: int | None = None
    memory_total: int | None = None


class ProcessView(Model):
    """A process on a GPU. `job` is the Slurm job, pod, container or unit that its cgroup names."""

    pid: int
    memory: int | None = None
    user: str | None = None
    command: str | None = None
    job: str | None = None


class GpuDetail(Model):
    """What a GPU's own screen shows. Shares are fractions, rates bytes a second; None is not given."""

    memory_utilization: float | None = None
    encoder: float | None = None
    memory_temperature_c: float | None = None
    clock_mhz: int | None = None
    clock_max_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttled: tuple[str, ...] = ()
    ecc: bool | None = None
    ecc_corrected: int | None = None  # since the driver was loaded
    ecc_uncorrected: int | None = None
    retired_pages: int | None = None
    remapped_rows: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    xid: int | None = None  # the last, since we look
    pcie_sent: float | None = None
    pcie_received: float | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    nvlink_sent: float | None = None
    nvlink_received: float | None = None
    fan: float | None = None
    persistence: bool | None = None
    compute_mode: str | None = None
    pstate: int | None = None
    mig_mode: bool | None = None
    mig: tuple[MigView, ...] = ()
    processes: tuple[ProcessView, ...] | None = None  # None: the device does not tell


class DiskView(Model):
    """The file system that a path lies on; `error` where it cannot be asked."""

    path: str
    total: int | None = None
    free: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None
    error: str | None = None


class MachineView(Model):
    """A host itself. Rates are bytes a second, `cpu` a fraction of all cores, `boot_at` unix seconds."""

    hostname: str | None = None
    cpus: int | None = None
    cpu: float | None = None
    load: tuple[float, ...] = ()
    memory_used: int | None = None
    memory_total: int | None = None
    received: float | None = None
    sent: float | None = None
    disks: tuple[DiskView, ...] = ()
    clock_offset: float | None = None  # the host's clock less ours, seconds
    clock_error: float | None = None
    kernel: str | None = None
    os: str | None = None
    glibc: str | None = None
    python: str | None = None
    boot_at: float | None = None
    runtimes: tuple[str, ...] = ()
    toolkit: bool | None = None  # NVIDIA's for containers
    mounts: tuple[tuple[str, str], ...] = ()
    has_amd: bool = False


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
    detail: GpuDetail | None = None


class GpuSums(Model):
    """All GPUs of a host together: what a snapshot of a large fleet carries in place of each. A sum is None where one is not known."""

    count: int
    name: str = ""
    utilizations: tuple[float | None, ...] = ()
    memory_used: int | None = None
    memory_total: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None  # the hottest
    alarms: tuple[tuple[int, str], ...] = ()  # (index of the GPU, what is wrong)
    history: tuple[float | None, ...] = ()  # mean utilisation, oldest first


class HostPast(Model):
    """The last hour of a host, its GPUs together: a sample each `every` seconds, oldest first, None where nothing was heard.

    `count` is the number of samples there ever were: with it a reader who joins neighbours keeps to the same neighbours.
    """

    every: float
    count: int = 0
    utilization: tuple[float | None, ...] = ()
    memory: tuple[float | None, ...] = ()  # fraction
    power_w: tuple[float | None, ...] = ()
    temperature_c: tuple[float | None, ...] = ()  # the hottest
    cpu: tuple[float | None, ...] = ()


class HostView(Model):
    """A host. `gpus`, `machine` are empty where `sums` stands: `GET /v1/hosts/NAME` has them, and `past`."""

    name: str
    side: SideName
    address: str = ""
    health: str = "connecting"  # connecting, live, late, silent, refused, key changed, auth failed
    error: str | None = None
    age: float | None = None
    period: float = 1.0
    driver: str | None = None
    cuda: str | None = None
    source: str = ""  # what tells of the GPUs: agent, nvidia-smi, nvidia-smi -q -x, dcgm-exporter, nvml, amd-smi, rocm-smi
    alarms: tuple[str, ...] = ()  # of the host itself: clock, disks
    sums: GpuSums | None = None
    machine: MachineView | None = None
    gpus: tuple[GpuView, ...] = ()
    past: HostPast | None = None

    def together(self) -> GpuSums:
        """All its GPUs, whichever way they are carried."""
        return self.sums if self.sums is not None else sums_of(self.gpus)


def sums_of(gpus: tuple[GpuView, ...]) -> GpuSums:
    """What several GPUs do together. A sum over some would look like less: it is None then."""
    hottest = [g.temperature_c for g in gpus if g.temperature_c is not None]
    length = max((len(g.history) for g in gpus), default=0)
    columns = [[h[-back] for g in gpus if len(h := g.history) >= back] for back in range(length, 0, -1)]
    return GpuSums(
        count=len(gpus),
        name=", ".join(sorted({g.name for g in gpus if g.name})),
        utilizations=tuple(g.utilization for g in gpus),
        memory_used=_sum([g.memory_used for g in gpus]),
        memory_total=_sum([g.memory_total for g in gpus]),
        power_w=_sum([g.power_w for g in gpus]),
        power_limit_w=_sum([g.power_limit_w for g in gpus]),
        temperature_c=max(hottest, default=None),
        alarms=tuple((g.index, g.alarm) for g in gpus if g.alarm),
        history=tuple(mean_of(column) for column in columns),
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _sum(values: Sequence[_Figure | None]) -> _Figure | None:
    known = [v for v in values if v is not None]
    return None if not known or len(known) < len(values) else sum(known[1:], known[0])


class ChecklistView(Model):
    """What a person answers for; `signed_by` is empty until somebody has."""

    phase: Phase
    name: str
    text: str = ""
    must: bool = True
    signed_by: str = ""
    reason: str = ""
    at: datetime | None = None


class InventoryView(Model):
    """Something of legacy that stands and costs: a host with its GPUs, or a store with its bytes."""

    kind: Literal["host", "store"]
    name: str
    detail: str = ""
    gpus: int | None = None
    usd_per_hour: float | None = None
    bytes: int | None = None


class PreflightView(Model):
    """One thing that a rollback needs: what was seen of it, and what would mend it."""

    name: str
    verdict: Verdict
    evidence: str = ""
    cure: str = ""
    needed: bool = True  # arming waits for it
    waived_by: str = ""  # who signed for it, and why
    age: float | None = None  # seconds since it was measured
    waivable: bool = True  # may a person sign for it?

    @property
    def tried(self) -> bool:
        """Was anything seen of it? What was not is about to be tried."""
        return self.age is not None or self.verdict is not Verdict.INCONCLUSIVE


class BackupView(Model):
    """The last backup of a dataset, where there is one, and what its gate says."""

    dataset: str
    kind: Literal["versioned", "snapshot", "command"]
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    number: int | None = None
    objects: int | None = None
    bytes: int | None = None
    where: str = ""
    taken_at: datetime | None = None
    tried_at: datetime | None = None
    age: float | None = None  # seconds since it was taken


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
    lease: LeaseView | None = None  # None where no engine runs, or the plan has no place for one
    plan: PlanView
    state: State
    phase: Phase | None = None
    held: tuple[HoldView, ...] = ()
    blind: bool = False
    blind_reason: str = ""
    seat: SeatView = SeatView()
    overrides: tuple[OverrideView, ...] = ()
    approval: ApprovalView | None = None
    sides: dict[SideName, SideView] = Field(default_factory=dict)
    routes: tuple[RouteView, ...] = ()
    datasets: tuple[DatasetView, ...] = ()
    gates: tuple[GateView, ...] = ()
    triggers: tuple[TriggerView, ...] = ()
    validation: tuple[ValidationView, ...] = ()
    checkpoints: tuple[CheckpointView, ...] = ()
    hosts: tuple[HostView, ...] = ()
    workloads: tuple[WorkloadView, ...] = ()
    rollback: ReadinessView = ReadinessView()
    preflight: tuple[PreflightView, ...] = ()
    checklist: tuple[ChecklistView, ...] = ()
    backups: tuple[BackupView, ...] = ()
    inventory: tuple[InventoryView, ...] = ()  # of what remains of legacy, once the migration is committed
    legacy_left: float = 1.0  # share of legacy's capacity that has not been taken down
    run: RunView | None = None
    next: PreviewView | None = None  # what `advance` would do now
    window_elapsed: float | None = None  # dual or retire window, observed seconds
    window_total: float | None = None
    no_changes: str = ""  # the no-change period that holds now, and its end; empty outside of one
    events: tuple[EventView, ...] = ()
    journal_ok: bool = True
    journal_note: str = ""

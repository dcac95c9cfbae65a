"""What is known of one host's GPUs: the last sample of each, its short history, and how old all that is.

Pure: instants (unix seconds) are given. A GPU is known by its UUID, so that a renumbered or vanished one is not taken for another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from backends.errors import CutoverError
from backends.escape import plain
from backends.probes.gpus import GpuSample, Heading, Trouble
from backends.probes.past import Past
from backends.probes.reading import AgentReading, machine_alarms
from backends.snapshot import GpuDetail, GpuSums, GpuView, HostView, MachineView, sums_of
from backends.ssh.errors import AuthFailed, HostKeyChanged, HostKeyRefused
from backends.ssh.models import SshHost
from backends.vocabulary import SideName

HISTORY = 60
LATE = 4.0  # after the last answer: within five of its end, with what lies between two answers and two looks
SILENT = 14.0
MACHINE_EVERY = 5.0  # seconds between two looks at a machine for the alarms of a large fleet
MAX_GPUS = 256  # a host that names more is not believed


@dataclass(slots=True)
class _Gpu:
    sample: GpuSample | None  # None: the agent's reading has it
    at: float
    detail: GpuDetail | None = None
    history: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY))


class HostWatch:
    """One host as it was last seen."""

    def __init__(self, side: SideName, host: SshHost, period: float) -> None:
        self.host = host
        self._side = side
        self._usual = self._period = period
        self._gpus: dict[str, _Gpu] = {}
        self._heading = Heading()
        self._source = ""
        self._agent: AgentReading | None = None
        self._health: str | None = None  # why there is no link, where that is known
        self._error: str | None = None
        self._is_failing = False  # it answers, with words in place of figures
        self._answered_at: float | None = None
        self._means: deque[float | None] = deque(maxlen=HISTORY)  # utilisation of all GPUs, line by line of the agent
        self._means_at = 0.0
        self._machine_at = 0.0
        self._last_machine: MachineView | None = None
        self._sums: GpuSums | None = None  # made of the agent's last line
        self._past = Past()

    def saw_agent(self, reading: AgentReading, now: float, source: str = "agent") -> None:
        """A line of the agent came. Its GPUs count where it reads any; else another source's do."""
        self._agent = reading
        self._answered(now)
        hello = reading.hello
        if hello is None or hello.error is not None:
            return
        self._source, self._error, self._is_failing, self._period = source, None, False, self._usual
        self._heading = Heading(hello.driver, hello.cuda)
        uses = reading.uses()
        self._means.extend([None] * self._missing(self._means_at, now))
        for uuid, utilization in uses:
            self._note(uuid, None, utilization, now)
        known = [use for _, use in uses if use is not None]
        self._means.append(round(sum(known) / len(known), 3) if known else None)
        self._means_at, self._sums = now, None
        self._remember(now)
        if len(self._gpus) > len(uses):  # one that was lost from the start has said its UUID since
            for unnamed in [u for u in self._gpus if u.startswith("index ") and u not in dict(uses)]:
                del self._gpus[unnamed]

    def saw_sample(
        self,
        sample: GpuSample,
        now: float,
        *,
        source: str = "nvidia-smi",
        detail: GpuDetail | None = None,
        every: float | None = None,
    ) -> None:
        """A row of figures came; `every` so many seconds, where that is not the usual period."""
        self._answered(now)
        self._period = every if every is not None else self._usual
        self._error, self._is_failing, self._source = None, False, source
        self._note(sample.uuid, sample, sample.utilization, now, detail)
        self._remember(now)

    def saw_trouble(self, trouble: Trouble, now: float) -> None:
        """nvidia-smi answered in words: the host lives, its GPUs cannot be read."""
        self._answered(now)
        self._error, self._is_failing = trouble.message, True

    def saw_error(self, error: CutoverError) -> None:
        """No link, or it was lost."""
        self._error = error.message + (f" ({error.hint})" if error.hint else "")
        self._is_failing = False
        self._health = _health_of(error)

    def saw_no_agent(self, error: CutoverError) -> None:
        """The host does not run our agent: another source tells of its GPUs, none of the machine."""
        self._agent = None
        if not self._gpus:
            self._error = error.message

    @property
    def reads_by_agent(self) -> bool:
        """Do the GPUs' figures come from the agent?"""
        return self._source == "agent"

    @property
    def has_amd(self) -> bool:
        """Does the agent see AMD's driver and its tool there?"""
        return self._agent is not None and self._agent.machine().has_amd

    @property
    def gpu_count(self) -> int:
        return len(self._gpus)

    def saw_reading(self, reading: AgentReading) -> None:
        """What tells of the machine, where another source tells of its GPUs."""
        self._agent = reading

    def saw_heading(self, heading: Heading) -> None:
        """Driver and CUDA, as rarely asked for."""
        self._heading = Heading(heading.driver or self._heading.driver, heading.cuda or self._heading.cuda)

    def view(self, now: float, *, brief: bool = False, whole: bool = False) -> HostView:
        """The host for the snapshot. `brief`: its GPUs together in place of each, the machine's alarms in place of the machine;
        `whole`: with its past."""
        age = max(0.0, now - self._answered_at) if self._answered_at is not None else None
        machine = self._machine(brief)
        at = f"{self.host.user}@{self.host.address}" if self.host.user else self.host.address
        return HostView(
            name=self.host.name,
            side=self._side,
            address=plain(at if self.host.port is None else f"{at}:{self.host.port}"),
            health=self._health_now(age),
            error=self._error,
            age=age,
            period=self._period,
            driver=self._driver(),
            cuda=self._heading.cuda,
            source=self._source,
            alarms=machine_alarms(machine) if machine is not None else (),
            sums=self._sums_now(now) if brief else None,
            machine=None if brief else machine,
            gpus=() if brief else self._gpu_views(now),
            past=self._past.view(now) if whole else None,
        )

    def _answered(self, now: float) -> None:
        self._answered_at, self._health = now, None

    def _note(
        self, uuid: str, sample: GpuSample | None, utilization: float | None, now: float, detail: GpuDetail | None = None
    ) -> None:
        gpu = self._gpus.get(uuid)
        if gpu is None:
            if len(self._gpus) >= MAX_GPUS:
                return
            gpu = self._gpus[uuid] = _Gpu(sample, now)
        elif missing := self._missing(gpu.at, now):
            gpu.history.extend([None] * missing)
        gpu.sample, gpu.at, gpu.detail = sample, now, detail
        gpu.history.append(utilization)

    def _remember(self, now: float) -> None:
        if self._past.is_due(now):
            machine = self._machine(brief=True)
            self._past.note(now, self._sums_now(now), machine.cpu if machine is not None else None)

    def _driver(self) -> str | None:
        drivers = [gpu.sample.driver for gpu in self._gpus.values() if gpu.sample is not None and gpu.sample.driver]
        return drivers[0] if drivers else self._heading.driver

    def _health_now(self, age: float | None) -> str:
        if self._health is not None:
            return self._health
        if age is None:
            return "silent" if self._error else "connecting"
        # One that answers in words is asked again seldom: what it said holds while the link does.
        if self._is_failing or age <= LATE * max(1.0, self._period):
            return "live"
        return "late" if age <= SILENT * max(1.0, self._period) else "silent"

    def _missing(self, at: float, now: float) -> int:
        """How many samples should have come since the last, at `at`."""
        gap = now - at
        return min(HISTORY, round(gap / self._period) - 1) if gap > 2.5 * self._period else 0

    def _history(self, gpu: _Gpu, now: float) -> list[float | None]:
        return [*gpu.history, *[None] * self._missing(gpu.at, now)][-HISTORY:]

    def _machine(self, brief: bool) -> MachineView | None:
        """What changes slowly is looked at anew every few lines only, where there are many hosts."""
        if self._agent is None:
            return None
        if not brief:
            return self._agent.machine()
        if self._means_at - self._machine_at >= MACHINE_EVERY or self._last_machine is None:
            self._machine_at, self._last_machine = self._means_at, self._agent.machine()
        return self._last_machine

    def _sums_now(self, now: float) -> GpuSums:
        """Made once for each line of the agent, however often it is shown."""
        if self._agent is None or not self.reads_by_agent or any(gpu.sample is not None for gpu in self._gpus.values()):
            return sums_of(self._gpu_views(now))
        missing = self._missing(self._means_at, now)
        if self._sums is None or missing:
            history = tuple([*self._means, *[None] * missing][-HISTORY:])
            self._sums = self._agent.sums(history)
        return self._sums

    def _gpu_views(self, now: float) -> tuple[GpuView, ...]:
        details: dict[str, tuple[GpuSample, GpuDetail]] = {}
        if self._agent is not None and any(gpu.sample is None for gpu in self._gpus.values()):
            details = {sample.uuid: (sample, detail) for sample, detail in self._agent.samples()}
        out: list[GpuView] = []
        for uuid, gpu in self._gpus.items():
            sample, detail = (gpu.sample, gpu.detail) if gpu.sample is not None else details.get(uuid, (None, None))
            out.append(self._gpu_view(sample or GpuSample(len(out), uuid), detail, gpu, now))
        return tuple(sorted(out, key=lambda view: (view.index, view.uuid)))

    def _gpu_view(self, sample: GpuSample, detail: GpuDetail | None, gpu: _Gpu, now: float) -> GpuView:
        history = tuple(self._history(gpu, now))
        is_gone = self._answered_at is not None and self._answered_at - gpu.at > LATE * max(1.0, self._period)
        if is_gone:  # the host answers without it: its last figures say nothing about now
            alarm = sample.alarm or f"no figures for {now - gpu.at:.0f} s while the host answers: see dmesg for Xid errors"
            return GpuView(index=sample.index, uuid=sample.uuid, name=sample.name, history=history, alarm=alarm)
        return GpuView(
            index=sample.index,
            uuid=sample.uuid,
            name=sample.name,
            utilization=sample.utilization,
            memory_used=sample.memory_used,
            memory_total=sample.memory_total,
            power_w=sample.power_w,
            power_limit_w=sample.power_limit_w,
            temperature_c=sample.temperature_c,
            history=history,
            alarm=sample.alarm,
            detail=detail,
        )


def _health_of(error: CutoverError) -> str | None:
    """The health that an error is; None where age tells: a lost link is first late, then silent."""
    if isinstance(error, HostKeyChanged):
        return "key changed"
    if isinstance(error, AuthFailed):
        return "auth failed"
    if isinstance(error, HostKeyRefused) or "refused" in error.message:
        return "refused"
    return None

"""What is known of one host's GPUs: the last sample of each, its short history, and how old all that is.

Pure: instants (unix seconds) are given. A GPU is known by its UUID, so that a renumbered or vanished one is not taken for another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from backends.errors import CutoverError
from backends.escape import plain
from backends.probes.gpus import GpuSample, Heading, Trouble
from backends.snapshot import GpuView, HostView
from backends.ssh.errors import AuthFailed, HostKeyChanged, HostKeyRefused
from backends.ssh.models import SshHost
from backends.vocabulary import SideName

HISTORY = 60
LATE = 5.0
SILENT = 15.0
MAX_GPUS = 256  # a host that names more is not believed


@dataclass(slots=True)
class _Gpu:
    sample: GpuSample
    at: float
    history: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY))


class HostWatch:
    """One host as it was last seen."""

    def __init__(self, side: SideName, host: SshHost, period: float) -> None:
        self.host = host
        self._side = side
        self._period = period
        self._gpus: dict[str, _Gpu] = {}
        self._heading = Heading()
        self._health: str | None = None  # why there is no link, where that is known
        self._error: str | None = None
        self._is_failing = False  # it answers, with words in place of figures
        self._answered_at: float | None = None

    def saw_sample(self, sample: GpuSample, now: float) -> None:
        """A row of figures came."""
        self._answered(now)
        self._error, self._is_failing = None, False
        gpu = self._gpus.get(sample.uuid)
        if gpu is None:
            if len(self._gpus) >= MAX_GPUS:
                return
            gpu = self._gpus[sample.uuid] = _Gpu(sample, now)
        else:
            gpu.history.extend([None] * self._missing(gpu, now))
        gpu.sample, gpu.at = sample, now
        gpu.history.append(sample.utilization)

    def saw_trouble(self, trouble: Trouble, now: float) -> None:
        """nvidia-smi answered in words: the host lives, its GPUs cannot be read."""
        self._answered(now)
        self._error, self._is_failing = trouble.message, True

    def saw_error(self, error: CutoverError) -> None:
        """No link, or it was lost."""
        self._error = error.message + (f" ({error.hint})" if error.hint else "")
        self._is_failing = False
        self._health = _health_of(error)

    def saw_heading(self, heading: Heading) -> None:
        """Driver and CUDA, as rarely asked for."""
        self._heading = Heading(heading.driver or self._heading.driver, heading.cuda or self._heading.cuda)

    def view(self, now: float) -> HostView:
        """The host for the snapshot."""
        age = max(0.0, now - self._answered_at) if self._answered_at is not None else None
        gpus = sorted(self._gpus.values(), key=lambda gpu: (gpu.sample.index, gpu.sample.uuid))
        drivers = [gpu.sample.driver for gpu in gpus if gpu.sample.driver]
        at = f"{self.host.user}@{self.host.address}" if self.host.user else self.host.address
        return HostView(
            name=self.host.name,
            side=self._side,
            address=plain(at if self.host.port is None else f"{at}:{self.host.port}"),
            health=self._health_now(age),
            error=self._error,
            age=age,
            period=self._period,
            driver=drivers[0] if drivers else self._heading.driver,
            cuda=self._heading.cuda,
            gpus=tuple(self._gpu_view(gpu, now) for gpu in gpus),
        )

    def _answered(self, now: float) -> None:
        self._answered_at, self._health = now, None

    def _health_now(self, age: float | None) -> str:
        if self._health is not None:
            return self._health
        if age is None:
            return "silent" if self._error else "connecting"
        # One that answers in words is asked again seldom: what it said holds while the link does.
        if self._is_failing or age <= LATE * max(1.0, self._period):
            return "live"
        return "late" if age <= SILENT * max(1.0, self._period) else "silent"

    def _missing(self, gpu: _Gpu, now: float) -> int:
        """How many samples of this GPU should have come since the last."""
        gap = now - gpu.at
        return min(HISTORY, round(gap / self._period) - 1) if gap > 2.5 * self._period else 0

    def _gpu_view(self, gpu: _Gpu, now: float) -> GpuView:
        sample = gpu.sample
        history = [*gpu.history, *[None] * self._missing(gpu, now)][-HISTORY:]
        is_gone = self._answered_at is not None and self._answered_at - gpu.at > LATE * max(1.0, self._period)
        if is_gone:  # the host answers without it: its last figures say nothing about now
            alarm = sample.alarm or f"no figures for {now - gpu.at:.0f} s while the host answers: see dmesg for Xid errors"
            return GpuView(index=sample.index, uuid=sample.uuid, name=sample.name, history=tuple(history), alarm=alarm)
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
            history=tuple(history),
            alarm=sample.alarm,
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

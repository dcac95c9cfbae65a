"""What the agent on a host says, line by line, held as the whole that its changes add up to. Pure: instants are given.

Everything in it comes from outside: each value is taken by its type and within what is possible, or is None.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from backends.escape import plain
from backends.probes.gpus import MAX_MEMORY, MAX_POWER_W, TEMPERATURES_C, GpuSample
from backends.probes.xid import xid_words
from backends.snapshot import DiskView, GpuDetail, GpuSums, MachineView, MigView, ProcessView

MAX_GPUS = 256
MAX_KEYS = 64
SHOWN_PROCESSES = 16
SKEW_ALARM = 0.5  # seconds: more spoils every comparison of times
DISK_ALARM = 0.05  # share that is free
_PING_KEPT = 8
COUNTER = 1 << 62

# nvmlClocksEventReasons (nvml.h). What is no fault is not told: idle, and clocks that were asked for.
HARDWARE_THERMAL = 0x0000000000000040
THROTTLE = (
    (0x0000000000000004, "power cap"),
    (0x0000000000000008, "hardware slowdown"),
    (0x0000000000000020, "thermal, software"),
    (HARDWARE_THERMAL, "thermal, hardware"),
    (0x0000000000000080, "power brake"),
)
_COMPUTE_MODES = ("default", "exclusive thread", "prohibited", "exclusive process")
LOST, RESET_REQUIRED = 15, 16


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the agent runs on. `error`: why it reads no GPU, as NVML's code (None: no library) and words."""

    driver: str | None
    cuda: str | None
    error: tuple[int | None, str] | None
    facts: dict[str, Any]


@dataclass(slots=True)
class _Gpu:
    raw: dict[str, Any] = field(default_factory=dict)
    counters: tuple[float, int, int] | None = None  # host's time, NVLink's counters in KiB
    rates: tuple[float, float] | None = None  # bytes a second, sent and received


class AgentReading:
    """The agent's lines, taken in one by one."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self._host: dict[str, Any] = {}
        self._gpus: dict[str, _Gpu] = {}
        self._clock: deque[tuple[float, float]] = deque(maxlen=_PING_KEPT)  # round trip, offset

    def take(self, line: str, now: float) -> Literal["noise", "hello", "sample", "clock", "broken"]:
        """Take one line that came at `now` (unix seconds). `noise` is what the agent did not say; `broken` a line of it that was cut:
        what follows cannot be trusted until a new start."""
        if not line.startswith("{"):
            return "noise"
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return "broken" if self.hello is not None else "noise"
        if "ping" in value:
            self._take_clock(value, now)
            return "clock"
        if value.get("cutover") == 1:
            self._take_hello(value)
            return "hello"
        if self.hello is None or not isinstance(value.get("p"), dict):
            return "noise"
        self._take_changes(value)
        return "sample"

    def _take_hello(self, value: dict[str, Any]) -> None:
        error = value.get("error")
        words = None
        if isinstance(error, list) and len(error) == 2:
            words = (_whole(error[0], 0, 1 << 31), plain(str(error[1]), 200))
        facts = value.get("facts")
        self.hello = Hello(
            _version(value.get("driver")), _version(value.get("cuda")), words, facts if isinstance(facts, dict) else {}
        )

    def _take_clock(self, value: dict[str, Any], now: float) -> None:
        """As NTP does (RFC 5905, section 8): the offset is true to half the round trip."""
        try:
            asked = float(value["ping"])
        except (TypeError, ValueError):
            return
        told = _number(value.get("t"), 0, 1e12)
        if told is not None and 0 <= now - asked < 60:
            self._clock.append((now - asked, told - (asked + now) / 2))

    def _take_changes(self, value: dict[str, Any]) -> None:
        changed: dict[str, Any] = value["p"]
        if value.get("whole"):
            self._host.clear()
            for name in [name for name in self._gpus if name not in changed]:
                del self._gpus[name]
        for name in value.get("gone") or ():
            self._gpus.pop(str(name), None)
        for name, values in changed.items():
            if not isinstance(values, dict) or len(values) > MAX_KEYS:
                continue
            if name == "h":
                self._host.update(values)
            elif name.startswith("g") and name[1:].isdigit() and (name in self._gpus or len(self._gpus) < MAX_GPUS):
                self._take_gpu(self._gpus.setdefault(name, _Gpu()), values, value)

    def _take_gpu(self, gpu: _Gpu, values: dict[str, Any], line: dict[str, Any]) -> None:
        if values.get("lost"):
            gpu.raw = {key: gpu.raw[key] for key in ("uuid", "name", "xid") if key in gpu.raw}
        gpu.raw.update(values)
        sent, received = _whole(gpu.raw.get("nvtx"), 0, COUNTER), _whole(gpu.raw.get("nvrx"), 0, COUNTER)
        at = _number(line.get("t"), 0, 1e12)
        if sent is None or received is None or at is None:
            gpu.counters = gpu.rates = None
            return
        before, gpu.counters, gpu.rates = gpu.counters, (at, sent, received), None  # none where its clock or counters went back
        if before is not None and at > before[0] and sent >= before[1] and received >= before[2]:
            span = at - before[0]
            gpu.rates = (sent - before[1]) * 1024 / span, (received - before[2]) * 1024 / span

    # What it adds up to

    @property
    def clock(self) -> tuple[float, float] | None:
        """(the host's clock less ours, how far that may be off), seconds; of the fastest of the last questions."""
        if not self._clock:
            return None
        trip, offset = min(self._clock)
        return offset, trip / 2

    def uses(self) -> list[tuple[str, float | None]]:
        """Each GPU's UUID and utilisation: what a history needs of every line."""
        return [(_uuid(name, gpu.raw), _share(gpu.raw.get("util"))) for name, gpu in self._gpus.items()]

    def samples(self) -> list[tuple[GpuSample, GpuDetail]]:
        """Every GPU as it is now."""
        return [(self._sample(name, gpu), _detail(gpu)) for name, gpu in self._gpus.items()]

    def sums(self, history: tuple[float | None, ...]) -> GpuSums:
        """All GPUs together: of thousands of them, far less work than each by itself."""
        raws = [(name, gpu, gpu.raw) for name, gpu in self._gpus.items()]
        power = _total([_number(raw.get("mw"), 0, MAX_POWER_W * 1000) for _, _, raw in raws])
        limit = _total([_number(raw.get("cap"), 0, MAX_POWER_W * 1000) for _, _, raw in raws])
        used = _total([_whole(raw.get("used"), 0, MAX_MEMORY) for _, _, raw in raws])
        total = _total([_whole(raw.get("total"), 0, MAX_MEMORY) for _, _, raw in raws])
        hottest = [t for _, _, raw in raws if (t := _number(raw.get("temp"), *TEMPERATURES_C)) is not None]
        alarms = [(int(name[1:]), alarm) for name, gpu, _ in raws if (alarm := _alarm(int(name[1:]), gpu)) is not None]
        return GpuSums(
            count=len(raws),
            name=", ".join(sorted({name for _, _, raw in raws if (name := _text(raw.get("name")))})),
            utilizations=tuple(_share(raw.get("util")) for _, _, raw in raws),
            memory_used=int(used) if used is not None else None,
            memory_total=int(total) if total is not None else None,
            power_w=power / 1000 if power is not None else None,
            power_limit_w=limit / 1000 if limit is not None else None,
            temperature_c=max(hottest, default=None),
            alarms=tuple(alarms),
            history=history,
        )

    def _sample(self, name: str, gpu: _Gpu) -> GpuSample:
        raw = gpu.raw
        index = int(name[1:])
        power, cap = _number(raw.get("mw"), 0, MAX_POWER_W * 1000), _number(raw.get("cap"), 0, MAX_POWER_W * 1000)
        return GpuSample(
            index=index,
            uuid=_uuid(name, raw),
            name=_text(raw.get("name")) or "",
            driver=self.hello.driver if self.hello is not None else None,
            utilization=_share(raw.get("util")),
            memory_used=_whole(raw.get("used"), 0, MAX_MEMORY),
            memory_total=_whole(raw.get("total"), 0, MAX_MEMORY),
            power_w=power / 1000 if power is not None else None,
            power_limit_w=cap / 1000 if cap is not None else None,
            temperature_c=_number(raw.get("temp"), *TEMPERATURES_C),
            alarm=_alarm(index, gpu),
        )

    def machine(self) -> MachineView:
        """The host itself."""
        facts = self.hello.facts if self.hello is not None else {}
        host, clock = self._host, self.clock
        memory = _list(host.get("mem"))
        total = _whole(memory[0], 0, MAX_MEMORY) if len(memory) == 2 else None
        free = _whole(memory[1], 0, MAX_MEMORY) if len(memory) == 2 else None
        load = host.get("load")
        return MachineView(
            hostname=_text(facts.get("hostname")),
            cpus=_whole(facts.get("cpus"), 1, 1 << 16),
            cpu=_number(host.get("cpu"), 0, 1),
            load=tuple(n for word in load[:3] if (n := _number(word, 0, 1e6)) is not None) if isinstance(load, list) else (),
            memory_used=total - free if total is not None and free is not None and free <= total else None,
            memory_total=total,
            received=_number(host.get("rx"), 0, 1e13),
            sent=_number(host.get("tx"), 0, 1e13),
            disks=_disks(host.get("disks")),
            clock_offset=clock[0] if clock is not None else None,
            clock_error=clock[1] if clock is not None else None,
            kernel=_text(facts.get("kernel")),
            os=_text(facts.get("os")),
            glibc=_text(facts.get("glibc")),
            python=_text(facts.get("python")),
            boot_at=_number(facts.get("boot"), 0, 1e12),
            runtimes=tuple(_words(facts.get("runtimes"))),
            toolkit=facts.get("toolkit") if isinstance(facts.get("toolkit"), bool) else None,
            mounts=tuple(_mounts(facts.get("mounts"))),
            has_amd=facts.get("amd") is True,
        )


def machine_alarms(machine: MachineView) -> tuple[str, ...]:
    """What an operator must know of a host before anything is compared with it."""
    out = []
    if machine.clock_offset is not None and abs(machine.clock_offset) - (machine.clock_error or 0) >= SKEW_ALARM:
        way = "ahead of" if machine.clock_offset > 0 else "behind"
        out.append(f"clock {abs(machine.clock_offset):.1f} s {way} ours: start chrony or systemd-timesyncd there")
    for disk in machine.disks:
        if disk.error:
            out.append(f"{disk.path}: {disk.error}")
        elif disk.total and disk.free is not None and disk.free < DISK_ALARM * disk.total:
            out.append(f"{disk.path}: {disk.free / disk.total:.0%} of the disk is free")
        elif disk.inodes and disk.inodes_free is not None and disk.inodes_free < DISK_ALARM * disk.inodes:
            out.append(f"{disk.path}: {disk.inodes_free / disk.inodes:.0%} of the inodes are free")
    return tuple(out)


def _detail(gpu: _Gpu) -> GpuDetail:
    raw = gpu.raw
    reasons = _whole(raw.get("why"), 0, 1 << 63) or 0
    rows = _list(raw.get("rows"))
    mode = _whole(raw.get("mode"), 0, len(_COMPUTE_MODES) - 1)
    sent, received = gpu.rates if gpu.rates is not None else (None, None)
    remapped = [_whole(row, 0, 1 << 31) for row in rows] if len(rows) == 4 else [None] * 4
    return GpuDetail(
        memory_utilization=_share(raw.get("mutil")),
        encoder=_share(raw.get("enc")),
        memory_temperature_c=_number(raw.get("mtemp"), *TEMPERATURES_C),
        clock_mhz=_whole(raw.get("sm"), 0, 20_000),
        clock_max_mhz=_whole(raw.get("smmax"), 0, 20_000),
        memory_clock_mhz=_whole(raw.get("mem"), 0, 50_000),
        throttled=tuple(words for bit, words in THROTTLE if reasons & bit),
        ecc=_truth(raw.get("ecc")),
        ecc_corrected=_whole(raw.get("ecc1"), 0, COUNTER),
        ecc_uncorrected=_whole(raw.get("ecc2"), 0, COUNTER),
        retired_pages=_whole(raw.get("pages"), 0, 1 << 31),
        remapped_rows=remapped[0] + remapped[1] if remapped[0] is not None and remapped[1] is not None else None,
        remap_pending=_truth(remapped[2]),
        remap_failed=_truth(remapped[3]),
        xid=_whole(raw.get("xid"), 1, 1 << 20),
        pcie_sent=_kib(raw.get("pcitx")),
        pcie_received=_kib(raw.get("pcirx")),
        pcie_generation=_whole(raw.get("gen"), 0, 20),
        pcie_width=_whole(raw.get("width"), 0, 64),
        nvlink_sent=sent,
        nvlink_received=received,
        fan=_share(raw.get("fan"), most=200),
        persistence=_truth(raw.get("persist")),
        compute_mode=_COMPUTE_MODES[mode] if mode is not None else None,
        pstate=_whole(raw.get("pstate"), 0, 15),
        mig_mode=_truth(raw.get("mig")),
        mig=tuple(_migs(raw.get("migs"))),
        processes=tuple(_processes(raw["procs"])) if isinstance(raw.get("procs"), list) else None,
    )


def _alarm(index: int, gpu: _Gpu) -> str | None:
    """The worst that is known of a GPU, with its cure."""
    raw = gpu.raw
    reasons = raw.get("why")
    is_hot = isinstance(reasons, int) and bool(reasons & HARDWARE_THERMAL)
    rows = raw.get("rows")
    if not (is_hot or raw.get("lost") or raw.get("xid") or raw.get("ecc2") or (isinstance(rows, list) and any(rows[2:]))):
        return None  # at once: it is asked of thousands
    detail = _detail(gpu)
    lost = _whole(raw.get("lost"), 1, 1 << 20)
    if lost == RESET_REQUIRED:
        return f"requires a reset: drain it, then nvidia-smi --gpu-reset -i {index}"
    if lost is not None:
        xid = f" after {xid_words(detail.xid)}" if detail.xid is not None else ""
        return f"lost{xid}: drain the host and reboot it; if it comes back, the GPU is broken"
    if detail.xid is not None and (words := xid_words(detail.xid, alarms_only=True)):
        return words
    if detail.remap_failed:
        return "row remapping failed: replace the GPU"
    if detail.remap_pending:
        return "a row remap waits for a reset: drain it, then reset the GPU"
    if detail.ecc_uncorrected:
        return f"{detail.ecc_uncorrected} uncorrected ECC errors since the driver was loaded: results may be wrong; drain and reset it"
    if is_hot:
        return "slowed down by heat: look at its cooling"
    return None


def _uuid(name: str, raw: dict[str, Any]) -> str:
    return _text(raw.get("uuid")) or f"index {name[1:]}"


def _migs(value: Any) -> list[MigView]:
    return [
        MigView(
            uuid=_text(one.get("uuid")) or "",
            name=_text(one.get("name")) or "",
            memory_used=_whole(one.get("used"), 0, MAX_MEMORY),
            memory_total=_whole(one.get("total"), 0, MAX_MEMORY),
        )
        for one in _list(value)[:SHOWN_PROCESSES]
        if isinstance(one, dict)
    ]


def _processes(value: list[Any]) -> list[ProcessView]:
    return [
        ProcessView(
            pid=_whole(one.get("pid"), 0, 1 << 31) or 0,
            memory=_whole(one.get("used"), 0, MAX_MEMORY),
            user=_text(one.get("user")),
            command=_text(one.get("cmd"), 160),
            job=_text(one.get("job")),
        )
        for one in value[:SHOWN_PROCESSES]
        if isinstance(one, dict)
    ]


def _disks(value: Any) -> tuple[DiskView, ...]:
    out = []
    for path, seen in list(value.items())[:MAX_KEYS] if isinstance(value, dict) else []:
        if isinstance(seen, list) and len(seen) == 4:
            total, free, inodes, inodes_free = (_whole(number, 0, 1 << 62) for number in seen)
            out.append(DiskView(path=plain(path, 200), total=total, free=free, inodes=inodes or None, inodes_free=inodes_free))
        else:
            out.append(DiskView(path=plain(path, 200), error=_text(seen) or "cannot be read"))
    return tuple(out)


def _mounts(value: Any) -> list[tuple[str, str]]:
    return [(plain(str(p[0]), 200), plain(str(p[1]), 40)) for p in _list(value)[:MAX_KEYS] if isinstance(p, list) and len(p) == 2]


def _words(value: Any) -> list[str]:
    return [plain(word, 40) for word in _list(value)[:MAX_KEYS] if isinstance(word, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any, most: int = 100) -> str | None:
    return plain(value, most) if isinstance(value, str) and value else None


def _version(value: Any) -> str | None:
    text = _text(value, 40)
    return text if text is not None and text[0].isdigit() else None


def _whole(value: Any, low: int, high: int) -> int | None:
    return value if type(value) is int and low <= value <= high else None  # a bool is none


def _number(value: Any, low: float, high: float) -> float | None:
    """Within finite bounds: neither infinity nor NaN is."""
    if type(value) is not float and type(value) is not int:
        return None
    return float(value) if low <= value <= high else None


def _share(value: Any, most: int = 100) -> float | None:
    whole = _whole(value, 0, most)
    return whole / 100 if whole is not None else None


def _kib(value: Any) -> float | None:
    whole = _whole(value, 0, 1 << 40)
    return whole * 1024.0 if whole is not None else None


def _total(values: list[float | None]) -> float | None:
    """A sum over all, or nothing."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _truth(value: Any) -> bool | None:
    return bool(value) if isinstance(value, (int, bool)) else None

"""A host itself: processors, memory, network, clock, disks, what it runs."""

from __future__ import annotations

from datetime import datetime

from rich.style import Style

from backends.snapshot import DiskView, HostView, MachineView
from themes.palette import Palette
from widgets.bars import bar
from widgets.columns import fact
from widgets.figures import NOTHING, count, duration, number, progress, rate, seconds, share, size_of
from widgets.fleet_map import ink_of
from widgets.row import Row

LABEL = 8
BAR = 10


def machine_rows(host: HostView, at: datetime, palette: Palette, width: int) -> list[Row]:
    """What the agent tells of the machine; `at` is now."""
    machine = host.machine
    if machine is None:
        words = "nothing tells of the machine" if host.sums is None else "asking the engine"
        return [Row(palette).add(words, palette.muted)]
    ink = ink_of(host, palette)
    load = " ".join(f"{value:.1f}" for value in machine.load) or NOTHING
    used = progress(machine.memory_used, machine.memory_total) if machine.memory_total else None
    rows = [
        _gauge("CPU", machine.cpu, f"of {count(machine.cpus)} cores, load {load}", palette, ink),
        _gauge("memory", used, size_of(machine.memory_used, machine.memory_total), palette, ink),
        fact(palette, "network", f"in {rate(machine.received)}, out {rate(machine.sent)}", width=LABEL),
        fact(palette, "clock", _clock(machine), _alarmed(host, "clock", palette), width=LABEL),
        fact(palette, "up", duration(at.timestamp() - machine.boot_at) if machine.boot_at is not None else NOTHING, width=LABEL),
        fact(palette, "system", _system(machine), width=LABEL),
        fact(palette, "runtimes", _runtimes(machine), width=LABEL),
    ]
    rows += [_disk(disk, palette, ink) for disk in machine.disks]
    if machine.mounts:
        rows.append(fact(palette, "mounts", ", ".join(f"{path} ({kind})" for path, kind in machine.mounts), width=LABEL))
    return rows


def _gauge(label: str, value: float | None, words: str, palette: Palette, ink: Style) -> Row:
    row = Row(palette).add(label, palette.muted, LABEL).gap().join(bar(palette, value, BAR, ink))
    return row.add(share(value, 0), palette.text, 6, "right").gap(2).add(words, palette.text)


def _clock(machine: MachineView) -> str:
    if machine.clock_offset is None:
        return NOTHING
    way = "ahead of" if machine.clock_offset > 0 else "behind"
    return f"{seconds(abs(machine.clock_offset))} {way} ours, ±{seconds(machine.clock_error)}"


def _alarmed(host: HostView, word: str, palette: Palette) -> Style | None:
    return palette.held if any(alarm.startswith(word) for alarm in host.alarms) else None


def _system(machine: MachineView) -> str:
    parts = [machine.os, machine.kernel and f"kernel {machine.kernel}", machine.glibc and f"glibc {machine.glibc}"]
    parts += [machine.python and f"Python {machine.python}"]
    return ", ".join(part for part in parts if part) or NOTHING


def _runtimes(machine: MachineView) -> str:
    toolkit = {None: "", True: "NVIDIA's toolkit is there", False: "without NVIDIA's toolkit"}[machine.toolkit]
    return ", ".join([*machine.runtimes, *([toolkit] if toolkit else [])]) or NOTHING


def _disk(disk: DiskView, palette: Palette, ink: Style) -> Row:
    if disk.error is not None:
        return fact(palette, "disk", f"{disk.path}: {disk.error}", palette.held, width=LABEL)
    used = None if disk.total is None or disk.free is None else disk.total - disk.free
    words = f"{size_of(used, disk.total)} of {disk.path}" if disk.total is None else f"{size_of(used, disk.total)}  {disk.path}"
    if disk.inodes is not None and disk.inodes_free is not None and disk.inodes:
        words += f"  {number(disk.inodes_free / disk.inodes * 100)} % of the inodes free"
    return _gauge("disk", progress(used, disk.total) if disk.total else None, words, palette, ink)

"""What `nvidia-smi` prints: `--query-gpu` as CSV (with `-l`, `-lms`, `--loop`), `-L`, and the table.

Forms as in recordings of driver 550: the CSV header stands once before a loop, units in the header stay with `nounits`, an
unknown field ends with exit 2, what a board does not have is `[N/A]`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from backends.sandbox.gpus import SimulatedGpu

DRIVER = "550.90.07"
CUDA = "12.4"
_ABSENT = "[N/A]"

_Value = Callable[[SimulatedGpu], str]


def _mib(value: float) -> str:
    return f"{round(value)}"


# field -> (unit in the header, unit in the cell, value)
_FIELDS: dict[str, tuple[str, str, _Value]] = {
    "timestamp": ("", "", lambda g: time.strftime("%Y/%m/%d %H:%M:%S.") + f"{int(time.time() * 1000) % 1000:03d}"),
    "index": ("", "", lambda g: str(g.index)),
    "name": ("", "", lambda g: g.name),
    "uuid": ("", "", lambda g: g.uuid),
    "serial": ("", "", lambda g: f"16531230{g.index:05d}"),
    "count": ("", "", lambda g: "4"),
    "driver_version": ("", "", lambda g: DRIVER),
    "vbios_version": ("", "", lambda g: "96.00.74.00.01"),
    "compute_cap": ("", "", lambda g: g.model.compute_capability),
    "pci.bus_id": ("", "", lambda g: f"00000000:{0x10 + 0x20 * g.index:02X}:00.0"),
    "pstate": ("", "", lambda g: "P0"),
    "persistence_mode": ("", "", lambda g: "Enabled"),
    "compute_mode": ("", "", lambda g: "Default"),
    "mig.mode.current": ("", "", lambda g: "Disabled"),
    "mig.mode.pending": ("", "", lambda g: "Disabled"),
    "display_active": ("", "", lambda g: "Disabled"),
    "utilization.gpu": (" [%]", " %", lambda g: f"{round(g.utilization * 100)}"),
    "utilization.memory": (" [%]", " %", lambda g: f"{round(g.memory_utilization * 100)}"),
    "memory.total": (" [MiB]", " MiB", lambda g: _mib(g.model.memory_mib)),
    "memory.used": (" [MiB]", " MiB", lambda g: _mib(g.memory_mib)),
    "memory.free": (" [MiB]", " MiB", lambda g: _mib(g.model.memory_mib - round(g.memory_mib) - 600)),
    "memory.reserved": (" [MiB]", " MiB", lambda g: "600"),
    "power.draw": (" [W]", " W", lambda g: f"{g.power_w:.2f}"),
    "power.draw.average": (" [W]", " W", lambda g: f"{g.power_w:.2f}"),
    "power.draw.instant": (" [W]", " W", lambda g: f"{g.power_w:.2f}"),
    "power.limit": (" [W]", " W", lambda g: f"{g.model.limit_w:.2f}"),
    "enforced.power.limit": (" [W]", " W", lambda g: f"{g.model.limit_w:.2f}"),
    "power.max_limit": (" [W]", " W", lambda g: f"{g.model.limit_w:.2f}"),
    "temperature.gpu": ("", "", lambda g: f"{round(g.temperature_c)}"),
    "temperature.memory": ("", "", lambda g: f"{round(g.temperature_c + 9)}"),
    "clocks.current.sm": (" [MHz]", " MHz", lambda g: f"{g.model.sm_mhz}"),
    "clocks.current.graphics": (" [MHz]", " MHz", lambda g: f"{g.model.sm_mhz}"),
    "clocks.current.memory": (" [MHz]", " MHz", lambda g: f"{g.model.memory_mhz}"),
    "clocks.max.sm": (" [MHz]", " MHz", lambda g: f"{g.model.sm_mhz}"),
    "clocks.max.memory": (" [MHz]", " MHz", lambda g: f"{g.model.memory_mhz}"),
    "clocks_event_reasons.active": ("", "", lambda g: "0x0000000000000000"),
    "fan.speed": (" [%]", "", lambda g: _ABSENT),
    "ecc.mode.current": ("", "", lambda g: "Enabled"),
    "ecc.errors.corrected.volatile.total": ("", "", lambda g: "0"),
    "ecc.errors.corrected.aggregate.total": ("", "", lambda g: "0"),
    "ecc.errors.uncorrected.volatile.total": ("", "", lambda g: "0"),
    "ecc.errors.uncorrected.aggregate.total": ("", "", lambda g: "0"),
    "retired_pages.pending": ("", "", lambda g: _ABSENT),
    "remapped_rows.correctable": ("", "", lambda g: "0"),
    "remapped_rows.uncorrectable": ("", "", lambda g: "0"),
    "remapped_rows.pending": ("", "", lambda g: "0"),
    "remapped_rows.failure": ("", "", lambda g: "0"),
    "pcie.link.gen.current": ("", "", lambda g: "4" if g.model.compute_capability == "8.0" else "5"),
    "pcie.link.width.current": ("", "", lambda g: "16"),
}
_ALIASES = {
    "gpu_name": "name",
    "gpu_uuid": "uuid",
    "gpu_serial": "serial",
    "gpu_bus_id": "pci.bus_id",
    "clocks.sm": "clocks.current.sm",
    "clocks.gr": "clocks.current.graphics",
    "clocks.mem": "clocks.current.memory",
    "clocks_throttle_reasons.active": "clocks_event_reasons.active",
}


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked: `every` is the loop's period in seconds, None for once."""

    fields: tuple[str, ...] = ()
    header: bool = True
    units: bool = True
    every: float | None = None
    listing: bool = False
    only: tuple[int, ...] | None = None


class BadQuery(ValueError):
    """nvidia-smi's own words for a command line that it does not take; it exits with `status`."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def parse_query(argv: list[str]) -> Query:
    """The command line after `nvidia-smi`. Raises `BadQuery`."""
    fields: tuple[str, ...] = ()
    form: list[str] | None = None
    every: float | None = None
    listing = False
    only: tuple[int, ...] | None = None
    rest = list(argv)
    while rest:
        option, _, value = rest.pop(0).partition("=")
        if option in ("-L", "--list-gpus"):
            listing = True
        elif option in ("-l", "--loop", "-lms", "--loop-ms"):
            every = _period(option, value or (rest.pop(0) if rest and rest[0][:1].isdigit() else ""))
        elif option in ("-i", "--id"):
            only = _indices(value or (rest.pop(0) if rest else ""))
        elif option == "--query-gpu":
            fields = tuple(_field(f) for f in value.split(","))
        elif option == "--format":
            form = value.split(",")
        else:
            raise BadQuery(f'Invalid combination of input arguments. Please run "nvidia-smi -h" for help. ({option})', 1)
    if fields and (form is None or form[0] != "csv"):
        raise BadQuery('"--format" needs to be one of: "csv"', 1)
    modes = set(form or ())
    return Query(fields, "noheader" not in modes, "nounits" not in modes, every, listing, only)


def csv_header(query: Query) -> str:
    """The header line."""
    return ", ".join(f + _FIELDS[_ALIASES.get(f, f)][0] for f in query.fields) + "\n"


def csv_rows(query: Query, gpus: list[SimulatedGpu]) -> str:
    """One line a GPU."""
    return "".join(", ".join(_cell(f, g, query.units) for f in query.fields) + "\n" for g in chosen(query, gpus))


def chosen(query: Query, gpus: list[SimulatedGpu]) -> list[SimulatedGpu]:
    """The GPUs that were asked for."""
    return [g for g in gpus if query.only is None or g.index in query.only]


def listing(gpus: list[SimulatedGpu]) -> str:
    """What `-L` prints."""
    return "".join(f"GPU {g.index}: {g.name} (UUID: {g.uuid})\n" for g in gpus)


def table(gpus: list[SimulatedGpu]) -> str:
    """What `nvidia-smi` prints without arguments."""
    rule = "+-----------------------------------------+------------------------+----------------------+"
    lines = [
        time.strftime("%a %b %d %H:%M:%S %Y       "),
        "+-----------------------------------------------------------------------------------------+",
        f"| NVIDIA-SMI {DRIVER:<22} Driver Version: {DRIVER:<14} CUDA Version: {CUDA:<8} |",
        "|-----------------------------------------+------------------------+----------------------+",
        "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |",
        "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |",
        "|                                         |                        |               MIG M. |",
        "|=========================================+========================+======================|",
    ]
    for gpu in gpus:
        bus = _FIELDS["pci.bus_id"][2](gpu)
        memory = f"{round(gpu.memory_mib)}MiB / {gpu.model.memory_mib:>6}MiB"
        power = f"{round(gpu.power_w)}W / {round(gpu.model.limit_w):>4}W"
        lines += [
            f"| {gpu.index:>3}  {gpu.name:<29}  On  |   {bus} Off |                    0 |",
            f"| N/A  {round(gpu.temperature_c):>3}C    P0  {power:>22} | {memory:>22} |"
            f" {round(gpu.utilization * 100):>6}%      Default |",
            "|                                         |                        |             Disabled |",
            rule,
        ]
    return "\n".join(lines) + "\n"


def _cell(name: str, gpu: SimulatedGpu, units: bool) -> str:
    _, unit, value = _FIELDS[_ALIASES.get(name, name)]
    return value(gpu) + (unit if units else "")


def _field(name: str) -> str:
    name = name.strip()
    if _ALIASES.get(name, name) not in _FIELDS:
        raise BadQuery(f'Field "{name}" is not a valid field to query.\n', 2)
    return name


def _period(option: str, value: str) -> float:
    try:
        number = float(value) if value else 5.0
    except ValueError:
        raise BadQuery(f'Option "{option}" is not a number: {value}', 1) from None
    seconds = number / 1000 if option in ("-lms", "--loop-ms") else number
    if not 0.05 <= seconds <= 86400:
        raise BadQuery(f'Option "{option}" is out of range: {value}', 1)
    return seconds


def _indices(value: str) -> tuple[int, ...]:
    try:
        return tuple(int(v) for v in value.split(","))
    except ValueError:
        raise BadQuery("No devices were found", 6) from None

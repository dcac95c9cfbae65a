"""What nvidia-smi prints, parsed: rows of `--query-gpu`, the heading of its table, its words when it cannot answer.

Forms seen in recordings of drivers 460 to 610: units in the cells or not (with `nounits` they stay in the heading only), `[N/A]`,
`[Not Supported]`, `[Unknown Error]`, `[GPU requires reset]`, `[Requested functionality has been deprecated]` and `ERR!` in place of
a number; from driver 610 the heading says "KMD Version" and "CUDA UMD Version". A value that is not given is None, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.escape import plain

# The name stands last: it is free text.
FIELDS = (
    "index",
    "uuid",
    "driver_version",
    "utilization.gpu",
    "memory.used",
    "memory.total",
    "power.draw",
    "power.limit",
    "temperature.gpu",
    "name",
)
_NUMBER = re.compile(r"([+-]?\d{1,12}(?:[.,]\d{1,6})?)\s*(%|[KMGT]iB|mW|W|C)?", re.ASCII)
_SCALE = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
MAX_MEMORY = 1 << 50
MAX_POWER_W = 100_000.0
TEMPERATURES_C = (-60.0, 200.0)  # outside it is a sentinel


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU at one instant; `uuid` is who it is, or `index N` where the device does not tell."""

    index: int
    uuid: str
    name: str = ""
    driver: str | None = None
    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    alarm: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What nvidia-smi said instead of figures. `code` is ours; `message` holds its words, made harmless, and the cure."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Heading:
    """Slow facts from the table's heading."""

    driver: str | None = None
    cuda: str | None = None


def query_argv(fields: Sequence[str] = FIELDS, *, every: float | None = None) -> list[str]:
    """The command: once, or in its own loop each `every` seconds."""
    argv = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    if every is None:
        return argv
    return [*argv, "-l", f"{every:g}"] if every == int(every) else [*argv, "-lms", f"{round(every * 1000)}"]


def parse_row(line: str, fields: Sequence[str] = FIELDS) -> GpuSample | None:
    """A row of the query; None for what is no whole row: a message, a heading, a piece cut off."""
    cells = re.split(r",\s", line.strip(), maxsplit=len(fields) - 1)
    if len(cells) != len(fields):
        return None
    row = dict(zip(fields, (cell.strip() for cell in cells), strict=True))
    if not re.fullmatch(r"[0-9]{1,4}", row.get("index", "")):
        return None
    index = int(row["index"])
    temperature = _number(row.get("temperature.gpu"), "C")
    return GpuSample(
        index=index,
        uuid=_text(row.get("uuid")) or f"index {index}",
        name=_text(row.get("name")) or "",
        driver=_text(row.get("driver_version")),
        utilization=_between(_share(row.get("utilization.gpu")), 0.0, 1.0),
        memory_used=_bytes(row.get("memory.used")),
        memory_total=_bytes(row.get("memory.total")),
        power_w=_between(_watts(row.get("power.draw")), 0.0, MAX_POWER_W),
        power_limit_w=_between(_watts(row.get("power.limit")), 0.0, MAX_POWER_W),
        temperature_c=_between(temperature, *TEMPERATURES_C),
        alarm=_alarm(index, row.values()),
    )


def parse_heading(text: str) -> Heading:
    """Driver and CUDA version from the heading of plain `nvidia-smi`, old form or new."""
    driver = re.search(r"\b(?:Driver|KMD) Version:\s*([0-9][0-9.]{0,30})", text)
    cuda = re.search(r"\bCUDA (?:UMD )?Version:\s*([0-9][0-9.]{0,30})", text)
    return Heading(driver.group(1) if driver else None, cuda.group(1) if cuda else None)


def read_trouble(text: str, exit_status: int) -> Trouble:
    """What a failed nvidia-smi means and what cures it; an answer that is not known is shown as it came."""
    said = " ".join(text.split())
    for pattern, code, meaning, cure in _TROUBLES:
        if re.search(pattern, said, re.IGNORECASE):
            return Trouble(code, f"{meaning}: {plain(said, 200)} ({cure})")
    for status, code, meaning, cure in _STATUSES:
        if exit_status == status:
            return Trouble(code, f"{meaning}{f': {plain(said, 200)}' if said else ''} ({cure})")
    return Trouble("nvidia_smi_failed", f"nvidia-smi ended with {exit_status}: {plain(said, 200) or 'it said nothing'}")


def unknown_field(text: str) -> str | None:
    """The field that this nvidia-smi does not know, where that is its complaint."""
    found = re.search(r'Field "([a-z0-9_.]{1,80})" is not a valid field', text)
    return found.group(1) if found else None


_REBOOT = "reboot the host, or unload and load the nvidia modules"
_GONE = "drain the host and reboot it; if it comes back, the GPU is broken"
_NO_DRIVER = "install or load the NVIDIA driver: modprobe nvidia; dmesg tells why it fails"
_NO_PROGRAM = "install the NVIDIA driver, or put nvidia-smi into the PATH of non-interactive shells"
_TROUBLES = (
    (r"driver/library version mismatch", "driver_mismatch", "driver and library differ", _REBOOT),
    (r"communicate with the nvidia driver", "no_driver", "no NVIDIA driver", _NO_DRIVER),
    (r"no devices were found", "no_gpus", "no GPU", "is it passed through to this host? lspci shows it"),
    (r"gpu is lost|unable to determine the device handle|fallen off the bus", "gpu_lost", "a GPU is lost", _GONE),
    (r"requires? (a )?reset", "gpu_reset", "a GPU requires a reset", "drain it, then nvidia-smi --gpu-reset"),
    (r"(nvidia-smi.{0,40}(not found|no such file))|(not found.{0,20}nvidia-smi)", "no_nvidia_smi", "no nvidia-smi", _NO_PROGRAM),
)
# NVML's return values, which nvidia-smi ends with.
_STATUSES = (
    (127, "no_nvidia_smi", "no nvidia-smi", _NO_PROGRAM),
    (126, "no_nvidia_smi", "nvidia-smi may not be run", "check its rights"),
    (4, "no_permission", "nvidia-smi has no permission", "check the rights of /dev/nvidia*"),
    (9, "no_driver", "no NVIDIA driver", _NO_DRIVER),
    (12, "no_library", "the NVML library is missing", "install the driver's user-space part"),
    (14, "inforom", "the infoROM of a GPU is corrupted", "nvidia-smi names it; its figures hold, the board is to be exchanged"),
    (15, "gpu_lost", "a GPU is lost", _GONE),
    (16, "gpu_reset", "a GPU requires a reset", "drain it, then nvidia-smi --gpu-reset"),
    (18, "driver_mismatch", "driver and library differ", _REBOOT),
)


def _text(cell: str | None) -> str | None:
    """A cell's words; None for `[N/A]` and its kin."""
    if not cell or cell.startswith("[") or cell in ("N/A", "ERR!"):
        return None
    return plain(cell, 80)


def _number(cell: str | None, unit: str) -> float | None:
    """The number of a cell, in `unit` where none is written."""
    found = _NUMBER.fullmatch(cell or "")
    if found is None:
        return None
    value = float(found.group(1).replace(",", "."))
    given = found.group(2) or unit
    if given in _SCALE and unit in _SCALE:
        return value * _SCALE[given]
    if given == "mW" and unit == "W":
        return value / 1000
    return value if given == unit else None


def _bytes(cell: str | None) -> int | None:
    value = _between(_number(cell, "MiB"), 0, MAX_MEMORY)
    return None if value is None else int(value)


def _share(cell: str | None) -> float | None:
    value = _number(cell, "%")
    return None if value is None else value / 100


def _watts(cell: str | None) -> float | None:
    return _number(cell, "W")


def _between(value: float | None, low: float, high: float) -> float | None:
    """`value` where it is possible at all; what a device says outside is a sentinel."""
    return value if value is not None and low <= value <= high else None


def _alarm(index: int, cells: Iterable[str]) -> str | None:
    text = " ".join(cells).lower()
    if "requires reset" in text or "reset required" in text:
        return f"requires a reset: drain it, then nvidia-smi --gpu-reset -i {index}"
    if "gpu is lost" in text:
        return f"lost: {_GONE}"
    return None

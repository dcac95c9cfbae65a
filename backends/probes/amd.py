"""`amd-smi … --json`, parsed: AMD's GPUs in the same panel, with what they give. Names of amd-smi of ROCm 6.1 to 7.2.

A value is `{"value": 94, "unit": "%"}`, the bare number, or `"N/A"`; the rows of the GPUs are the document itself, or lie under `gpu_data`.
MB and GB are binary there. What stands still (name, limits, driver) is in `static`, who works in `process`, identities in `list`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from backends.escape import plain
from backends.probes.gpus import MAX_MEMORY, MAX_POWER_W, TEMPERATURES_C, GpuSample
from backends.snapshot import GpuDetail, ProcessView

METRIC = ("amd-smi", "metric", "--json")
STATIC = ("amd-smi", "static", "--json")
LIST = ("amd-smi", "list", "--json")
PROCESS = ("amd-smi", "process", "--json")
MAX_GPUS = 256
SHOWN_PROCESSES = 16
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}  # by GT/s of a lane
_POWER = (("power", "socket_power"), ("power", "current_socket_power"), ("power", "average_socket_power"))
_LIMIT = (("limit", "ppt0", "socket_power_limit"), ("limit", "socket_power"), ("limit", "max_power"))
_TEMPERATURE = (("temperature", "hotspot"), ("temperature", "edge"))

Rows = dict[int, dict[str, Any]]


class BadAnswer(ValueError):
    """It is no JSON of amd-smi."""


def rows_of(text: str) -> Rows:
    """The rows of an answer, by the GPU's number. Raises `BadAnswer`."""
    found = re.search(r"^\s*[\[{]", text, re.MULTILINE)  # warnings of the driver may stand before
    try:
        value = json.loads(text[found.start() :]) if found else None
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"no JSON of amd-smi: {plain(text[:80])}") from error
    rows = value.get("gpu_data") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise BadAnswer(f"no JSON of amd-smi: {plain(text[:80])}")
    out: Rows = {}
    for row in rows[:MAX_GPUS]:
        index = row.get("gpu") if isinstance(row, dict) else None
        if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < 1 << 16:
            out[index] = row
    return out


def gpus_of(metric: Rows, static: Rows, listed: Rows, processes: Rows) -> list[tuple[GpuSample, GpuDetail]]:
    """Every GPU that `metric` names, in its order."""
    return [_gpu(i, metric[i], static.get(i, {}), listed.get(i, {}), processes.get(i)) for i in sorted(metric)]


def _gpu(
    index: int, row: Mapping[str, Any], static: Mapping[str, Any], listed: Mapping[str, Any], working: Mapping[str, Any] | None
) -> tuple[GpuSample, GpuDetail]:
    used, total = (_bytes(_at(row, "mem_usage", f"{what}_vram")) for what in ("used", "total"))
    speed, width = _number(_at(row, "pcie", "speed"), 0, 1000), _number(_at(row, "pcie", "width"), 0, 64)
    corrected, uncorrected = (
        _whole(_at(row, "ecc", f"total_{what}_count"), 1 << 62) for what in ("correctable", "uncorrectable")
    )
    sample = GpuSample(
        index=index,
        uuid=_words(_at(listed, "uuid")) or _words(_at(static, "asic", "asic_serial")) or f"index {index}",
        name=_words(_at(static, "asic", "market_name")) or "",
        driver=_words(_at(static, "driver", "version")),
        utilization=_percent(_at(row, "usage", "gfx_activity")),
        memory_used=used,
        memory_total=total if total is not None else _bytes(_at(static, "vram", "size")),
        power_w=_first(row, _POWER, 0, MAX_POWER_W),
        power_limit_w=_first(static, _LIMIT, 1, MAX_POWER_W),  # 0 is how some say that there is none
        temperature_c=_first(row, _TEMPERATURE, *TEMPERATURES_C),
        alarm=f"{uncorrected} uncorrected ECC errors since the driver was loaded: results may be wrong; drain and reset it"
        if uncorrected
        else None,
    )
    detail = GpuDetail(
        memory_utilization=_percent(_at(row, "usage", "umc_activity")),
        encoder=_video(row),
        memory_temperature_c=_number(_at(row, "temperature", "mem"), *TEMPERATURES_C),
        clock_mhz=_whole(_at(row, "clock", "gfx_0", "clk"), 20_000),
        clock_max_mhz=_whole(_at(row, "clock", "gfx_0", "max_clk"), 20_000),
        memory_clock_mhz=_whole(_at(row, "clock", "mem_0", "clk"), 50_000),
        throttled=("throttled",) if _at(row, "power", "throttle_status") == "THROTTLED" else (),
        ecc_corrected=corrected,
        ecc_uncorrected=uncorrected,
        pcie_generation=_GENERATIONS.get(speed) if speed is not None else None,
        pcie_width=int(width) if width else None,
        fan=_percent(_at(row, "fan", "usage")),
        processes=_processes(working) if working is not None else None,
    )
    return sample, detail


def _video(row: Mapping[str, Any]) -> float | None:
    """The engines of video, the busiest of them."""
    whole = _percent(_at(row, "usage", "mm_activity"))
    engines = _at(row, "usage", "vcn_activity")
    each = [share for one in engines if (share := _percent(one)) is not None] if isinstance(engines, list) else []
    return whole if whole is not None else max(each, default=None)


def _processes(row: Mapping[str, Any]) -> tuple[ProcessView, ...]:
    """User, command and job are not told by it."""
    out = []
    listed = row.get("process_list")
    for entry in listed if isinstance(listed, list) else []:
        info = entry.get("process_info") if isinstance(entry, dict) else None
        pid = _whole(_at(info, "pid"), 1 << 31) if isinstance(info, dict) else None
        if pid is None:
            continue  # "No running processes detected"
        memory = _bytes(_at(info, "memory_usage", "vram_mem"))
        memory = memory if memory is not None else _bytes(_at(info, "mem_usage"))
        out.append(ProcessView(pid=pid, memory=memory, command=_words(_at(info, "name"))))
    return tuple(sorted(out, key=lambda one: (-(one.memory or 0), one.pid))[:SHOWN_PROCESSES])


def _at(node: Any, *path: str) -> Any:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _first(node: Mapping[str, Any], paths: tuple[tuple[str, ...], ...], low: float, high: float) -> float | None:
    return next((value for path in paths if (value := _number(_at(node, *path), low, high)) is not None), None)


def _number(value: Any, low: float, high: float) -> float | None:
    value = value.get("value") if isinstance(value, dict) else value
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,20}(\.\d{1,6})?", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if low <= value <= high else None


def _whole(value: Any, most: int) -> int | None:
    number = _number(value, 0, most)
    return int(number) if number is not None else None


def _percent(value: Any) -> float | None:
    number = _number(value, 0, 100)
    return number / 100 if number is not None else None


def _bytes(value: Any) -> int | None:
    unit = value.get("unit") if isinstance(value, dict) else None
    scale = _UNITS.get(unit if isinstance(unit, str) else "MB", 1 << 20)
    number = _number(value, 0, MAX_MEMORY / scale)
    return int(number * scale) if number is not None else None


def _words(value: Any) -> str | None:
    return plain(value, 80) if isinstance(value, str) and value and value not in ("N/A", "None") else None

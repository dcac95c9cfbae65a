"""dcgm-exporter's page, parsed: GPUs of a host that runs it for Prometheus. Field names: dcgm-exporter's default-counters.csv.

DCGM says "not there" by blank values near the top of each type (dcgm_structs.h: 2147483632 and up, 9223372036854775792 and up, and
doubles from 140737488355328): those are None.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

from backends.escape import plain
from backends.probes.gpus import MAX_MEMORY, MAX_POWER_W, TEMPERATURES_C, GpuSample
from backends.probes.xid import xid_words
from backends.snapshot import GpuDetail

MIB = 1 << 20
_LINE = re.compile(r"(DCGM_FI_[A-Z0-9_]{1,60})\{([^\n]{0,2000})\}\s+(\S{1,40})(?:\s+\d{1,20})?", re.ASCII)
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]{0,60})="((?:[^"\\\n]|\\.){0,400})"')
_BLANKS = (2147483632, 140737488355328, 9223372036854775792)
MAX_GPUS = 256


def parse_dcgm(text: str) -> list[tuple[GpuSample, GpuDetail]]:
    """Every GPU of the page, by UUID. Lines that are none of DCGM's, and MIG instances' own, are passed over."""
    gpus: dict[str, dict[str, float]] = {}
    labels: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        names = dict(_LABEL.findall(found.group(2)))
        uuid = names.get("UUID") or f"index {names.get('gpu', '?')}"
        if names.get("GPU_I_ID") or (uuid not in gpus and len(gpus) >= MAX_GPUS):
            continue
        labels.setdefault(uuid, names)
        value = _value(found.group(3))
        if value is not None:
            gpus.setdefault(uuid, {})[found.group(1).removeprefix("DCGM_FI_")] = value
        else:
            gpus.setdefault(uuid, {})
    return [_gpu(uuid, labels[uuid], values) for uuid, values in gpus.items()]


def _value(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value) or any(blank <= value < blank + 16 for blank in _BLANKS):
        return None
    return value


def _gpu(uuid: str, names: dict[str, str], values: dict[str, float]) -> tuple[GpuSample, GpuDetail]:
    def get(name: str, low: float, high: float, scale: float = 1.0) -> float | None:
        value = values.get(name)
        return value * scale if value is not None and low <= value * scale <= high else None

    used, free = get("DEV_FB_USED", 0, MAX_MEMORY, MIB), get("DEV_FB_FREE", 0, MAX_MEMORY, MIB)
    reserved = get("DEV_FB_RESERVED", 0, MAX_MEMORY, MIB) or 0.0
    index = names.get("gpu", "")
    xid = get("DEV_XID_ERRORS", 1, 1 << 20)
    detail = GpuDetail(
        memory_utilization=get("DEV_MEM_COPY_UTIL", 0, 1, 0.01),
        encoder=get("DEV_ENC_UTIL", 0, 1, 0.01),
        memory_temperature_c=get("DEV_MEMORY_TEMP", *TEMPERATURES_C),
        clock_mhz=_int(get("DEV_SM_CLOCK", 0, 20_000)),
        memory_clock_mhz=_int(get("DEV_MEM_CLOCK", 0, 50_000)),
        ecc_corrected=_int(get("DEV_ECC_SBE_VOL_TOTAL", 0, 1 << 62)),
        ecc_uncorrected=_int(get("DEV_ECC_DBE_VOL_TOTAL", 0, 1 << 62)),
        remapped_rows=_int(
            _sum(get("DEV_CORRECTABLE_REMAPPED_ROWS", 0, 1 << 31), get("DEV_UNCORRECTABLE_REMAPPED_ROWS", 0, 1 << 31))
        ),
        remap_failed=bool(failed) if (failed := get("DEV_ROW_REMAP_FAILURE", 0, 1)) is not None else None,
        xid=_int(xid),
    )
    sample = GpuSample(
        index=int(index) if re.fullmatch(r"[0-9]{1,4}", index) else 0,
        uuid=plain(uuid, 80),
        name=plain(names.get("modelName", ""), 80),
        driver=plain(names["DCGM_FI_DRIVER_VERSION"], 40) if names.get("DCGM_FI_DRIVER_VERSION") else None,
        utilization=get("DEV_GPU_UTIL", 0, 1, 0.01),
        memory_used=_int(used),
        memory_total=_int(used + free + reserved) if used is not None and free is not None else None,
        power_w=get("DEV_POWER_USAGE", 0, MAX_POWER_W),
        temperature_c=get("DEV_GPU_TEMP", *TEMPERATURES_C),
    )
    words = xid_words(detail.xid, alarms_only=True) if detail.xid is not None else ""
    return replace(sample, alarm=words or None), detail


def _int(value: float | None) -> int | None:
    return int(value) if value is not None else None


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None

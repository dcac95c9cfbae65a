"""`nvidia-smi -q -x`, parsed: the source of hosts whose nvidia-smi does not take `--query-gpu`.

Documents of DTD 10 to 13 (drivers 390 to 610): 11 has `power_readings` and `clocks_throttle_reasons`, 12 `gpu_power_readings` and
`clocks_event_reasons`, 13 no `power_draw` but `average_power_draw` and `instant_power_draw`. What is `N/A` or absent is None.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from backends.escape import plain
from backends.probes.gpus import MAX_MEMORY, MAX_POWER_W, TEMPERATURES_C, GpuSample, Heading
from backends.snapshot import GpuDetail, MigView, ProcessView

MAX_GPUS = 64
_REASONS = {
    "sw_power_cap": "power cap",
    "hw_slowdown": "hardware slowdown",
    "sw_thermal_slowdown": "thermal, software",
    "hw_thermal_slowdown": "thermal, hardware",
    "hw_power_brake_slowdown": "power brake",
}
_UNITS = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "KB/s": 1000.0, "MB/s": 1e6}


class BadDocument(ValueError):
    """It is no document of nvidia-smi."""


def parse_xml(text: str) -> tuple[Heading, list[tuple[GpuSample, GpuDetail]]]:
    """Heading and GPUs. Raises `BadDocument`. A document with entities of its own is refused: nvidia-smi writes none."""
    start = text.find("<nvidia_smi_log")
    if start < 0 or "<!ENTITY" in text:
        raise BadDocument(f"no document of nvidia-smi: {plain(text[:80])}")
    end = text.find("</nvidia_smi_log>", start)
    try:
        root = ElementTree.fromstring(text[start : end + len("</nvidia_smi_log>")])
    except ElementTree.ParseError as error:
        raise BadDocument(f"a broken document of nvidia-smi: {plain(str(error))}") from error
    driver = _text(root, "driver_version")
    heading = Heading(driver, _text(root, "cuda_version"))
    return heading, [_gpu(gpu, index, driver) for index, gpu in enumerate(root.findall("gpu")[:MAX_GPUS])]


def _gpu(gpu: ElementTree.Element, index: int, driver: str | None) -> tuple[GpuSample, GpuDetail]:
    power = next((p for name in ("gpu_power_readings", "power_readings") if (p := gpu.find(name)) is not None), None)
    draws = ("power_draw", "instant_power_draw", "average_power_draw")
    limits = ("enforced_power_limit", "current_power_limit", "power_limit")
    needs_reset = (_text(gpu, "gpu_reset_status/reset_required") or "").lower() == "yes"
    sample = GpuSample(
        index=index,
        uuid=_text(gpu, "uuid") or f"index {index}",
        name=_text(gpu, "product_name") or "",
        driver=driver,
        utilization=_share(gpu, "utilization/gpu_util"),
        memory_used=_bytes(gpu, "fb_memory_usage/used"),
        memory_total=_bytes(gpu, "fb_memory_usage/total"),
        power_w=_first(power, draws),
        power_limit_w=_first(power, limits),
        temperature_c=_number(gpu, "temperature/gpu_temp", "C", *TEMPERATURES_C),
        alarm=f"requires a reset: drain it, then nvidia-smi --gpu-reset -i {index}" if needs_reset else None,
    )
    return sample, _detail(gpu)


def _detail(gpu: ElementTree.Element) -> GpuDetail:
    pcie = "pci/pci_gpu_link_info"
    mode = _text(gpu, "compute_mode")
    errors = "ecc_errors/volatile"
    old = f"{errors}/single_bit/total", f"{errors}/double_bit/total"
    state = _text(gpu, "performance_state")
    return GpuDetail(
        memory_utilization=_share(gpu, "utilization/memory_util"),
        encoder=_share(gpu, "utilization/encoder_util"),
        memory_temperature_c=_number(gpu, "temperature/memory_temp", "C", *TEMPERATURES_C),
        clock_mhz=_whole(gpu, "clocks/sm_clock", "MHz"),
        clock_max_mhz=_whole(gpu, "max_clocks/sm_clock", "MHz"),
        memory_clock_mhz=_whole(gpu, "clocks/mem_clock", "MHz"),
        throttled=_throttled(gpu),
        ecc=_enabled(gpu, "ecc_mode/current_ecc"),
        ecc_corrected=_either(gpu, [f"{errors}/sram_correctable", f"{errors}/dram_correctable"], old[0]),
        ecc_uncorrected=_either(gpu, [f"{errors}/sram_uncorrectable", f"{errors}/dram_uncorrectable"], old[1]),
        retired_pages=_sum(
            gpu, [f"retired_pages/{k}/retired_count" for k in ("multiple_single_bit_retirement", "double_bit_retirement")]
        ),
        remapped_rows=_sum(gpu, ["remapped_rows/remapped_row_corr", "remapped_rows/remapped_row_unc"]),
        remap_pending=_yes(gpu, "remapped_rows/remapped_row_pending"),
        remap_failed=_yes(gpu, "remapped_rows/remapped_row_failure"),
        pcie_sent=_number(gpu, "pci/tx_util", "KB/s", 0, 1e13),
        pcie_received=_number(gpu, "pci/rx_util", "KB/s", 0, 1e13),
        pcie_generation=_whole(gpu, f"{pcie}/pcie_gen/current_link_gen", ""),
        pcie_width=_whole(gpu, f"{pcie}/link_widths/current_link_width", "x"),
        fan=_share(gpu, "fan_speed"),
        persistence=_enabled(gpu, "persistence_mode"),
        compute_mode=mode.replace("_", " ").lower() if mode else None,
        pstate=int(state[1:]) if state is not None and re.fullmatch(r"P\d{1,2}", state) else None,
        mig_mode=_enabled(gpu, "mig_mode/current_mig"),
        mig=tuple(_mig(one) for one in gpu.findall("mig_devices/mig_device")[:16]),
        processes=tuple(_process(one) for one in gpu.findall("processes/process_info")[:16])
        if gpu.find("processes") is not None
        else None,
    )


def _throttled(gpu: ElementTree.Element) -> tuple[str, ...]:
    for prefix in ("clocks_event_reason", "clocks_throttle_reason"):
        node = gpu.find(f"{prefix}s")
        if node is not None:
            return tuple(words for key, words in _REASONS.items() if node.findtext(f"{prefix}_{key}") == "Active")
    return ()


def _mig(device: ElementTree.Element) -> MigView:
    name = f"GI {_text(device, 'gpu_instance_id') or '?'} CI {_text(device, 'compute_instance_id') or '?'}"
    used, total = _bytes(device, "fb_memory_usage/used"), _bytes(device, "fb_memory_usage/total")
    return MigView(name=name, memory_used=used, memory_total=total)


def _process(node: ElementTree.Element) -> ProcessView:
    pid = _text(node, "pid") or ""
    return ProcessView(
        pid=int(pid) if pid.isascii() and pid.isdigit() and len(pid) < 11 else 0,
        memory=_bytes(node, "used_memory"),
        command=_text(node, "process_name", 160),
    )


def _text(node: ElementTree.Element, path: str, most: int = 80) -> str | None:
    said = (node.findtext(path) or "").strip()
    return None if not said or said in ("N/A", "ERR!", "None") or said.startswith("[") else plain(said, most)


def _quantity(node: ElementTree.Element, path: str) -> tuple[float, str] | None:
    found = re.fullmatch(r"([+-]?\d{1,15}(?:[.,]\d{1,6})?)\s*(%|[A-Za-z/]{0,5})", (node.findtext(path) or "").strip(), re.ASCII)
    return (float(found.group(1).replace(",", ".")), found.group(2)) if found else None


def _number(node: ElementTree.Element, path: str, unit: str, low: float, high: float) -> float | None:
    found = _quantity(node, path)
    if found is None or (found[1] and found[1] != unit and found[1] not in _UNITS):
        return None
    value = found[0] * _UNITS.get(found[1] or unit, 1.0)
    return value if low <= value <= high else None


def _first(power: ElementTree.Element | None, paths: tuple[str, ...]) -> float | None:
    values = (_number(power, path, "W", 0, MAX_POWER_W) for path in paths) if power is not None else ()
    return next((value for value in values if value is not None), None)


def _bytes(node: ElementTree.Element, path: str) -> int | None:
    value = _number(node, path, "MiB", 0, MAX_MEMORY)
    return int(value) if value is not None else None


def _share(node: ElementTree.Element, path: str) -> float | None:
    found = _quantity(node, path)
    return found[0] / 100 if found is not None and found[1] in ("%", "") and 0 <= found[0] <= 100 else None


def _whole(node: ElementTree.Element, path: str, unit: str) -> int | None:
    value = _number(node, path, unit, 0, 1e6)
    return int(value) if value is not None else None


def _sum(node: ElementTree.Element, paths: list[str]) -> int | None:
    """Of what is given; None where nothing is."""
    found = [value for path in paths if (value := _whole(node, path, "")) is not None]
    return sum(found) if found else None


def _either(node: ElementTree.Element, paths: list[str], old: str) -> int | None:
    """The sum of today's counters, else the one of older documents."""
    found = _sum(node, paths)
    return found if found is not None else _sum(node, [old])


def _enabled(node: ElementTree.Element, path: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get((node.findtext(path) or "").strip())


def _yes(node: ElementTree.Element, path: str) -> bool | None:
    return {"Yes": True, "No": False}.get((node.findtext(path) or "").strip())

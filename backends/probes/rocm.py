"""`rocm-smi --json`, parsed: AMD's GPUs in the same panel, with what they give. Names of rocm-smi 5 and 6 (ROCm 6.0.2 recorded).

Numbers are strings; what the tool does not know is `N/A`; keys of one clock table stand bare among the names.
"""

from __future__ import annotations

import json
import re
from typing import Any

from backends.escape import plain
from backends.probes.gpus import MAX_MEMORY, MAX_POWER_W, TEMPERATURES_C, GpuSample
from backends.snapshot import GpuDetail

ARGV = ("rocm-smi", "--alldevices", "--showallinfo", "--json")
_POWER = ("Current Socket Graphics Package Power (W)", "Average Graphics Package Power (W)")
_TEMPERATURE = ("Temperature (Sensor junction) (C)", "Temperature (Sensor edge) (C)")
_NAME = ("Card Series", "Card series", "Card model", "Device Name")


class BadAnswer(ValueError):
    """It is no JSON of rocm-smi."""


def parse_rocm(text: str) -> tuple[str | None, list[tuple[GpuSample, GpuDetail]]]:
    """The driver's version and the cards. Raises `BadAnswer`."""
    start = text.find("{")
    try:
        value = json.loads(text[start:]) if start >= 0 else None
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"no JSON of rocm-smi: {plain(text[:80])}") from error
    if not isinstance(value, dict):
        raise BadAnswer(f"no JSON of rocm-smi: {plain(text[:80])}")
    system = value.get("system")
    driver = _words(system.get("Driver version")) if isinstance(system, dict) else None
    cards = {int(key[4:]): card for key, card in value.items() if re.fullmatch(r"card\d{1,3}", key) and isinstance(card, dict)}
    return driver, [_card(index, cards[index], driver) for index in sorted(cards)]


def _card(index: int, card: dict[str, Any], driver: str | None) -> tuple[GpuSample, GpuDetail]:
    used, total = (_number(card.get(f"VRAM Total {what}Memory (B)"), 0, MAX_MEMORY) for what in ("Used ", ""))
    sample = GpuSample(
        index=index,
        uuid=_words(card.get("Unique ID")) or f"index {index}",
        name=next((name for key in _NAME if (name := _words(card.get(key)))), ""),
        driver=driver,
        utilization=_percent(card.get("GPU use (%)")),
        memory_used=int(used) if used is not None else None,
        memory_total=int(total) if total is not None else None,
        power_w=next((w for key in _POWER if (w := _number(card.get(key), 0, MAX_POWER_W)) is not None), None),
        power_limit_w=_number(card.get("Max Graphics Package Power (W)"), 0, MAX_POWER_W),
        temperature_c=next((c for key in _TEMPERATURE if (c := _number(card.get(key), *TEMPERATURES_C)) is not None), None),
    )
    detail = GpuDetail(
        memory_utilization=next(
            (v for k in ("GPU memory use (%)", "GPU Memory Allocated (VRAM%)") if (v := _percent(card.get(k))) is not None), None
        ),
        memory_temperature_c=_number(card.get("Temperature (Sensor memory) (C)"), *TEMPERATURES_C),
        clock_mhz=_clock(card.get("sclk clock speed:")),
        memory_clock_mhz=_clock(card.get("mclk clock speed:")),
        fan=_percent(card.get("Fan speed (%)")),
    )
    return sample, detail


def _words(value: Any) -> str | None:
    return plain(value, 80) if isinstance(value, str) and value and value not in ("N/A", "None") else None


def _number(value: Any, low: float, high: float) -> float | None:
    text = str(value) if isinstance(value, (str, int, float)) else ""
    if not re.fullmatch(r"-?\d{1,20}(\.\d{1,6})?", text, re.ASCII):
        return None
    number = float(text)
    return number if low <= number <= high else None


def _percent(value: Any) -> float | None:
    number = _number(value, 0, 100)
    return number / 100 if number is not None else None


def _clock(value: Any) -> int | None:
    found = re.search(r"\((\d{1,5})\s*[Mm][Hh]z\)", value) if isinstance(value, str) else None
    return int(found.group(1)) if found else None

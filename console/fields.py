"""Every field of a part of the snapshot as label and text, by the units that its names carry."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel

from widgets import figures

LONG = ("history", "legacy_curve", "target_curve")  # drawn, never listed
BYTES = (
    "bytes",
    "bytes_total",
    "bytes_done",
    "size",
    "done",
    "memory_used",
    "memory_total",
    "hub_bytes",
    "saved_bytes",
    "lag_history",
)
SECONDS = (
    "age",
    "period",
    "eta_low",
    "eta_high",
    "eta_seconds",
    "stalled",
    "observed_age",
    "legacy_age",
    "target_age",
    "elapsed",
    "at_least",
)
FRACTIONS = ("data_plane", "share", "utilization", "tolerance")
Rows = tuple[tuple[str, str], ...]


def detail_rows(thing: object) -> Rows:
    """Rows of a model, or of the one model that a record of alternatives holds."""
    if is_dataclass(thing) and not isinstance(thing, type):
        held = [getattr(thing, f.name) for f in fields(thing)]
        return detail_rows(next((part for part in held if part is not None), None))
    return tuple(_rows(thing, "")) if isinstance(thing, BaseModel) else ()


def _rows(model: BaseModel, prefix: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name in type(model).model_fields:
        if name in LONG:
            continue
        label = f"{prefix}{name}".replace("_", " ")
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            rows += _rows(value, f"{prefix}{name} ")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            rows += [(f"{label} {i}", one_line(part)) for i, part in enumerate(value, 1)]
        else:
            rows.append((label, text_of(name, value)))
    return rows


def one_line(model: BaseModel) -> str:
    """A part of a list, in one line: the values that are known."""
    kept = [name for name in type(model).model_fields if name not in LONG]
    return "  ".join(text for name in kept if (text := text_of(name, getattr(model, name))) not in ("-", ""))


def text_of(name: str, value: object) -> str:
    """One value with its unit; `-` where it is not known."""
    if value is None:
        return figures.NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StrEnum | str):
        return str(value)
    if isinstance(value, tuple):
        return ", ".join(text_of(name, part) for part in value) or figures.NOTHING
    if isinstance(value, int | float):
        return _figure(name, value)
    return str(value)


def _figure(name: str, value: float) -> str:
    if name in BYTES:
        return figures.size(value)
    if name in SECONDS or name == "seconds":
        return figures.duration(value)
    if name in FRACTIONS:
        return figures.percent(value)
    if name == "delta":
        return figures.change(value)
    if name in ("rate", "ingest_rate"):
        return figures.rate(value)
    return figures.count(value) if isinstance(value, int) else figures.number(value)

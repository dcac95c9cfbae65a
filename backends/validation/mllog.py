"""MLPerf logs: lines `:::MLLOG {json}`, some with a rank before (`0: :::MLLOG`), among any other lines.

A name is the key (`eval_accuracy`), a field of an object value (`tracked_stats.throughput`), or the one of several told
apart by metadata (`eval_accuracy[masked_lm_accuracy]`): a metadata field of that name that holds a figure, or any metadata
field whose text is that name. Axes are taken as logged: `samples_count`, `epoch_num` (which holds samples or tokens in some
benchmarks), `step` or `step_num`, and `time_ms`. Format: github.com/mlcommons/logging, compliance checker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from backends.errors import CutoverError
from backends.escape import plain
from backends.validation.errors import MetricAmbiguous
from backends.validation.jsonl import field_of, load_object, object_named
from backends.validation.rows import Names, Row, to_number, to_place, to_time

MARK = b":::MLLOG"
_TAGGED = re.compile(r"(?P<name>.+?)\[(?P<tag>[^\[\]]+)\]", re.DOTALL)
_PLAIN_METADATA = frozenset({"file", "lineno"})
_NAMED_LINES = 20_000
_MOST_SETTINGS = 60
SETTINGS = frozenset(
    [
        "seed",
        "global_batch_size",
        "gradient_accumulation_steps",
        "train_samples",
        "eval_samples",
        "max_sequence_length",
        "d_batch_size",
    ]
)


class MlLog:
    """Reads one metric of an MLPerf log."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.found = 0
        self.broken = 0
        self.is_ambiguous = False
        tagged = _TAGGED.fullmatch(metric)
        self._name = tagged["name"] if tagged else metric
        self._tag = tagged["tag"] if tagged else None
        self._names = Names()
        self._named = 0
        self._object: list[str] = []
        self._texts: dict[tuple[float | None, ...], tuple[str, ...]] = {}
        self._ambiguous: list[str] = []
        self.settings: dict[str, str] = {}  # what the log says of how the run was made, by key

    def read(self, lines: Iterable[bytes]) -> list[Row]:
        rows: list[Row] = []
        for line in lines:
            start = line.find(MARK)
            if start < 0:
                continue
            entry = load_object(line[start + len(MARK) :])
            if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
                self.broken += 1
                continue
            if entry["key"] in SETTINGS or entry["key"].startswith("opt_"):
                self._take_setting(entry["key"], entry.get("value"))
            row = self._row(entry)
            if row is not None:
                rows.append(row)
        self.found += len(rows)
        return [] if self._ambiguous else rows

    def _take_setting(self, key: str, value: Any) -> None:
        if isinstance(value, str | int | float) and key not in self.settings and len(self.settings) < _MOST_SETTINGS:
            self.settings[key] = plain(str(value), 80)

    def _row(self, entry: dict[str, Any]) -> Row | None:
        metadata = entry.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        value = self._value(entry["key"], entry.get("value"), metadata)
        if value is None:
            return None
        row = Row(
            to_place(metadata["epoch_num"]) if "epoch_num" in metadata else None,
            _first_place(metadata, ("step", "step_num", "iteration")),
            to_place(metadata["samples_count"]) if "samples_count" in metadata else None,
            to_time(entry["time_ms"] / 1000.0) if isinstance(entry.get("time_ms"), int | float) else None,
            value,
            to_place(metadata["tokens"]) if "tokens" in metadata else None,
        )
        if self._tag is None:
            self._look_for_two(row, metadata)
        return row

    def _value(self, key: str, raw: Any, metadata: dict[str, Any]) -> float | None:
        there = key == self._name
        if not there and self._name.startswith(key + "."):
            there, raw = field_of(raw, self._name[len(key) + 1 :])
        if there and self._tag is not None:
            there, raw = _tagged(self._tag, raw, metadata)
        if there and isinstance(raw, dict):
            self._object = self._object or [str(k) for k in list(raw)[:12]]
            there = False
        number = to_number(raw) if there and raw is not None else None
        if number is None and not self.found and self._named < _NAMED_LINES:
            self._named += 1
            self._note(key, raw, metadata)
        return number

    def _note(self, key: str, raw: Any, metadata: dict[str, Any]) -> None:
        places = any(k in metadata for k in ("epoch_num", "samples_count", "step", "step_num"))
        if isinstance(raw, dict):
            for field, inner in raw.items():
                if isinstance(inner, int | float):
                    self._names.add(f"{key}.{field}")
        elif isinstance(raw, float) or (isinstance(raw, int) and places):
            self._names.add(key)
            for name, inner in metadata.items():
                if isinstance(inner, float):
                    self._names.add(f"{key}[{name}]")

    def _look_for_two(self, row: Row, metadata: dict[str, Any]) -> None:
        """Two values under one key at one place, told apart by a text in the metadata: never mixed silently."""
        texts = tuple(v for k, v in metadata.items() if isinstance(v, str) and k not in _PLAIN_METADATA)
        if not texts:
            return
        place = row[:3]
        before = self._texts.setdefault(place, texts)
        if before != texts and not self._ambiguous:
            self._ambiguous = sorted(set(before).symmetric_difference(texts))
            self.is_ambiguous = True
        if len(self._texts) > 10_000:
            self._texts.clear()

    def why_absent(self) -> CutoverError:
        if self._ambiguous:
            name = plain(self._name, 80)
            listed = ", ".join(f"{name}[{plain(t, 80)}]" for t in self._ambiguous[:12])
            message = f"`{name}` holds more than one metric, told apart by metadata: {listed}"
            return MetricAmbiguous(message, hint="name the one that is meant")
        if self._object:
            return object_named(self.metric, self._object)
        return self._names.absent(self.metric)


def _tagged(tag: str, raw: Any, metadata: dict[str, Any]) -> tuple[bool, Any]:
    """The value that is meant by a tag: the metadata's own figure, or the line's where the metadata says the tag."""
    if tag in metadata:
        own = metadata[tag]
        if own is True:
            return True, raw
        if isinstance(own, int | float | str) and to_number(own) is not None:
            return own is not False, own
    texts = (v for k, v in metadata.items() if k not in _PLAIN_METADATA)
    return any(isinstance(v, str) and v == tag for v in texts), raw


def _first_place(metadata: dict[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        if name in metadata:
            return to_place(metadata[name])
    return None

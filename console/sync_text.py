"""What rounds of sync did, as text for people and as objects for scripts. Strings from outside are made harmless here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from backends.escape import plain
from widgets.figures import count, duration, number, rate, seconds, size

if TYPE_CHECKING:
    from backends.snapshot import DatasetView
    from backends.transfer.models import Failure, Progress, RoundResult
    from backends.transfer.trend import Trend

_NAMED_AT_MOST = 20
_WIDTH = 80
_PROOFS = ("stored_checksums", "combined_parts", "manifest", "re_read", "size_only")


def key_text(key: str) -> str:
    """A key for JSON: as it is; bytes that are no UTF-8 as escapes, since JSON cannot hold them."""
    return key.encode("utf-8", "backslashreplace").decode()


def as_object(result: RoundResult, view: DatasetView, trend: Trend) -> dict[str, Any]:
    """The contract's object of one dataset, and what else there is to say."""
    return {
        "name": result.dataset,
        "direction": result.direction,
        "listed": result.listed,
        "copied": result.copied,
        "unchanged": result.unchanged,
        "deleted": result.deleted,
        "failed": result.failed,
        "bytes": result.bytes,
        "seconds": result.seconds,
        "proofs": _proofs(result.proofs),
        "lag": {"objects": result.lag_objects, "bytes": result.lag_bytes, "seconds": result.lag_seconds},
        "resent_bytes": result.resent_bytes,
        "compared": result.compared,
        "vanished": result.vanished,
        "aborted_uploads": result.aborted_uploads,
        "dry_run": result.dry_run,
        "hub_bytes": result.hub_bytes,
        "saved_bytes": result.saved_bytes,
        "carried": {plain(host): carried for host, carried in result.carried.items()},
        "waiting": [{"folder": key_text(w.folder), "reason": plain(w.reason)} for w in result.waiting],
        "deletes": {
            "deletable": result.deletes.deletable,
            "bytes": result.deletes.bytes,
            "kept": result.deletes.kept,
            "rule": result.deletes.rule,
            "reason": plain(result.deletes.reason),
            "listed": [key_text(key) for key in result.deletes.listed],
        },
        "failures": _failures(result.failures),
        "repaired": _failures(result.repaired),
        **_outlook(view, trend, is_done=not result.lag_objects and not result.dry_run),
    }


def unfinished_object(view: DatasetView, progress: Progress) -> dict[str, Any]:
    """A dataset whose first round was cut off: how far it was."""
    from backends.transfer.shown import live_lag

    return {
        "name": view.name,
        "interrupted": True,
        "listed": progress.listed,
        "copied": progress.copied_objects,
        "unchanged": max(0, progress.objects_done - progress.copied_objects),
        "deleted": 0,
        "failed": progress.failed,
        "bytes": progress.copied_bytes,
        "proofs": _proofs(progress.proofs),
        "lag": (live_lag(progress, time.time()) if progress.is_listed else view.lag).model_dump(),
        "share": view.share,
        "failures": _failures(tuple(progress.failures)),
    }


def _outlook(view: DatasetView, trend: Trend, *, is_done: bool) -> dict[str, Any]:
    """Rates in bytes a second, None where they are not known; `eta_seconds` 0.0 where nothing is missing."""
    speed, coming = trend.rate(), trend.ingest()
    never = view.eta_never or (trend.follows and trend.is_outrun())
    return {
        "share": view.share,
        "rate": speed.bytes if speed is not None else None,
        "object_rate": speed.objects if speed is not None else None,
        "ingest_rate": coming.bytes if coming is not None else None,
        "ingest_objects": coming.objects if coming is not None else None,
        "eta_seconds": None if never else 0.0 if is_done else view.eta_seconds,
        "never": never,
        "stalled_seconds": view.stalled,
        "lag_trend": view.lag_trend,
        "lag_history": [{"objects": p.objects, "bytes": p.bytes, "seconds": p.seconds} for p in trend.lags],
        "streams_limit": view.streams_limit,
        "busy": view.busy,
        "notes": [plain(note) for note in view.notes],
    }


def _proofs(proofs: Any) -> dict[str, int]:
    return {proof: proofs.get(proof, 0) for proof in _PROOFS}


def _failures(failures: Sequence[Failure]) -> list[dict[str, str]]:
    return [{"key": key_text(f.key), "reason": plain(f.reason)} for f in failures]


def result_lines(result: RoundResult, trend: Trend, notes: Sequence[str] = ()) -> list[str]:
    """What one round did, for people: a line, then facts in a column. A round of following that found nothing is one line. `notes`: what was
    found out about the stores and has not been told yet."""
    name = plain(result.dataset)
    if trend.follows and not (result.found_objects or result.copied or result.failed or result.lag_objects or notes):
        return [f"{name}: {count(result.listed)} listed, nothing new{_comes_to_rest(trend)}"]
    done = f"{name}: {count(result.listed)} listed, {count(result.copied)} copied, {count(result.unchanged)} unchanged, "
    lines = [f"{name}: {count(result.listed)} listed, {count(result.unchanged)} unchanged (dry run)"]
    if not result.dry_run:
        lines = [f"{done}{count(result.failed)} failed"]
    facts: list[tuple[str, str]] = []
    if result.copied or result.bytes:
        speed = f" at {rate(result.bytes / result.seconds)}" if result.bytes and result.seconds else ""
        facts.append(("moved", f"{size(result.bytes)} in {seconds(result.seconds)}{speed}"))
    if result.hub_bytes:
        facts.append(("hub", f"{size(result.hub_bytes)} sent, {size(result.saved_bytes)} saved"))
    if len(result.carried) > 1 and result.bytes:
        facts.append(("carried", by_host(result.carried)))
    if result.resent_bytes:
        facts.append(("again", f"{size(result.resent_bytes)} of what an earlier run had begun"))
    if result.aborted_uploads:
        facts.append(("ended", f"{count(result.aborted_uploads)} uploads that an earlier run had left open"))
    facts += [("proven", f"{count(result.proofs[proof])} by {proof.replace('_', ' ')}") for proof in sorted(result.proofs)]
    facts.append(("lag", _lag_words(result, trend)))
    if trend.follows and (coming := _coming_words(trend)):
        facts.append(("rates", coming))
    facts += [("repaired", f"{plain(f.key)}: {plain(f.reason)}") for f in result.repaired[:_NAMED_AT_MOST]]
    facts += [("waiting", f"{plain(w.folder)}: {plain(w.reason)}") for w in result.waiting[:_NAMED_AT_MOST]]
    facts += _delete_facts(result)
    for note in notes:
        facts += zip(chain(("note",), repeat("")), wrap(plain(note), _WIDTH - 12), strict=False)
    lines += [f"  {label:<8}  {words}" for label, words in facts]
    lines += [f"  failed {plain(f.key)}: {plain(f.reason)}" for f in result.failures[:_NAMED_AT_MOST]]
    if len(result.failures) > _NAMED_AT_MOST:
        lines.append(f"  … and {count(len(result.failures) - _NAMED_AT_MOST)} more; --json has all")
    return lines


def by_host(carried: Mapping[str, int]) -> str:
    """Who carried how much, in words."""
    return ", ".join(f"{size(moved)} by {plain(host) if host else 'this machine'}" for host, moved in carried.items())


def _delete_facts(result: RoundResult) -> list[tuple[str, str]]:
    deletes = result.deletes
    facts = [("deleted", f"{count(result.deleted)} objects that the source no longer has")] if result.deleted else []
    if deletes.deletable > result.deleted:
        why = f": {deletes.rule} {plain(deletes.reason)}".rstrip() if deletes.rule or deletes.reason else ""
        facts.append(("deletes", f"{count(deletes.deletable - result.deleted)} left{why}"))
        facts += [("", plain(key)) for key in deletes.listed[:_NAMED_AT_MOST]]
    return facts


def _lag_words(result: RoundResult, trend: Trend) -> str:
    """`none`, `3 objects, 1.20 MiB, oldest 41 min`; with what this round had found, and where that goes, from the second on."""
    words = "none"
    if result.lag_objects:
        words = f"{_objects(result.lag_objects)}, {size(result.lag_bytes)}, oldest {duration(result.lag_seconds)}"
    way = trend.lag_trend()
    if trend.follows and way is not None:
        words += f"; was {size(result.found_bytes)} in {_objects(result.found_objects)}, {way}"
    return words


def _objects(number_of: int) -> str:
    return "1 object" if number_of == 1 else f"{count(number_of)} objects"


def _coming_words(trend: Trend) -> str:
    """`8.10 Mbps come in, 84.0 Mbps are copied`, and never where that is so."""
    speed, coming = trend.rate(), trend.ingest()
    if speed is None or coming is None or not coming.work:
        return ""
    if coming.bytes or speed.bytes:
        words = f"{rate(coming.bytes)} come in, {rate(speed.bytes)} are copied"
    else:
        words = f"{number(coming.objects)} objects/s come in, {number(speed.objects)} are copied"
    return f"{words}: lag zero never at this rate" if trend.is_outrun() else words


def _comes_to_rest(trend: Trend) -> str:
    way = trend.lag_trend()
    return "; lag none" + (f", {way}" if way is not None else "")

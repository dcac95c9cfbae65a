"""The state in plain lines: for `cutover status`, and for screen readers with `--watch`."""

from __future__ import annotations

from collections.abc import Iterator

from backends.escape import plain
from backends.snapshot import BackupView, DatasetView, HostView, Snapshot, TriggerView, mean_of
from backends.verdict import Verdict
from backends.vocabulary import Phase
from console.words import gap_words
from themes.meaning import UNICODE, level_of_verdict
from widgets.figures import duration, share, size


def _glyph(verdict: Verdict) -> str:
    return UNICODE.of(level_of_verdict(verdict))


def status_lines(s: Snapshot) -> Iterator[str]:
    """Everything that matters, most important first."""
    engine = f"engine pid {s.engine.pid}" if s.engine else "no engine runs: this is the journal's last word"
    phase = f", phase {s.phase}" if s.phase else ""
    simulation = "SIMULATION  " if s.simulation else ""
    yield f"{simulation}{plain(s.name)}: {s.state}{phase}  ({engine})"
    if s.lease is not None and s.lease.note:
        yield f"! {plain(s.lease.note)}"
    for hold in s.held:
        yield f"! held by {plain(hold.by)}: {plain(hold.reason)}"
    for o in s.overrides:
        yield f"! {plain(o.rule)} is overridden for {duration(o.seconds_left)} more by {plain(o.by)}: {plain(o.reason)}"
    if s.approval is not None:
        rest = duration(s.approval.seconds_left)
        yield f"? {plain(s.approval.what)} waits {rest} more for a second person, asked by {plain(s.approval.by)}: cutover approve"
    if s.blind:
        yield f"! blind: {plain(s.blind_reason)}"
    if s.no_changes:
        yield f"! {plain(s.no_changes)}"
    yield from _rollback(s)
    for route in s.routes:
        seen = "-" if route.observed is None else f"{route.observed} %"
        foreign = f"  FOREIGN {plain(route.foreign)}" if route.foreign else ""
        yield f"route {plain(route.name)}: {route.desired} % on target, observed {seen}{foreign}"
    yield from _preflight(s)
    for item in s.checklist:
        if item.phase is s.phase and not item.signed_by:
            wanted = "not signed: a gate of this phase" if item.must else "not signed"
            yield f"checklist {plain(item.name)}: {wanted}  {plain(item.text)}"
    for backup in s.backups:
        yield _backup(backup)
    for left in s.inventory:
        cost = f", {left.usd_per_hour:g} USD an hour" if left.usd_per_hour is not None else ""
        held = f"{left.gpus} GPUs{cost}" if left.kind == "host" else size(left.bytes)
        yield f"remains of legacy: {left.kind} {plain(left.name)} {plain(left.detail)}: {held}"
    for gate in s.gates:
        if gate.current or s.engine is None:
            yield f"{_glyph(gate.verdict)} gate {plain(gate.name)}: {gate.verdict}  {plain(gate.reason)}"
    for trigger in s.triggers:
        yield _trigger(trigger)
    for dataset in s.datasets:
        yield _dataset(dataset)
    for host in s.hosts:
        yield _host(host)
    if s.next is not None:
        yield _next(s)


def _rollback(s: Snapshot) -> Iterator[str]:
    r = s.rollback
    if r.ready:
        yield f"rollback ready, {duration(r.seconds_to_safe)} to safe, {gap_words(r.gap)}, legacy {r.legacy}"
    else:
        why = "; ".join(plain(b) for b in r.blocked_by) or "nothing to roll back to"
        yield f"ROLLBACK NOT READY: {why}"
    for warning in r.warnings:
        yield f"  note: {plain(warning)}"


def _preflight(s: Snapshot) -> Iterator[str]:
    """What is proven needs no line; before staging nothing has been tried."""
    if s.phase not in (Phase.STAGING, Phase.CUTOVER, Phase.DECOMMISSION):
        return
    for item in s.preflight:
        if item.verdict is not Verdict.PASS:
            waived = f"  (waived by {plain(item.waived_by)})" if item.waived_by else ""
            yield f"{_glyph(item.verdict)} preflight {plain(item.name)}: {item.verdict}  {plain(item.evidence)}{waived}"


def _backup(b: BackupView) -> str:
    if b.number is None:
        return f"{_glyph(b.verdict)} backup {plain(b.dataset)}: {plain(b.reason)}"
    held = f"{b.objects} objects, {size(b.bytes)}, taken {duration(b.age)} ago"
    return f"{_glyph(b.verdict)} backup {plain(b.dataset)} {b.number}: {held}  {plain(b.reason)}"


def _trigger(t: TriggerView) -> str:
    value = "-" if t.value is None else share(t.value) if t.unit == "fraction" else f"{t.value:.4g}"
    limit = "-" if t.limit is None else share(t.limit) if t.unit == "fraction" else f"{t.limit:.4g}"
    return f"{_glyph(t.verdict)} trigger {plain(t.name)}: {t.verdict}  {value} of {limit}  {plain(t.reason)}"


def _dataset(d: DatasetView) -> str:
    lag = "-" if d.lag.objects is None else f"{d.lag.objects} objects, {size(d.lag.bytes)}"
    done = f"{d.objects_done} of {d.objects_total}" if d.objects_total is not None else "-"
    error = f"  error: {plain(d.error)}" if d.error else ""
    return f"dataset {plain(d.name)}: {d.status}, {done} objects, lag {lag}, writer {d.writer}, failed {d.failed}{error}"


def _host(h: HostView) -> str:
    sums = h.together()
    busy = mean_of(sums.utilizations)
    mean = share(busy) if busy is not None else "-"
    wrong = "".join(f"  {plain(text)}" for text in (h.error, *h.alarms, *(alarm for _, alarm in sums.alarms)) if text)
    return f"host {plain(h.name)} ({h.side}): {h.health}, {sums.count} GPUs, utilisation {mean}{wrong}"


def _next(s: Snapshot) -> str:
    assert s.next is not None
    if s.next.allowed:
        return f"next: {'; '.join(plain(step.text) for step in s.next.steps)}"
    return f"next: refused by {s.next.refused_by}: {plain(s.next.reason)} (allowed by: {plain(s.next.would_allow)})"

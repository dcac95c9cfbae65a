"""The figures that an operator's Prometheus may want, made from a snapshot: on the socket, and as a text file for node_exporter."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from backends.engine.snapshots import snapshot_of
from backends.escape import plain
from backends.snapshot import Snapshot
from backends.verdict import Verdict
from backends.vocabulary import SIDES, Health

if TYPE_CHECKING:
    from backends.engine.core import Engine

PERIOD = 5.0  # seconds between two writings of the file


class Figures:
    """Gauges of one registry, made when they first have a sample."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}

    def put(self, name: str, text: str, value: float | bool | None, **labels: str) -> None:
        """A sample; none where the value is not known. prometheus-client escapes what labels hold."""
        if value is None:
            return
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(f"cutover_{name}", text, list(labels), registry=self.registry)
        (gauge.labels(**{k: plain(v, 200) for k, v in labels.items()}) if labels else gauge).set(float(value))


def metrics_of(snapshot: Snapshot, *, notifications_failed: int = 0) -> CollectorRegistry:
    """All figures of a moment. What is not known has no sample, never a 0."""
    r = Figures()
    r.put("state", "1 for the present state", 1, state=snapshot.state.value)
    r.put("held", "Number of holds", len(snapshot.held))
    r.put("blind", "1 while figures are silent with clients on target", snapshot.blind)
    r.put("overrides", "Rules that an operator has lifted for a time", len(snapshot.overrides))
    r.put("journal_spilled", "1 while the journal cannot be written and an emergency journal is", not snapshot.journal_ok)
    if snapshot.lease is not None:
        r.put("lease_held", "1 while the lease against a second engine is ours for certain", snapshot.lease.held)
    r.put(
        "notifications_failed",
        "Attempts to deliver a notification that failed, since the engine started",
        notifications_failed,
    )
    r.put("snapshot_timestamp_seconds", "When these figures were taken, unix time", snapshot.at.timestamp())
    _readiness(r, snapshot)
    _routes(r, snapshot)
    _checks(r, snapshot)
    for side in SIDES:
        if side in snapshot.sides:
            r.put("side_alive", "1 when the side is alive", snapshot.sides[side].health is Health.ALIVE, side=side)
    return r.registry


def _readiness(r: Figures, snapshot: Snapshot) -> None:
    ready = snapshot.rollback
    r.put("rollback_ready", "1 when rollback is ready", ready.ready)
    r.put("rollback_blocked_by", "How many things block a rollback", len(ready.blocked_by))
    r.put("rollback_seconds_to_safe", "Expected seconds of a rollback", ready.seconds_to_safe)
    r.put("rollback_horizon_seconds", "Seconds until rollback is no longer possible", ready.horizon)
    for name, lag in (("gap", ready.gap), ("reverse_lag", ready.reverse_lag)):
        r.put(f"rollback_{name}_objects", "Objects that target alone holds", lag.objects)
        r.put(f"rollback_{name}_bytes", "Bytes that target alone holds", lag.bytes)
        r.put(f"rollback_{name}_seconds", "Age of the oldest object that target alone holds", lag.seconds)
        r.put(f"rollback_{name}_look_seconds", "Seconds since the look began that says so", lag.age)
        r.put(f"rollback_{name}_may_be_more", "1 where target may have written since that look", lag.may_be_more)


def _routes(r: Figures, snapshot: Snapshot) -> None:
    for route in snapshot.routes:
        for kind, weight in (("desired", route.desired), ("observed", route.observed)):
            r.put("route_weight_percent", "Weight on target", weight, route=route.name, kind=kind)
        r.put("route_foreign", "1 while somebody else's weight is there", route.foreign is not None, route=route.name)
    for dataset in snapshot.datasets:
        r.put("dataset_lag_bytes", "What target lacks", dataset.lag.bytes, dataset=dataset.name)
        r.put("dataset_lag_objects", "What target lacks", dataset.lag.objects, dataset=dataset.name)


def _checks(r: Figures, snapshot: Snapshot) -> None:
    """Verdicts as a gauge of 1 beside their name, values and limits in their own unit."""
    for gate in snapshot.gates:
        labels = {"gate": gate.name, "phase": gate.phase.value, "verdict": gate.verdict.value}
        r.put("gate_verdict", "1 for the present verdict", 1, **labels)
    for one in snapshot.triggers:
        r.put("trigger_verdict", "1 for the present verdict", 1, trigger=one.name, verdict=one.verdict.value)
        r.put("trigger_breached", "1 when the trigger is breached", one.verdict is Verdict.BREACH, trigger=one.name)
        r.put("trigger_value", "What is judged, in its own unit", one.value, trigger=one.name)
        r.put("trigger_limit", "Its limit, in the same unit", one.limit, trigger=one.name)


async def keep_metrics(engine: Engine) -> None:
    """Write `metrics_file` again and again, until cancelled. A file that cannot be written is tried again."""
    path = engine.base / str(engine.plan.metrics_file)
    while True:
        failed = engine.notifier.failed if engine.notifier is not None else 0
        body = generate_latest(metrics_of(snapshot_of(engine), notifications_failed=failed))
        await asyncio.to_thread(write_metrics, path, body)
        await asyncio.sleep(PERIOD)


def write_metrics(path: Path, body: bytes) -> bool:
    """In one piece, readable by node_exporter (0644); False where the folder does not take it."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        new.write_bytes(body)
        os.chmod(new, 0o644)
        new.replace(path)
    except OSError:
        return False
    return True

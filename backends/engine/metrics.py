"""The figures that an operator's Prometheus may want, made from a snapshot."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from backends.snapshot import Snapshot
from backends.verdict import Verdict
from backends.vocabulary import SIDES, Health


def metrics_of(snapshot: Snapshot) -> CollectorRegistry:
    """The figures that an operator's Prometheus may want."""
    registry = CollectorRegistry()
    state = Gauge("cutover_state", "1 for the present state", ["state"], registry=registry)
    state.labels(snapshot.state.value).set(1)
    held = Gauge("cutover_held", "Number of holds", registry=registry)
    held.set(len(snapshot.held))
    ready = Gauge("cutover_rollback_ready", "1 when rollback is ready", registry=registry)
    ready.set(1 if snapshot.rollback.ready else 0)
    weight = Gauge("cutover_route_weight_percent", "Weight on target", ["route", "kind"], registry=registry)
    for route in snapshot.routes:
        weight.labels(route.name, "desired").set(route.desired)
        if route.observed is not None:
            weight.labels(route.name, "observed").set(route.observed)
    lag = Gauge("cutover_dataset_lag_bytes", "What target lacks", ["dataset"], registry=registry)
    for dataset in snapshot.datasets:
        if dataset.lag.bytes is not None:
            lag.labels(dataset.name).set(dataset.lag.bytes)
    trigger = Gauge("cutover_trigger_breached", "1 when the trigger is breached", ["trigger"], registry=registry)
    for one in snapshot.triggers:
        trigger.labels(one.name).set(1 if one.verdict is Verdict.BREACH else 0)
    alive = Gauge("cutover_side_alive", "1 when the side is alive", ["side"], registry=registry)
    for side in SIDES:
        if side in snapshot.sides:
            alive.labels(side).set(1 if snapshot.sides[side].health is Health.ALIVE else 0)
    return registry

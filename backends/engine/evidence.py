"""What a verdict of the engine rests on, for the journal: both sides' figures by hash, and for a breach the likely causes with their evidence.

Of a curve the shape of the differences goes first, of a speed what the probes saw: GPUs that throttle or raise an alarm, GPUs that wait
for their input, drivers and runtimes that differ between the sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.escape import plain
from backends.plan.models import Gate, Measure, Source
from backends.snapshot import GpuView, HostView
from backends.validation.causes import Cause, likely_causes
from backends.validation.compare import Rule, compare_points
from backends.validation.curve import Curve
from backends.validation.followed import Followed
from backends.validation.gate import within_of
from backends.validation.measured import direction_of
from backends.validation.series import Sample
from backends.validation.trial.environment import MACHINES, causes_in
from backends.validation.web import shown_url

NEWEST = 20_000  # figures of a side: a rollback waits for the journal, and the journal for these
_WAITING_GPU, _BUSY_CPU = 0.6, 0.9
_USUAL = "power cap"  # of a GPU that works hard: no fault


def inputs_of(legacy: Followed, target: Followed) -> dict[str, dict[str, Any]]:
    """By side: the source, how many figures (of very many the newest), their window, and the SHA-256 of them."""
    return {"legacy": _input(legacy), "target": _input(target)}


def _input(side: Followed) -> dict[str, Any]:
    curve = _curve(side)
    first = curve.first_places(1)
    return {
        "source": _where(side.source),
        "points": len(curve),
        "window": [first[0], curve.top] if first else None,
        "sha256": curve.digest(),
    }


def _where(source: Source) -> str:
    if source.prometheus is not None:
        return f"{shown_url(source.prometheus)} {plain(source.query or '', 200)}"
    if source.mlflow is not None:
        return f"{shown_url(source.mlflow)} {plain(source.run or '', 80)} {plain(source.value or '', 120)}"
    return plain(source.file or "", 200)


def _curve(side: Followed) -> Curve:
    curve = Curve(side.series.by)
    curve.extend(Sample(x, x, v) for x, v in side.series.newest_points(NEWEST))
    curve.out_of_memory = side.series.out_of_memory
    curve.settings = dict(side.settings)
    return curve


def causes_of_breach(
    measure: Measure,
    legacy: Followed,
    target: Followed,
    before: Sequence[HostView],
    after: Sequence[HostView],
    recorded: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, str]]:
    """Most likely first. `before` and `after` are the hosts that the workload runs on, on legacy and on target; `recorded` what the last
    validation run found to differ between the environments of both (`name`, `legacy`, `target`)."""
    software = [
        Cause(c.cause, f"when it was validated: {c.evidence}")
        for c in causes_in([(str(d.get("name")), d.get("legacy"), d.get("target")) for d in recorded])
    ]
    machines = [*_troubled(after), *_starved(after), *_versions(before, after)]
    figures = _figures(measure, legacy, target)
    if measure.kind in ("loss", "value"):
        known = [c for c in software if c.cause != MACHINES]
        causes = [*known, *figures, *machines, *(c for c in software if c not in known)]
    else:
        causes = [*machines, *software, *figures]
    return [{"cause": c.cause, "evidence": c.evidence} for c in causes]


def _figures(measure: Measure, legacy: Followed, target: Followed) -> list[Cause]:
    if target.series.by == "time":
        return []
    old, new = _curve(legacy), _curve(target)
    rule = Rule(within_of(Gate.model_construct(within=None), measure), direction_of(measure))
    found = compare_points(old, new, tolerance=rule.tolerance, higher_is_better=rule.higher_is_better)
    return likely_causes(found.judged, [old], [new], rule)


def _troubled(hosts: Sequence[HostView]) -> list[Cause]:
    causes = []
    for host in hosts:
        name = plain(host.name, 60)
        slowed = sorted({plain(r, 60) for g in host.gpus for r in _slowing(g)})
        if slowed:
            which = ", ".join(str(g.index) for g in host.gpus if _slowing(g))
            causes.append(Cause("throttled GPUs on target", f"{name}: GPU {which}: {', '.join(slowed)}"))
        for index, words in host.together().alarms[:1]:
            causes.append(Cause("a GPU of the target is unwell", f"{name}: GPU {index}: {plain(words, 120)}"))
    return causes


def _slowing(gpu: GpuView) -> tuple[str, ...]:
    return tuple(r for r in gpu.detail.throttled if r != _USUAL) if gpu.detail is not None else ()


def _starved(hosts: Sequence[HostView]) -> list[Cause]:
    """GPUs that wait while the processors are full."""
    causes = []
    for host in hosts:
        used = [u for u in host.together().utilizations if u is not None]
        cpu = host.machine.cpu if host.machine is not None else None
        if used and cpu is not None and sum(used) / len(used) < _WAITING_GPU and cpu > _BUSY_CPU:
            evidence = f"{plain(host.name, 60)}: GPUs at {sum(used) / len(used):.0%}, processors at {cpu:.0%}"
            causes.append(Cause("the target is bound by its input", evidence))
    return causes


def _versions(before: Sequence[HostView], after: Sequence[HostView]) -> list[Cause]:
    causes = []
    for name, told in (("driver", _drivers), ("CUDA", _cudas), ("container runtime", _runtimes), ("GPU", _gpus)):
        left, right = told(before), told(after)
        if left and right and not left & right:
            evidence = f"{name} {', '.join(sorted(left))} on legacy, {', '.join(sorted(right))} on target"
            causes.append(Cause(f"another {name}" if name == "GPU" else f"another version of the {name}", evidence))
    return causes


def _drivers(hosts: Sequence[HostView]) -> set[str]:
    return {plain(h.driver, 40) for h in hosts if h.driver}


def _cudas(hosts: Sequence[HostView]) -> set[str]:
    return {plain(h.cuda, 40) for h in hosts if h.cuda}


def _runtimes(hosts: Sequence[HostView]) -> set[str]:
    return {plain(r, 60) for h in hosts if h.machine is not None for r in h.machine.runtimes}


def _gpus(hosts: Sequence[HostView]) -> set[str]:
    return {plain(name, 60) for h in hosts if (name := h.together().name)}

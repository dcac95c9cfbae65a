"""Backups as gates of staging, when one is to be taken or tried, and which may be restored from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from backends.cutover.migration import BackupFold, Migration
from backends.escape import plain
from backends.plan.backups import Backup
from backends.plan.models import Plan
from backends.snapshot import BackupView, GateView
from backends.verdict import Verdict
from backends.vocabulary import Phase, State


def backup_gates(plan: Plan, m: Migration, now: datetime, errors: Mapping[str, str]) -> tuple[GateView, ...]:
    """A gate `backup NAME` of staging for each backup of the plan. `errors`: what keeps one from being taken or looked at now."""
    return tuple(_gate(spec, m, now, errors.get(spec.dataset, "")) for spec in plan.backups)


def _gate(spec: Backup, m: Migration, now: datetime, error: str) -> GateView:
    verdict, reason = _judged(spec, m.backups.get(spec.dataset), now, error)
    return GateView(name=f"backup {spec.dataset}", phase=Phase.STAGING, verdict=verdict, reason=reason)


def _judged(spec: Backup, seen: BackupFold | None, now: datetime, error: str) -> tuple[Verdict, str]:
    if error:
        return Verdict.ERROR, error
    if seen is None or not seen.is_fresh:
        return Verdict.INCONCLUSIVE, "not taken yet: it is taken in staging"
    if seen.good is False:
        return Verdict.BREACH, f"its trial failed: {seen.tried}"
    if seen.good is None:
        return Verdict.INCONCLUSIVE, f"taken at {plain(seen.where, 200)}, not tried yet"
    if is_late(spec, seen, now):
        return Verdict.INCONCLUSIVE, late_words(spec, seen, now)
    return Verdict.PASS, f"{plain(seen.where, 200)}: {seen.tried}"


def is_late(spec: Backup, seen: BackupFold, now: datetime) -> bool:
    """Is it older than the plan wants it to be?"""
    return spec.every is not None and age_of(seen, now) > spec.every


def late_words(spec: Backup, seen: BackupFold, now: datetime) -> str:
    return f"taken {age_of(seen, now):.0f} s ago, and the plan says every {spec.every:.0f} s"


def age_of(seen: BackupFold, now: datetime) -> float:
    """Seconds since it was taken, by the wall clock."""
    return max(0.0, (now - seen.taken_at).total_seconds())


def wants_taking(spec: Backup, m: Migration, now: datetime) -> bool:
    """In staging: where there is none of this staging yet, or a late one. Once armed only when somebody asks."""
    if m.state is not State.PREPARING or m.phase is not Phase.STAGING:
        return False
    seen = m.backups.get(spec.dataset)
    return seen is None or not seen.is_fresh or is_late(spec, seen, now)


def wants_trying(spec: Backup, m: Migration, now: datetime) -> bool:
    """It was taken, and nobody has restored from it on trial."""
    seen = m.backups.get(spec.dataset)
    return seen is not None and seen.good is None and not wants_taking(spec, m, now)


def surplus(spec: Backup, m: Migration) -> tuple[BackupFold, ...]:
    """Snapshots that are no longer kept, oldest first: older than the newest `keep` whose trial was good. None once the plan is armed or while
    it is held, and none of what a command made or a bucket keeps. The last one, which a rollback would restore from, and the newest good one are never among them."""
    if spec.kept is None or m.state is not State.PREPARING or m.holds:
        return ()
    taken = sorted((b for (dataset, _), b in m.backups_taken.items() if dataset == spec.dataset), key=lambda b: b.number)
    good = [b.number for b in taken if b.good]
    oldest = good[-spec.kept] if len(good) >= spec.kept else 0
    return tuple(b for b in taken if b.ends or (b.kind == "snapshot" and b.number < oldest))


def usable(m: Migration, dataset: str, number: int | None = None) -> BackupFold | None:
    """The last backup of a dataset, or the one of this number, where its trial was good when it was last looked at."""
    last = m.backups.get(dataset)
    found = last if number is None else m.backups_taken.get((dataset, number))
    return found if found is not None and found.good else None


def has_writer(plan: Plan, dataset: str) -> bool:
    """May somebody write it: a workload, or whoever its rounds follow?"""
    return any(dataset in w.writes for w in plan.workloads) or any(
        d.name == dataset and d.follow is not None for d in plan.datasets
    )


def not_backed_up(plan: Plan) -> tuple[str, ...]:
    """Datasets that somebody writes and that the plan has no backup of."""
    held = {b.dataset for b in plan.backups}
    return tuple(d.name for d in plan.datasets if d.name not in held and has_writer(plan, d.name))


def backup_views(plan: Plan, m: Migration, now: datetime, errors: Mapping[str, str]) -> tuple[BackupView, ...]:
    """Backups as the snapshot shows them."""
    out = []
    for spec in plan.backups:
        verdict, reason = _judged(spec, seen := m.backups.get(spec.dataset), now, errors.get(spec.dataset, ""))
        view = BackupView(dataset=spec.dataset, kind=spec.kind, verdict=verdict, reason=reason)
        if seen is not None:
            told = {"number": seen.number, "objects": seen.objects, "bytes": seen.bytes, "where": seen.where}
            told |= {"taken_at": seen.taken_at, "age": age_of(seen, now), "tried_at": seen.tried_at}
            view = view.model_copy(update=told)
        out.append(view)
    return tuple(out)

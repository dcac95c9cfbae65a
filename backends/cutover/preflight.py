"""Preflight: what a rollback needs, proven and not assumed, as a list of items. Pure; the engine measures (`backends.engine.preflight`).

An item says what was seen and what would mend it. Arming wants every item that is `needed` at PASS, or waived by a person who signed for it;
later the same items lower the readiness of the rollback before it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backends.cutover.migration import WAIVE, Migration
from backends.cutover.rules import Refusal
from backends.cutover.world import World
from backends.plan.models import Plan
from backends.snapshot import PreflightView
from backends.verdict import Verdict
from backends.vocabulary import State

PROOF_AGE = 1800.0  # seconds after which a measurement proves nothing any more
BACKUP = "backup:"  # what the item of a backup begins with: arming rests on its gate, later it lowers the readiness
_NEVER_WAIVED = ("legacy", "writer:", "route:", "disk")


@dataclass(frozen=True, slots=True)
class Proof:
    """What one measurement found. `good` is None where it could not be told; `at` is the migration's observed time."""

    good: bool | None
    evidence: str
    cure: str = ""
    at: float = 0.0
    needed: bool = True


def measured_items(plan: Plan) -> tuple[str, ...]:
    """Names of the items that the engine measures for this plan, in the order in which they are told."""
    names = ["capacity"] if plan.capacity is not None else []
    names += [f"route:{r.name}" for r in plan.routes]
    names += [f"reverse:{d.name}" for d in plan.datasets if d.reverse]
    if plan.legacy.hosts or plan.target.hosts:
        names += ["hosts", "clocks"]
    names += [f"store:{name}" for name in used_stores(plan)]
    names += [f"{BACKUP}{b.dataset}" for b in plan.backups]
    return (*names, "login", "disk")


def used_stores(plan: Plan) -> tuple[str, ...]:
    """Stores that some dataset moves from or to, in the plan's order."""
    used = {s for d in plan.datasets for s in (d.from_, d.to)}
    return tuple(name for name in plan.stores if name in used)


def preflight(world: World) -> tuple[PreflightView, ...]:
    """Every item, now."""
    return tuple(_items(world))


def not_proven(items: tuple[PreflightView, ...]) -> tuple[PreflightView, ...]:
    """What keeps a migration from being armed."""
    return tuple(i for i in items if i.needed and i.verdict is not Verdict.PASS and not i.waived_by)


def preflight_refusal(world: World) -> Refusal | None:
    """PREFLIGHT, naming what is not proven and its cure; None where all is."""
    late = not_proven(preflight(world))
    if not late:
        return None
    seen = "; ".join(f"{i.name} {i.verdict}: {i.evidence}" for i in late)
    cures = list(dict.fromkeys(i.cure for i in late if i.cure))
    if any(may_be_waived(i.name) for i in late):
        cures.append(f"cutover sign {WAIVE}ITEM --reason TEXT waives one")
    return Refusal("PREFLIGHT", seen, "; ".join(cures))


def lowered(world: World) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What lowers the readiness of a rollback now: what is broken, and what is only not proven, in words."""
    if world.migration.armed is None:
        return (), ()
    broken: list[str] = []
    doubtful: list[str] = []
    for item in _measured(world):
        text = f"{item.name}: {item.evidence}"
        if item.waived_by:
            continue
        if item.verdict is Verdict.BREACH and item.needed:
            broken.append(text)
        elif item.verdict is not Verdict.PASS and (item.needed or item.verdict is Verdict.BREACH):
            doubtful.append(text)
    return tuple(broken), tuple(doubtful)


def may_be_waived(name: str) -> bool:
    """May a person sign for this item? Not for what no reason can replace."""
    return not name.startswith(_NEVER_WAIVED)


def _items(world: World) -> Iterator[PreflightView]:
    if world.plan.routes:
        yield _legacy(world)
        if world.plan.capacity is None:
            yield _capacity(world)
    for w in world.plan.workloads:
        if w.writes:
            good = w.name in world.controls
            evidence = "the plan says how it is stopped and started" if good else f"{w.name} writes and cannot be stopped"
            yield _view(world.migration, f"writer:{w.name}", good, evidence, "workloads[].quiesce")
    yield from _measured(world)


def _legacy(world: World) -> PreflightView:
    legacy = world.side("legacy")
    age = "never seen" if legacy.age is None else f"seen {legacy.age:.0f} s ago"
    evidence = f"legacy is {legacy.health}, {age}: {legacy.reason}"
    good = True if legacy.is_fresh else None if legacy.health.value == "unknown" else False
    return _view(world.migration, "legacy", good, evidence, "a probe of legacy that answers")


def _capacity(world: World) -> PreflightView:
    """Without a command that says so: legacy shows that it can carry all while it does."""
    m, cure = world.migration, "capacity.command in the plan says whether legacy can carry all of it"
    if m.exposure == "none" and world.side("legacy").is_fresh:
        return _view(m, "capacity", True, "legacy carries all of it now: every route is at 0 on target", cure)
    if m.exposure == "none":
        return _view(m, "capacity", None, "legacy carries all of it, and is not seen to", cure)
    evidence = "not proven: legacy carried all of it until the first shift, and the plan gives no way to ask now"
    return _view(m, "capacity", None, evidence, cure, needed=False)


def _measured(world: World) -> Iterator[PreflightView]:
    m, now = world.migration, world.observed_now()
    for name in measured_items(world.plan):
        proof = world.proofs.get(name)
        if proof is None:
            yield _view(m, name, None, "not tried yet", "in a moment", needed=not name.startswith(BACKUP))
            continue
        age = max(0.0, now - proof.at)
        if proof.good and age > PROOF_AGE and not (name.startswith("reverse:") and m.state is not State.PREPARING):
            evidence = f"last tried {age:.0f} s ago: {proof.evidence}"
            yield _view(m, name, None, evidence, "it is tried again by itself", needed=proof.needed)
            continue
        yield _view(m, name, proof.good, proof.evidence, proof.cure, needed=proof.needed, age=age)


def _view(
    m: Migration, name: str, good: bool | None, evidence: str, cure: str, *, needed: bool = True, age: float | None = None
) -> PreflightView:
    verdict = {True: Verdict.PASS, False: Verdict.BREACH, None: Verdict.INCONCLUSIVE}[good]
    waivable = may_be_waived(name)
    signed = m.signed.get(f"{WAIVE}{name}") if waivable else None
    waived = "" if signed is None or good else f"{signed.by}: {signed.reason}"
    return PreflightView(
        name=name,
        verdict=verdict,
        evidence=evidence,
        cure="" if good else cure,
        needed=needed,
        waived_by=waived,
        age=age,
        waivable=waivable,
    )

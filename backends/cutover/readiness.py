"""How ready rollback is, at every moment: what would be blocked, how long it would take, what it would leave behind. Pure."""

from __future__ import annotations

from backends.cutover.backups import not_backed_up
from backends.cutover.preflight import lowered
from backends.cutover.rollback import plan_rollback, writers_on_target
from backends.cutover.states import TABLE
from backends.cutover.world import World
from backends.dataset_view import Lag
from backends.snapshot import ReadinessView
from backends.vocabulary import Health, State


def readiness(
    world: World, *, reverse_lag: Lag, notes: tuple[str, ...] = (), stale_routes: tuple[str, ...] = ()
) -> ReadinessView:
    """Readiness of the mode that an operator would use now: graceful. `notes`: what the engine knows of its own journal and lease."""
    m = world.migration
    possible = bool(TABLE[m.state].backward)
    legacy = world.side("legacy")
    rollback = plan_rollback(world, "graceful", gap=reverse_lag)
    blocked = list(rollback.blocked_by)
    if m.state is State.DECOMMISSIONED:
        blocked.append("legacy has been decommissioned")
    if m.state is State.RECONCILING:
        blocked.append("already rolled back: reconciling")
    broken, doubtful = lowered(world)
    seconds = rollback.seconds + _reverse_seconds(reverse_lag)
    return ReadinessView(
        ready=possible and not blocked and not broken,
        possible=possible,
        blocked_by=(*blocked, *broken),
        warnings=_warnings(world, notes, stale_routes) + rollback.warnings + doubtful,
        seconds_to_safe=seconds if not blocked else None,
        gap=reverse_lag if writers_on_target(world.plan, m) else Lag(objects=0, bytes=0, seconds=0.0),
        reverse_lag=reverse_lag,
        horizon=_horizon(world),
        legacy=legacy.health,
        legacy_age=legacy.age,
        unfenced=m.unfenced,
    )


def _reverse_seconds(lag: Lag) -> float:
    """A reverse round's transfer time at a cautious 10 MB a second."""
    return (lag.bytes or 0) / 10e6


def _horizon(world: World) -> float | None:
    """Seconds until legacy is gone by plan; None before the windows run."""
    m, windows = world.migration, world.plan.windows
    if m.window_from is None:
        return None
    elapsed = world.observed_now() - m.window_from
    if m.state is State.DUAL:
        return max(0.0, windows.dual - elapsed) + windows.retire
    if m.state is State.RETIRING:
        return max(0.0, windows.retire - elapsed)
    return None


def _warnings(world: World, notes: tuple[str, ...], stale_routes: tuple[str, ...]) -> tuple[str, ...]:
    out = [f"no backup of {d}: what fails its comparison there cannot be restored" for d in not_backed_up(world.plan)]
    if not world.plan.backups:
        out = ["no backup in the plan: a dataset that fails its comparison cannot be restored"]
    if world.side("target").health is Health.UNKNOWN:
        out.append("target cannot be seen: what it wrote may not be read back")
    out += [note for note in notes if note]
    out += [f"route {r} cannot be read" for r in stale_routes]
    return tuple(out)

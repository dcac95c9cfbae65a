"""The safety rules, checked before every effect. Each has an id that a refusal names.

SR1  at least one side serves after this effect
SR2  one writer per dataset: the token
SR3  no routing to a side whose proof of health is older than 60 s
SR4  no deletes before committed
SR5  a least spacing between weight changes
SR6  backward outranks forward
MAX_DELETE  deletes stay within the plan's max_delete (`backends.transfer.deletes`)
HELD a hold blocks forward moves, and never a rollback
NO_CHANGES nothing is moved forward in a no-change period of the plan
ARCHIVE nothing of legacy ends before the archive is verified
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.cutover.migration import Migration
from backends.cutover.steps.base import Step
from backends.cutover.steps.retire import LowerLegacy
from backends.cutover.steps.weight import Expel, SetWeight
from backends.cutover.steps.writer import LastRound, Quiesce, Resume, SetToken
from backends.cutover.world import World
from backends.plan.calendar import no_changes_now
from backends.vocabulary import Health, SideName, State

RULES: dict[str, str] = {
    "SR1": "at least one side serves after this effect",
    "SR2": "one writer per dataset: the token",
    "SR3": "no routing to a side whose proof of health is older than 60 s",
    "SR4": "no deletes before committed",
    "SR5": "a least spacing between weight changes",
    "SR6": "backward outranks forward",
    "MAX_DELETE": "no more deletes than the plan's max_delete",
    "HELD": "a hold blocks forward moves, and never a rollback",
    "STATE": "the state does not allow it",
    "GATE": "a gate has not passed",
    "SOAK": "the present weight has not soaked long enough",
    "WINDOW": "the dual or the retire window is not over",
    "NO_CHANGES": "a no-change period of the plan: nothing is moved forward, a rollback always goes",
    "ARCHIVE": "nothing of legacy ends before the archive is verified",
    "PREFLIGHT": "something that a rollback needs is not in place",
    "LEASE": "an engine elsewhere has the migration, or nobody can say who has; a rollback waits for no answer",
    "BUSY": "another operation is in flight",
    "PREVIEW": "the world has changed since the preview",
    "CONFIRM": "the migration's name was not typed",
    "APPROVAL": "a second person has to approve it",
    "SEAT": "who commands holds the seat; a hold, a rollback and an evacuation need none",
}

# What an operator's override may lift for a time: judgments, never safety (SR1, SR2, SR4) nor what has a command of its own.
OVERRIDABLE = ("SR3", "SR5", "GATE", "SOAK", "WINDOW", "NO_CHANGES")
LONGEST_OVERRIDE = 72 * 3600.0  # observed seconds


_COMMITTED = frozenset({State.COMMITTED, State.RETIRING, State.DECOMMISSIONED})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which rule refuses, what is seen, and what would allow it."""

    rule: str
    reason: str
    would_allow: str = ""


def refusal_of(step: Step, world: World, *, accept_unknown: bool = False) -> Refusal | None:
    """The first rule that forbids this step now; None where it may be sent."""
    m = world.migration
    if step.direction == "forward":
        if m.state is State.ROLLING_BACK or (m.open_run is not None and m.open_run.kind == "rollback"):
            return Refusal("SR6", "a rollback is under way", "wait for its end")
        if m.holds:
            return held_refusal(world)
        if (refusal := no_changes_refusal(world)) is not None:
            return refusal
    if isinstance(step, SetWeight):
        return _weight(step, world, accept_unknown)
    if isinstance(step, SetToken):
        return _token(step, world)
    if isinstance(step, LowerLegacy):
        return ending_refusal(world, world.plan.archive)
    if isinstance(step, Expel) and m.route(step.route).confirmed > 0:
        now = m.route(step.route).confirmed
        return Refusal("SR1", f"{step.route} still sends {now} % of its clients to target", "weight 0 on target first")
    if isinstance(step, Resume):
        return _resume(step, world)
    if isinstance(step, LastRound):
        return _round(step, world)
    if isinstance(step, Quiesce) and step.workload not in world.controls:
        return Refusal("SR2", f"the plan says nothing of how {step.workload} is stopped", "workloads[].quiesce")
    return None


def delete_refusal(m: Migration, dataset: str) -> Refusal | None:
    """SR4: why nothing of this dataset may be deleted on the target now; None once the migration is committed."""
    if m.state not in _COMMITTED:
        return Refusal("SR4", f"the migration is {m.state}, not committed", "the commit")
    if m.open_run is not None and m.open_run.kind == "rollback":
        return Refusal("SR4", "a rollback is under way", "its end")
    token = m.token(dataset)
    if token.was_target or token.writer != "legacy":
        return Refusal("SR4", f"target has written {dataset}: what legacy lacks may be its own", "deletes by hand")
    if m.holds:
        return held_refusal_of(m)
    return None


def no_changes_refusal(world: World) -> Refusal | None:
    """NO_CHANGES, with when it ends; None outside of every period. A run that began before its period is not cut in two by it."""
    span = no_changes_now(world.plan.windows.no_changes, world.wall_now())
    run = world.migration.open_run
    if span is None or (run is not None and run.started_at < span.start):
        return None
    if world.migration.overrides_rule("NO_CHANGES", world.observed_now()):
        return None
    return Refusal("NO_CHANGES", f"no changes: {span.text}", f"its end, {span.end:%Y-%m-%d %H:%M} UTC")


def ending_refusal(world: World, archive: tuple[str, ...]) -> Refusal | None:
    """Why nothing of legacy may end now: target alone would serve then, and what is not in the archive is gone."""
    target = world.side("target")
    if not target.is_fresh:
        seen = f"target is {target.health}: {target.reason}"
        return Refusal("SR1", f"legacy is taken down only while target serves: {seen}", "a probe of target that answers")
    late = [d for d in archive if d not in world.migration.archived]
    if late:
        return Refusal("ARCHIVE", f"not verified: {', '.join(late)}", "cutover advance verifies it first")
    return None


def held_refusal(world: World) -> Refusal:
    """A refusal that names every hold."""
    return held_refusal_of(world.migration)


def held_refusal_of(m: Migration) -> Refusal:
    """The same, of the journal alone."""
    reasons = "; ".join(f"{h.by}: {h.reason}" for h in m.holds)
    return Refusal("HELD", reasons, "cutover resume, once the reason is settled")


def _weight(step: SetWeight, world: World, accept_unknown: bool) -> Refusal | None:
    m = world.migration
    now = m.route(step.route).confirmed
    serving: list[SideName] = []
    if step.weight < 100:
        serving.append("legacy")
    if step.weight > 0:
        serving.append("target")
    good = {Health.ALIVE, Health.UNKNOWN} if accept_unknown else {Health.ALIVE}
    if not any(world.side(s).health in good for s in serving):
        seen = ", ".join(f"{s} {world.side(s).health} ({world.side(s).reason})" for s in serving)
        return Refusal("SR1", f"after it nobody would serve: {seen}", "a living side")
    rising: SideName | None = "target" if step.weight > now else "legacy" if step.weight < now else None
    if rising is not None and not _fresh(world, rising, accept_unknown) and not _is_overridden_unseen(world, rising):
        side = world.side(rising)
        age = "never seen" if side.age is None else f"seen {side.age:.0f} s ago"
        return Refusal("SR3", f"{rising} is {side.health}, {age}: {side.reason}", f"a probe of {rising} that answers")
    if step.direction == "forward" and m.last_shift is not None and now > 0 and not m.overrides_rule("SR5", world.observed_now()):
        wait = world.plan.windows.spacing - (world.observed_now() - m.route(step.route).since)
        if wait > 0:
            return Refusal("SR5", f"{step.route} was changed less than the spacing ago", f"{wait:.0f} s more")
    return None


def _fresh(world: World, side: SideName, accept_unknown: bool) -> bool:
    seen = world.side(side)
    return seen.is_fresh or (accept_unknown and seen.health is Health.UNKNOWN)


def _is_overridden_unseen(world: World, side: SideName) -> bool:
    """An override of SR3 accepts an old proof or none, never a dead side."""
    return world.migration.overrides_rule("SR3", world.observed_now()) and world.side(side).health is not Health.DEAD


def _token(step: SetToken, world: World) -> Refusal | None:
    m = world.migration
    token = m.token(step.dataset)
    if step.writer == "none" or step.writer == token.writer:
        return None
    if token.writer != "none" and step.direction != "backward":
        return Refusal("SR2", f"{token.writer} still holds the token of {step.dataset}", "quiesce it first")
    if step.epoch < token.epoch:
        return Refusal("SR2", f"epoch {step.epoch} of {step.dataset} is older than {token.epoch}", "a new handover")
    return None


def _resume(step: Resume, world: World) -> Refusal | None:
    workload = next((w for w in world.plan.workloads if w.name == step.workload), None)
    for dataset in workload.writes if workload is not None else ():
        writer = world.migration.token(dataset).writer
        if writer != step.side:
            return Refusal("SR2", f"{writer} holds the token of {dataset}", f"the token for {step.side}")
    return None


def _round(step: LastRound, world: World) -> Refusal | None:
    if step.reverse and step.dataset in world.migration.forced:
        text = f"{step.dataset} was handed over by force: legacy may hold what a copy would overwrite"
        return Refusal("SR2", text, "an emergency rollback, which overwrites nothing")
    onto = "legacy" if step.reverse else "target"
    if world.migration.token(step.dataset).writer == onto:
        return Refusal("SR2", f"{onto} writes {step.dataset}: nothing is copied onto it", "quiesce its writer")
    return None

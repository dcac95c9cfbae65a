"""What dialogs say, in words: pure functions of the engine's own models. Strings from outside are made harmless here."""

from __future__ import annotations

from backends.escape import plain
from backends.snapshot import Lag, PreviewView, RouteView, RunView, Snapshot, State, StepView
from widgets import figures

OUTCOMES = {
    State.ROLLED_BACK: "rolled back: production is home on legacy",
    State.RECONCILING: "traffic is back on legacy; the target is not yet fenced or the gap not yet settled",
    State.ROLLBACK_BLOCKED: "rollback is BLOCKED: legacy cannot take the load; the target goes on serving",
    State.ROLLING_BACK: "rolling back",
}


def gap_words(gap: Lag) -> str:
    """What an emergency rollback leaves behind on the target: `gap 3 objects 1.2 MiB`; with when that was, where target may have written since."""
    if gap.objects is None and gap.bytes is None:
        return "gap -"
    since = f" {figures.duration(gap.age)} ago" if gap.may_be_more else ""
    if not gap.objects and not gap.bytes:
        return f"no gap{since}"
    return f"gap {figures.count(gap.objects)} objects {figures.size(gap.bytes)}{since}"


def preview_facts(preview: PreviewView) -> str:
    """The line under a dialog's title."""
    parts = [preview.mode] if preview.mode else []
    if preview.seconds or (preview.seconds is not None and preview.command in ("rollback", "evacuate")):
        parts.append(f"{figures.duration(preview.seconds)} expected")
    if preview.command in ("rollback", "evacuate"):
        parts.append(gap_words(preview.gap))
    if preview.steps:
        parts.append(f"{len(preview.steps)} step{'' if len(preview.steps) == 1 else 's'}")
    return " · ".join(parts)


def refusal_words(preview: PreviewView) -> str:
    """Which rule, what is seen, and what would allow it."""
    rule = f"refused by {plain(preview.refused_by, 60)}" if preview.refused_by else "refused"
    text = f"{rule}: {plain(preview.reason, 400)}" if preview.reason else rule
    return f"{text}\nwhat would allow it: {plain(preview.would_allow, 400)}" if preview.would_allow else text


def what_changed(old: PreviewView, new: PreviewView) -> str:
    """How a new preview differs from the one that was to be confirmed."""
    before, after = [s.text for s in old.steps], [s.text for s in new.steps]
    said = [f"no longer: {plain(text, 100)}" for text in before if text not in after]
    said += [f"now: {plain(text, 100)}" for text in after if text not in before]
    if old.allowed != new.allowed:
        said.append("it is allowed now" if new.allowed else "it is refused now")
    if not said and before != after:
        said.append("the order of the steps")
    return "; ".join(said[:4]) or "the plan or the routes"


def route_words(route: RouteView) -> str:
    """`chat 25 % on target (observed 25 %)`."""
    seen = "-" if route.observed is None else f"{route.observed} %"
    return f"{plain(route.name, 40)} {route.desired} % on target (observed {seen})"


def run_title(run: RunView) -> str:
    """`rollback graceful by ops@bastion1: error rate above 0.1 %`."""
    who = f" by {plain(run.actor, 60)}" if run.actor else ""
    why = f": {plain(run.reason, 200)}" if run.reason else ""
    return " ".join(part for part in (run.kind, run.mode) if part) + who + why


def run_result(snapshot: Snapshot) -> str:
    """How the run stands or ended, in words, with the weights that were observed."""
    run = snapshot.run
    if run is None:
        return "nothing runs, and nothing has run since the engine started"
    if run.ended_at is None:
        return f"{step_count(run.steps)}, since {figures.duration((snapshot.at - run.started_at).total_seconds())}"
    took = figures.duration((run.ended_at - run.started_at).total_seconds())
    ended = OUTCOMES.get(snapshot.state, "") if run.kind == "rollback" else ""
    ended = ended or plain(run.outcome or "ended", 200).replace("_", " ")
    weights = "; ".join(route_words(route) for route in snapshot.routes)
    return f"{ended}, after {took}\n{weights}" if weights else f"{ended}, after {took}"


def step_count(steps: tuple[StepView, ...]) -> str:
    """`step 3 of 7`."""
    done = sum(step.status in ("confirmed", "skipped") for step in steps)
    failed = sum(step.status == "failed" for step in steps)
    text = f"step {min(done + 1, len(steps))} of {len(steps)}"
    return f"{text}, {failed} failed" if failed else text


def gone_words(seconds: float, reason: str = "") -> str:
    """`engine gone since 12 s; `cutover up` brings it back`."""
    why = f" ({plain(reason, 80)})" if reason else ""
    return f"engine gone since {figures.duration(seconds)}{why}; `cutover up` brings it back"


def since_words(seconds: float) -> str:
    """The same after `ENGINE GONE`, where there is little room."""
    return f"since {figures.duration(seconds)}; `cutover up` brings it back"

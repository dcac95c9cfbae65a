"""Windows: below the usual is a warning; what is on a calendar must be one."""

from __future__ import annotations

import itertools
import re
import zoneinfo
from datetime import datetime

from backends.escape import plain
from backends.plan.defaults import triggers_of
from backends.plan.document import Path
from backends.plan.models import NoChanges, Plan
from backends.plan.nearest import nearest_name
from backends.plan.problems import Findings
from backends.plan.rules.names import Names

DAY = 86400.0
SOAK = 900.0
_WEEKLY = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01][0-9]|2[0-3]):([0-5][0-9])")


_BOTH = "a weekday on both for each week, a date on both for once"


def check_windows(plan: Plan, _names: Names, findings: Findings) -> None:
    _check_usual(("windows", "dual"), "dual window", plan.windows.dual, 7 * DAY, findings)
    _check_usual(("windows", "retire"), "retire window", plan.windows.retire, 30 * DAY, findings)
    _check_usual(("windows", "spacing"), "spacing between weight changes", plan.windows.spacing, 30.0, findings)
    _check_soak(plan, findings)
    for i, (first, second) in enumerate(itertools.pairwise(plan.retire.steps), 1):
        if second.to >= first.to or second.after < first.after:
            message = "found a step that does not fall below the one before it, or comes sooner, expected shares that fall"
            findings.error(("retire", "steps", i), "steps_fall", message, "such as to: 50% after: 7d, then to: 0% after: 14d")
    for i, step in enumerate(plan.retire.steps):
        if step.to >= 1:
            message = f"found a step to {step.to * 100:g} %, expected less than 100 %"
            findings.error(("retire", "steps", i, "to"), "steps_fall", message, "such as to: 50%")
        if step.after > plan.windows.retire:
            message = "found a step after the retire window, expected one within it"
            cure = f"at most {seconds_text(plan.windows.retire)}, or a longer windows.retire"
            findings.error(("retire", "steps", i, "after"), "steps_fall", message, cure)
    if plan.retire.steps and plan.capacity is None:
        message = "legacy falls in steps, and nothing will say whether what is left carries the load: a rollback is blocked from then on"
        findings.warning(("retire", "steps"), "no_capacity", message, "give capacity.command")
    for i, span in enumerate(plan.windows.no_changes):
        path: Path = ("windows", "no_changes", i)
        _check_no_changes(span, path if findings.places.is_written(path) else path[:-1], findings)
    for side in ("legacy", "target"):
        bounds = [bound for bound, _ in plan.side(side).egress_usd_per_gb]
        for i, (before, after) in enumerate(itertools.pairwise(bounds), 1):
            if after <= before:
                message = "found a tier that does not end above the one before it, expected bounds that rise"
                findings.error(
                    (side, "egress_usd_per_gb", i), "tiers_rise", message, "such as [[10 TB, 0.12], [140 TB, 0.11], [inf, 0.08]]"
                )


def _check_usual(path: Path, what: str, seconds: float, usual: float, findings: Findings) -> None:
    if seconds < usual:
        message = f"found a {what} of {seconds_text(seconds)}, usual is {seconds_text(usual)} or more"
        findings.warning(path, "short_window", message, f"{seconds_text(usual)}, or keep it where that is meant")


def seconds_text(seconds: float) -> str:
    """`604800` -> `7d`: in the largest unit that it is a whole number of."""
    for unit, length in (("d", DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"


def _check_soak(plan: Plan, findings: Findings) -> None:
    measures = {m.name: m for m in plan.measures}
    longest: dict[str, tuple[float, str]] = {}
    for trigger in triggers_of(plan):
        measure = measures.get(trigger.measure)
        if measure is not None and trigger.windows is not None:
            candidate = (trigger.windows[1], trigger.measure)
            longest[measure.workload] = max(longest.get(measure.workload, (0.0, "")), candidate)
    for i, route in enumerate(plan.routes):
        path: Path = ("routes", i, "soak", "at_least")
        soak = route.soak.at_least
        window, trigger_name = longest.get(route.workload, (0.0, ""))
        if soak < window:
            message = (
                f"found a soak of {seconds_text(soak)}, expected at least {seconds_text(window)}, "
                f"the long window of the trigger on `{trigger_name}`"
            )
            findings.warning(
                path,
                "soak_below_window",
                message,
                f"at_least: {seconds_text(window)}: a weight would be left before it has been judged",
            )
        if len(route.steps) > 1:
            _check_usual(path, f"soak for route `{route.name}`", soak, SOAK, findings)


def _check_no_changes(span: NoChanges, path: Path, findings: Findings) -> None:
    if not _is_zone(span.zone):
        near = nearest_name(span.zone, zoneinfo.available_timezones())
        message = f"found `{plain(span.zone, 60)}`, expected a time zone that this machine knows, such as Europe/Berlin"
        findings.error((*path, "zone"), "zone", message, f"did you mean {near}?" if near else "such as Europe/Berlin or UTC")
    for field, text in (("from", span.from_), ("to", span.to)):
        if not _WEEKLY.fullmatch(text) and _instant(text) is None:
            message = f"found `{plain(text, 60)}`, expected an instant such as `Fri 16:00` or `2026-12-24 16:00`"
            findings.error((*path, field), "instant", message, f'such as {field}: "Fri 16:00"')
    start, end = _instant(span.from_), _instant(span.to)
    if (start is None) != (end is None) and (_WEEKLY.fullmatch(span.from_) or _WEEKLY.fullmatch(span.to)):
        findings.error((*path, "to"), "instant", "found a weekday on one end and a date on the other, expected the same", _BOTH)
    elif start is not None and end is not None and end <= start:
        findings.error((*path, "to"), "instant", "found an end that is not after its beginning", "exchange them, or correct one")


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _instant(text: str) -> datetime | None:
    """A date and time without an offset, which the zone gives."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is None and len(text) > len("2026-12-24") else None

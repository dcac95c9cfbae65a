"""The checklist of each phase: what no machine can check, answered for by a person (`cutover sign`).

The usual items (what each phase of a migration holds by experience) are told where the plan lists none for a phase, and stop
nothing; what a plan lists is a gate of its phase unless it says `must: false`. A simulation has no usual items.

| phase | usual items |
| --- | --- |
| development | people-trained, differences-noted |
| testing | same-training-both-sides, transfer-tried |
| staging | outputs-looked-at, on-call-told, rollback-rehearsed |
| cutover | non-critical-first, dashboards-watched |
| decommission | final-backups-archived, instances-ended, account-closed, lessons-written |
"""

from __future__ import annotations

from backends.plan.models import ChecklistItem, Plan
from backends.vocabulary import Phase

_USUAL: dict[Phase, dict[str, str]] = {
    Phase.DEVELOPMENT: {
        "people-trained": "the people who operate target are trained on it",
        "differences-noted": "what differs between the two infrastructures is written down",
    },
    Phase.TESTING: {
        "same-training-both-sides": "the same training ran on both sides and its results were looked at",
        "transfer-tried": "a transfer at full size was tried",
    },
    Phase.STAGING: {
        "outputs-looked-at": "outputs of both sides were looked at by somebody who knows them",
        "on-call-told": "who is on call knows of the window and of the way back",
        "rollback-rehearsed": "a rollback was rehearsed",
    },
    Phase.CUTOVER: {
        "non-critical-first": "non-critical traffic went first",
        "dashboards-watched": "metrics and alerts of target were watched by a person",
    },
    Phase.DECOMMISSION: {
        "final-backups-archived": "the final backups are archived and somebody has restored from them",
        "instances-ended": "instances and volumes of legacy are ended",
        "account-closed": "legacy's account is closed, or its bill is zero",
        "lessons-written": "what was learnt is written down",
    },
}


def checklist_of(plan: Plan, phase: Phase) -> tuple[ChecklistItem, ...]:
    """The items of a phase: the plan's list for it, else the usual ones, which stop nothing."""
    if phase in plan.checklist:
        return plan.checklist[phase]
    if plan.simulation:
        return ()
    return tuple(ChecklistItem(name=name, text=text, must=False) for name, text in _USUAL[phase].items())

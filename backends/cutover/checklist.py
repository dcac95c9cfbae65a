"""The checklist against its signatures: what is signed, and what keeps a phase from being left. Pure."""

from __future__ import annotations

from backends.cutover.migration import Migration
from backends.cutover.rules import Refusal
from backends.plan.checklist import checklist_of
from backends.plan.models import Plan
from backends.snapshot import ChecklistView
from backends.vocabulary import Phase


def checklist(plan: Plan, m: Migration) -> tuple[ChecklistView, ...]:
    """Every item of every phase, with who signed it."""
    out = []
    for phase in Phase:
        for item in checklist_of(plan, phase):
            view = ChecklistView(phase=phase, name=item.name, text=item.text, must=item.must)
            if (signed := m.signed.get(item.name)) is not None:
                view = view.model_copy(update={"signed_by": signed.by, "reason": signed.reason, "at": signed.at})
            out.append(view)
    return tuple(out)


def checklist_refusal(plan: Plan, m: Migration) -> Refusal | None:
    """GATE, naming the items of the present phase that nobody has signed; None where it may be left."""
    late = [i for i in checklist(plan, m) if i.phase is m.phase and i.must and not i.signed_by]
    if not late:
        return None
    seen = "; ".join(f"{i.name} is not signed" + (f" ({i.text})" if i.text else "") for i in late)
    return Refusal("GATE", seen, f"cutover sign {late[0].name} --reason TEXT")

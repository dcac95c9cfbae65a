"""How long a step will take: as long as the same thing took when it was last done, else what the step says of itself.

A rollback's first forecast rests on the way forward: a writer that took 40 s to stop there takes as long here, and a round of a dataset
shows how long one takes to compare.
"""

from __future__ import annotations

from collections.abc import Iterable

from backends.cutover.migration import Migration, thing
from backends.cutover.steps.base import Step

LIKE = {"compare": "last_round", "fence": "quiesce"}  # what takes as long as something else on the same thing


def expected_seconds(step: Step, m: Migration) -> float:
    """Seconds that this step will take, by what the journal tells."""
    return next((m.took[key] for key in _keys(step) if key in m.took), step.seconds)


def expected_of(steps: Iterable[Step], m: Migration) -> tuple[float, ...]:
    return tuple(expected_seconds(step, m) for step in steps)


def _keys(step: Step) -> Iterable[str]:
    """The same, then the same on the other side or the other way round, then what is like it."""
    args = step.args()
    other = {"legacy": "target", "target": "legacy"}
    for kind in (step.kind, LIKE.get(step.kind)):
        if kind is None:
            continue
        yield thing(kind, args)
        if "side" in args:
            yield thing(kind, args | {"side": other[args["side"]]})
        if "dataset" in args and step.kind != "token":
            for reverse in (False, True):
                yield thing(kind, {"dataset": args["dataset"], "reverse": reverse})

"""The findings of a live check as a list that is worked down: what is open, what somebody has looked at, what a new look no longer finds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from backends.live.found import LiveProblem
from backends.live.scope import Scope, scope_of
from backends.plan.models import Plan
from backends.plan.problems import Severity
from backends.vocabulary import SideName

if TYPE_CHECKING:
    from backends.live.look import Looked

Standing = Literal["open", "looked at", "gone"]
_RANK: Mapping[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Item:
    """One finding and how it stands. `asked_at` is when it was last looked for; `unanswered` says that the last look could not tell."""

    found: LiveProblem
    standing: Standing
    asked_at: datetime
    unanswered: bool = False

    @property
    def is_done(self) -> bool:
        return self.standing != "open"

    @property
    def search(self) -> str:
        """What a filter looks in."""
        problem = self.found.problem
        side = self.found.side or "neither"
        return " ".join(
            (problem.severity, self.standing, side, *self.found.hosts, problem.code, problem.message, problem.field)
        ).casefold()


@dataclass(frozen=True, slots=True)
class Filter:
    """What is shown: every word of `words` occurs, and severity and side are those given."""

    words: str = ""
    severity: Severity | None = None
    side: SideName | Literal["neither"] | None = None
    only_open: bool = False

    def shows(self, item: Item) -> bool:
        problem = item.found.problem
        if self.severity is not None and problem.severity != self.severity:
            return False
        if self.side is not None and (item.found.side or "neither") != self.side:
            return False
        if self.only_open and item.is_done:
            return False
        return all(word in item.search for word in self.words.casefold().split())


@dataclass(frozen=True, slots=True)
class Worklist:
    """Open ones first, the heaviest first; what is gone stands at the end."""

    items: tuple[Item, ...] = ()

    def shown(self, by: Filter) -> tuple[Item, ...]:
        return tuple(item for item in self.items if by.shows(item))

    def marked(self, key: str) -> Worklist:
        """Looked at, or open again. What is gone stays gone."""
        turned: dict[Standing, Standing] = {"open": "looked at", "looked at": "open", "gone": "gone"}
        return _ordered(replace(i, standing=turned[i.standing]) if i.found.key == key else i for i in self.items)

    def looked(self, plan: Plan, looked: Looked, at: datetime, scope: Scope | None = None) -> Worklist:
        """After a look at everything, or at `scope`: findings that come from elsewhere as well stay as they are. A mark stays while what was
        seen stays the same."""

        def is_asked(found: LiveProblem) -> bool:
            return scope is None or scope.covers(scope_of(plan, found))

        now = {p.key: p for p in looked.problems}
        known = {item.found.key for item in self.items}
        items = [_again(plan, item, now.get(item.found.key), looked, at) if is_asked(item.found) else item for item in self.items]
        new = [p for key, p in now.items() if key not in known and is_asked(p)]
        return _ordered([*items, *(Item(p, "open", at) for p in new)])


def _again(plan: Plan, item: Item, now: LiveProblem | None, looked: Looked, at: datetime) -> Item:
    if now is not None:
        keeps = item.standing == "looked at" and (now.evidence, now.hosts) == (item.found.evidence, item.found.hosts)
        return Item(now, "looked at" if keeps else "open", at)
    if item.standing != "gone" and scope_of(plan, item.found).hosts & looked.silent:
        return replace(item, unanswered=True)  # who does not answer has not been mended
    return replace(item, standing="gone", asked_at=at if item.standing != "gone" else item.asked_at, unanswered=False)


def _ordered(items: Iterable[Item]) -> Worklist:
    def rank(item: Item) -> tuple[bool, int]:
        return item.standing == "gone", _RANK[item.found.problem.severity]

    return Worklist(tuple(sorted(items, key=rank)))

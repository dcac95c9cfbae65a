"""What a person answers for and what is proven: the items of preflight, the checklist of a phase, what remains of legacy and costs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from backends.snapshot import ChecklistView, InventoryView, Level, Phase, PreflightView, Snapshot
from backends.verdict import Verdict
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.columns import fact
from widgets.figures import count, duration, is_late, size
from widgets.row import Row, wrapped

KIND, WORD = 13, 12  # cells of the first column and of the verdict, the same for every line of the screen
WAIVE = "preflight:"  # before the name of an item of preflight, where it is signed for
OFTEN, SELDOM = 30.0, 600.0  # seconds between two measurements of an item
SELDOM_TRIED = ("reverse:", "store:", "hosts")  # what costs connections
TRIED_FROM = (Phase.STAGING, Phase.CUTOVER, Phase.DECOMMISSION)


def names_width(width: int) -> int:
    """Cells of the column of names."""
    return max(14, min(30, width // 3))


def present_phase(snapshot: Snapshot) -> Phase:
    """The phase whose items count now; of a plan that nobody has begun the first."""
    return snapshot.phase or Phase.DEVELOPMENT


# Preflight


def is_proven(item: PreflightView) -> bool:
    """Seen to be in place; what is waived is not."""
    return item.verdict is Verdict.PASS


def is_missing(item: PreflightView) -> bool:
    """Does arming wait for it, or a rollback lack it?"""
    return item.needed and not is_proven(item) and not item.waived_by


def preflight_level(item: PreflightView) -> Level:
    """Waived is held, not good: a person stands for it. What is not needed is never a breach."""
    if item.waived_by and not is_proven(item):
        return Level.HELD
    level = level_of_verdict(item.verdict)
    return Level.HELD if level is Level.BREACH and not item.needed else level


def preflight_row(item: PreflightView, palette: Palette, width: int) -> Row:
    """`✗ preflight    store:corpus    BREACH    access denied    12 s ago`."""
    level = preflight_level(item)
    row = _begun(palette, level, "preflight", item.name, width)
    waived = item.waived_by and not is_proven(item)
    row.add("waived" if waived else item.verdict.value, palette.of(level), WORD).gap(2)
    when = Row(palette)
    if item.age is not None:
        period = SELDOM if item.name.startswith(SELDOM_TRIED) else OFTEN
        when.add(f"{duration(item.age)} ago", palette.held if is_late(item.age, period) else palette.muted)
    return _ended(row, item.waived_by if waived else item.evidence, when, palette, width)


def preflight_detail(item: PreflightView, palette: Palette, width: int, height: int) -> list[Strip]:
    """What was seen of it, what would mend it, who stands for it."""
    level = preflight_level(item)
    needed = "a rollback needs it" if item.needed else "told, and stops nothing"
    lines = [
        fact(palette, "preflight", f"{item.name}: {needed}").strip(width),
        fact(palette, "verdict", item.verdict.value, palette.of(level)).strip(width),
    ]
    lines += full_fact(palette, "seen", item.evidence or "-", width)
    if item.cure:
        lines += full_fact(palette, "cure", item.cure, width)
    if item.waived_by:
        lines += full_fact(palette, "waived", f"by {item.waived_by}", width, palette.held)
    return lines[:height]


# The checklist


def shown_items(snapshot: Snapshot) -> list[ChecklistView]:
    """Those of the present phase, and of other phases what must be signed or is: usual items of other phases say nothing now."""
    now = present_phase(snapshot)
    return [i for i in snapshot.checklist if i.phase is now or i.must or i.signed_by]


def checklist_level(item: ChecklistView) -> Level | None:
    """None for what nobody has to sign."""
    if item.signed_by:
        return Level.GOOD
    return Level.WAITING if item.must else None


def checklist_row(item: ChecklistView, snapshot: Snapshot, palette: Palette, width: int) -> Row:
    """`✓ staging      rollback-rehearsed    signed    by ops@bastion1: on Monday    3 h ago`."""
    current = item.phase is present_phase(snapshot)
    level = checklist_level(item)
    row = _begun(palette, level, item.phase.value, item.name, width, current=current)
    word = "signed" if item.signed_by else "not signed" if item.must else "optional"
    row.add(word, palette.of(level) if level else palette.muted, WORD).gap(2)
    when = Row(palette)
    if item.at is not None:
        when.add(f"{duration((snapshot.at - item.at).total_seconds())} ago", palette.muted)
    text = f"by {item.signed_by}: {item.reason}" if item.signed_by else item.text
    return _ended(row, text, when, palette, width)


def checklist_detail(item: ChecklistView, palette: Palette, width: int, height: int) -> list[Strip]:
    """What it asks, and who has answered for it."""
    gate = f"a gate of {item.phase.value}" if item.must else f"usual in {item.phase.value}, and stops nothing"
    lines = [fact(palette, "checklist", f"{item.name}: {gate}").strip(width)]
    lines += full_fact(palette, "asks", item.text or "-", width)
    if item.signed_by:
        when = f", {item.at:%Y-%m-%d %H:%M} UTC" if item.at is not None else ""
        lines += full_fact(palette, "signed", f"by {item.signed_by}{when}: {item.reason}", width, palette.good)
    return lines[:height]


# What remains


def inventory_row(item: InventoryView, palette: Palette, width: int) -> Row:
    """`· remains      gcp-a1    host    8 GPUs A100    29.36 USD an hour`."""
    row = _begun(palette, None, "remains", item.name, width)
    row.add(item.kind, palette.text, WORD).gap(2)
    cost = Row(palette)
    if item.usd_per_hour is not None:
        cost.add(f"{item.usd_per_hour:,.2f} USD an hour", palette.text)
    return _ended(row, " ".join(part for part in (held_words(item), item.detail) if part), cost, palette, width)


def held_words(item: InventoryView) -> str:
    """`8 GPUs`, `12.0 TiB`; of what is not known `-`."""
    if item.kind == "host":
        return "" if item.gpus is None else f"{count(item.gpus)} GPU{'' if item.gpus == 1 else 's'}"
    return size(item.bytes)


def inventory_detail(item: InventoryView, palette: Palette, width: int, height: int) -> list[Strip]:
    """What it is, what it holds, what it costs."""
    cost = "not said by the plan" if item.usd_per_hour is None else f"{item.usd_per_hour:,.2f} USD an hour"
    month = "" if item.usd_per_hour is None else f", {item.usd_per_hour * 730:,.0f} USD in a month of 730 hours"
    lines = [fact(palette, "remains", f"{item.kind} {item.name}").strip(width)]
    lines.append(fact(palette, "holds", held_words(item) or "-").strip(width))
    lines += full_fact(palette, "is", item.detail or "-", width)
    if item.kind == "host":
        lines.append(fact(palette, "costs", cost + month, palette.text if month else palette.muted).strip(width))
    return lines[:height]


def remains_words(items: Sequence[InventoryView]) -> str:
    """`2 hosts, 16 GPUs, 58.72 USD an hour; 2 stores, 12.0 TiB`: a sum is told only where every part of it is known."""
    hosts = [i for i in items if i.kind == "host"]
    stores = [i for i in items if i.kind == "store"]
    said: list[str] = []
    if hosts:
        said.append(_plural(len(hosts), "host"))
        gpus = [i.gpus for i in hosts if i.gpus is not None]
        if gpus:
            said.append(f"{'' if len(gpus) == len(hosts) else 'at least '}{_plural(sum(gpus), 'GPU')}")
        costs = [i.usd_per_hour for i in hosts if i.usd_per_hour is not None]
        if costs:
            said.append(f"{'' if len(costs) == len(hosts) else 'at least '}{sum(costs):,.2f} USD an hour")
    if stores:
        sizes = [i.bytes for i in stores if i.bytes is not None]
        least = "" if len(sizes) == len(stores) else "at least "
        said.append(_plural(len(stores), "store") + (f" with {least}{size(sum(sizes))}" if sizes else ""))
    return ", ".join(said)


def _plural(number: int, word: str) -> str:
    return f"{count(number)} {word}{'' if number == 1 else 's'}"


# Signing


def sign_name(item: PreflightView | ChecklistView) -> str:
    """How `cutover sign` names it."""
    return f"{WAIVE}{item.name}" if isinstance(item, PreflightView) else item.name


def is_signed(item: PreflightView | ChecklistView) -> bool:
    """Is there a signature to take back?"""
    return bool(item.waived_by if isinstance(item, PreflightView) else item.signed_by)


def to_sign(snapshot: Snapshot, *, must: bool = False) -> list[str]:
    """What waits for a signature now, as `cutover sign` names it: the checklist of this phase then what preflight lacks and a person may waive.

    `must`: only what something waits for: gates, and of preflight not what the engine is about to try.
    """
    now = present_phase(snapshot)
    names = [i.name for i in snapshot.checklist if i.phase is now and not i.signed_by and (i.must or not must)]
    if snapshot.phase in TRIED_FROM:
        names += [sign_name(i) for i in snapshot.preflight if is_missing(i) and i.waivable and (i.tried or not must)]
    return names


# Lines


def _begun(palette: Palette, level: Level | None, kind: str, name: str, width: int, *, current: bool = False) -> Row:
    glyph = palette.glyphs.of(level) if level is not None else palette.glyphs.dot
    row = Row(palette).add(f"{glyph} ", palette.of(level) if level is not None else palette.muted)
    row.add(kind, palette.accent if current else palette.muted, KIND).gap()
    return row.add(name, palette.strong, names_width(width)).gap(2)


def _ended(row: Row, text: str, right: Row, palette: Palette, width: int) -> Row:
    """The words in what is left, the figure flush right where both fit."""
    room = width - row.used - (right.used + 2 if right.used else 0)
    if text and room > 6:
        shown = Row(palette).add(text, palette.text)
        row.join(shown) if shown.used <= room else row.add(text, palette.text, room)
    return row.right(right, width)


def full_fact(palette: Palette, label: str, text: str, width: int, style: Style | None = None) -> list[Strip]:
    """A fact over as many lines as its words need."""
    lines = wrapped(text, max(8, width - 11), 100, palette)
    return [fact(palette, label if i == 0 else "", line.text, style).strip(width) for i, line in enumerate(lines)]

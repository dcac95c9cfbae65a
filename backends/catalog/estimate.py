"""How long a migration takes and what it costs: arithmetic over sizes, rates and prices, in ranges that say what drives them.

Sources: the planning figures of `docs/planning.md` (calendar, parallel runs, compression), price tables in `data/`, and what `--measure` found on the
real route. Bytes, seconds, USD. A value that cannot be known is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from backends.catalog.egress import Egress
from backends.catalog.equivalents import offers_of
from backends.catalog.errors import UnknownGpu
from backends.catalog.phases import DAY, WEEK, WEEKS, Move, Span, calendar_of
from backends.catalog.tables import find_gpu, storage_prices
from backends.plan.models import Dataset, Plan, Side

HOUR = 3600.0
ASSUMED_RATE = 1e9  # bits a second, where neither plan nor measurement says: managed storage gives 1 to 2 Gbps
_EFFICIENCY = (0.6, 0.95)  # of the line rate, without a measurement: protocol, retries, others on the link
_ROUND_TRIP = (0.02, 0.1)  # seconds, between two providers
_AT_ONCE = (16, 256)  # objects under way, where the plan does not say: near and far
_TEXT, _OTHER = (0.3, 0.5), (0.0, 0.2)  # share saved on the hub's leg by zstd: text, and images and what is packed
_PARALLEL_RUN = (1 * WEEK, 2 * WEEK)  # both sides run the same work
_PAGE = 1000  # keys a listing's request
_PART = 64 << 20  # bytes of a part, at the size that most objects have


@dataclass(frozen=True, slots=True)
class Range:
    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Driver:
    """What a range hangs on, and where its figure is from."""

    what: str
    figure: str
    source: str


@dataclass(frozen=True, slots=True)
class Size:
    """A dataset's own. `source`: `plan`, `listed` or `given`."""

    bytes: int
    objects: int
    source: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A bounded copy over the real route. `seconds` is what the whole dataset would take at the sample's pace, `single` with one stream."""

    seconds: Range
    single: float | None
    bytes: int
    objects: int
    took: float
    saved: Range | None = None  # share that compression takes off, of what was sampled


@dataclass(frozen=True, slots=True)
class DatasetEstimate:
    name: str
    bytes: int | None
    objects: int | None
    seconds: float | None  # at the line rate
    seconds_expected: Range | None
    seconds_single: Range | None  # without parallelism: one object after the other
    egress_usd: float | None
    requests_usd: Range | None
    hub_usd: float | None
    saved: Range | None
    source: str
    is_measured: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """USD; None where a price is missing, and `note` says which."""

    what: str
    usd: Range | None
    note: str


@dataclass(frozen=True, slots=True)
class Estimate:
    datasets: tuple[DatasetEstimate, ...]
    total: DatasetEstimate
    costs: tuple[Cost, ...]
    calendar: tuple[Span, ...]
    moves: tuple[Move, ...]  # workload by workload, where one moves after another
    drivers: tuple[Driver, ...]
    notes: tuple[str, ...]
    rate: float  # bits a second


def estimate(
    plan: Plan, sizes: Mapping[str, Size], *, egress: Egress, start: date, measured: Mapping[str, Measured] | None = None
) -> Estimate:
    """Of all datasets of the plan, in its order; one without a size stays unknown and is told."""
    measured = measured or {}
    rate = plan.transfer.bandwidth or ASSUMED_RATE
    known = [d for d in plan.datasets if d.name in sizes]
    leaving = [sizes[d.name].bytes + _grown(d) for d in known]
    egress_costs = dict(zip((d.name for d in known), egress.costs(leaving), strict=True))
    found = tuple(
        _dataset(plan, d, sizes.get(d.name), rate, egress_costs.get(d.name), measured.get(d.name)) for d in plan.datasets
    )
    total = _total(found)
    transfer = total.seconds_expected
    spans, moves = calendar_of(plan, start, transfer.high if transfer is not None else None)
    return Estimate(
        found,
        total,
        tuple(_costs(plan, found)),
        spans,
        moves,
        tuple(_drivers(plan, egress, bool(measured), any(not d.is_measured and d.bytes for d in found))),
        tuple(_notes(plan, found, transfer)),
        rate,
    )


def _grown(spec: Dataset) -> int:
    """Bytes that it gains from the first day until the cutover begins: rounds carry them over as they come."""
    weeks = next(first for phase, first, _ in WEEKS if phase == "cutover") - 1
    return (spec.growth or 0) * weeks * 7


def _dataset(
    plan: Plan, spec: Dataset, size: Size | None, rate: float, egress: float | None, measured: Measured | None
) -> DatasetEstimate:
    if size is None:
        return DatasetEstimate(spec.name, None, None, None, None, None, None, None, None, None, "unknown", is_measured=False)
    line = size.bytes * 8 / rate
    saved = None
    if spec.hub is not None and spec.compress != "never":
        saved = measured.saved if measured is not None and measured.saved is not None else Range(_OTHER[0], _TEXT[1])
    legs = 2 if spec.hub is not None else 1  # at best both at once, at worst one after the other over the same line
    if measured is not None:
        expected, single = measured.seconds, Range(measured.single, measured.single) if measured.single is not None else None
    else:
        at_once = (plan.transfer.parallel,) * 2 if plan.transfer.parallel else _AT_ONCE
        # Bytes and round trips overlap at best; at worst, with few at once, one waits for the other.
        low = max(line / _EFFICIENCY[1], size.objects * _ROUND_TRIP[0] * 2 / at_once[1])
        high = line / _EFFICIENCY[0] + size.objects * _ROUND_TRIP[1] * 2 / at_once[0]
        expected = Range(max(low, line), high)
        trips = Range(size.objects * 2 * _ROUND_TRIP[0], size.objects * 2 * _ROUND_TRIP[1])
        single = Range(line / _EFFICIENCY[1], line / _EFFICIENCY[0]) + trips
    expected = Range(expected.low, expected.high * legs)
    single = Range(single.low, single.high * legs) if single is not None else None
    return DatasetEstimate(
        spec.name,
        size.bytes,
        size.objects,
        line,
        expected,
        single,
        egress,
        _requests(plan, spec, size, expected),
        _hub(spec, size),
        saved,
        size.source,
        is_measured=measured is not None,
    )


def _requests(plan: Plan, spec: Dataset, size: Size, expected: Range) -> Range:
    """Reads and writes of each object once, and the listings of every round until the dual window is over."""
    prices = storage_prices()
    write, read = prices["write_requests"].usd / 1000, prices["read_requests"].usd / 1000
    legs = 2 if spec.hub is not None else 1
    parts = size.objects + size.bytes / _PART
    once = legs * (parts * write + (size.objects + parts) * read)
    pages = math.ceil(size.objects / _PAGE) * 2 * write  # both sides; a listing is billed as a write
    follow = spec.follow or 60.0
    rounds = Range(1, 1 + (expected.high + _PARALLEL_RUN[1] + plan.windows.dual) / follow)
    return Range(once + pages * rounds.low, once + pages * rounds.high)


def _hub(spec: Dataset, size: Size) -> float | None:
    if spec.hub is None:
        return None
    return size.bytes / 1e9 * storage_prices()["hub_month"].usd * spec.hub_days / 30


def _total(found: Sequence[DatasetEstimate]) -> DatasetEstimate:
    """Datasets share the link: their times add up. None where one of them is unknown."""

    def summed(values: Sequence[float | None]) -> float | None:
        return None if any(v is None for v in values) else sum(v for v in values if v is not None)

    def ranges(values: Sequence[Range | None]) -> Range | None:
        known = [v for v in values if v is not None]
        return sum(known, Range(0, 0)) if len(known) == len(values) else None

    objects, size = summed([d.objects for d in found]), summed([d.bytes for d in found])
    hubs = [d.hub_usd for d in found if d.hub_usd is not None]
    return DatasetEstimate(
        "total",
        int(size) if size is not None else None,
        int(objects) if objects is not None else None,
        summed([d.seconds for d in found]),
        ranges([d.seconds_expected for d in found]),
        ranges([d.seconds_single for d in found]),
        summed([d.egress_usd for d in found]),
        ranges([d.requests_usd for d in found]),
        sum(hubs) if hubs else None,
        None,
        "",
        is_measured=bool(found) and all(d.is_measured for d in found),
    )


# what it costs to run


def hour_price(side: Side) -> tuple[float | None, str]:
    """USD an hour for all GPUs of a side, and whose price it is. None where a host's card or its price is not known."""
    total, notes = 0.0, []
    for host in side.hosts:
        if host.gpus is None:
            return None, f"{host.name} names no GPUs"
        if side.gpu_hour_usd is not None:
            total += host.gpus.count * side.gpu_hour_usd
            notes.append("the plan")
            continue
        try:
            cards = offers_of(find_gpu(host.gpus.type or ""), side.provider)
        except UnknownGpu:
            cards = ()
        if not cards:
            return None, f"no price of {host.gpus.type or 'a GPU'} at {side.provider} is known: give gpu_hour_usd"
        total += host.gpus.count * cards[0].usd_per_gpu_hour
        notes.append(f"{cards[0].provider} {cards[0].sku}, {cards[0].as_of or 'undated'}")
    return (total, ", ".join(dict.fromkeys(notes))) if side.hosts else (None, "no hosts are named")


def _costs(plan: Plan, found: Sequence[DatasetEstimate]) -> list[Cost]:
    legacy, legacy_note = hour_price(plan.legacy)
    target, target_note = hour_price(plan.target)

    def running(price: float | None, seconds: Range) -> Range | None:
        return None if price is None else Range(price * seconds.low / HOUR, price * seconds.high / HOUR)

    dual = Range(plan.windows.dual, plan.windows.dual)
    retire = Range(0, plan.windows.retire)
    costs = [
        Cost("parallel run: target", running(target, Range(*_PARALLEL_RUN)), target_note),
        Cost("dual window: legacy", running(legacy, dual), legacy_note),
        Cost("retire window: legacy", running(legacy, retire), legacy_note),
    ]
    if legacy is not None and target is not None:
        month = 30 * 24 * (target - legacy)
        costs.append(Cost("a month after, difference", Range(month, month), f"{target:.2f} against {legacy:.2f} USD/h"))
    egress = [d.egress_usd for d in found]
    if found:
        known = [e for e in egress if e is not None]
        costs.insert(
            0, Cost("egress", Range(sum(known), sum(known)) if len(known) == len(egress) else None, "by tiers of a month")
        )
    return costs


def _drivers(plan: Plan, egress: Egress, measured: bool, assumed: bool) -> list[Driver]:
    drivers = []
    if plan.transfer.bandwidth is None:
        drivers.append(Driver("line rate", "1 Gbps", "assumed: managed storage gives 1 to 2 Gbps; give transfer.bandwidth"))
    else:
        drivers.append(Driver("line rate", f"{plan.transfer.bandwidth / 1e9:g} Gbps", "transfer.bandwidth"))
    if measured:
        drivers.append(Driver("pace", "as measured", "--measure: a bounded copy over the real route, removed after it"))
    if assumed:
        drivers.append(Driver("efficiency of the line", "60 to 95 %", "assumed; --measure finds it"))
        drivers.append(Driver("round trip", "20 to 100 ms", "assumed between two providers; --measure finds it"))
        at_once = str(plan.transfer.parallel) if plan.transfer.parallel else "16 to 256, by latency"
        drivers.append(Driver("objects at once", at_once, "transfer.parallel"))
    if any(d.hub is not None for d in plan.datasets):
        drivers.append(Driver("legs over the hub", "at once, or one after the other", "each byte goes to the hub and from it"))
    if any(d.hub is not None and d.compress != "never" for d in plan.datasets):
        drivers.append(
            Driver("compression on the hub's leg", "text 30 to 50 %, images up to 20 %", "the guide; --measure samples it")
        )
    drivers.append(Driver("egress", "by tiers" if egress.tiers else "unknown", egress.source))
    drivers.append(Driver("parallel run", "1 to 2 weeks", "the guide"))
    return drivers


def _notes(plan: Plan, found: Sequence[DatasetEstimate], transfer: Range | None) -> list[str]:
    notes = [f"{d.name}: no size is known: give size and objects, or let it be listed" for d in found if d.bytes is None]
    for spec in plan.datasets:
        if spec.growth:
            notes.append(
                f"{spec.name}: {_grown(spec) / 1e9:,.0f} GB more by the cutover, at {spec.growth / 1e9:,.1f} GB a day: counted in its egress"
            )
    if transfer is not None and transfer.high > 30 * DAY:
        notes.append(
            "longer than a month: begin the copy in development, ask both providers about a private link or a shipped appliance"
        )
    provider = plan.legacy.provider.casefold()
    if provider in ("aws", "gcp", "azure") and found:
        notes.append(f"{plan.legacy.provider} waives egress for those who leave, on request")
    return notes

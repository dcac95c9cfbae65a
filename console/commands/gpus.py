"""`cutover gpus`: the catalogue, and the nearest equivalents of one card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from backends.errors import UsageError
from backends.escape import plain
from console.output import command_body, emit_json, json_option, say

if TYPE_CHECKING:
    from backends.catalog.equivalents import Equivalent
    from backends.catalog.tables import Gpu, Offer


@click.command("gpus", epilog="Example: cutover gpus --like A100-SXM4-40GB --memory-gb 38 --kind training --provider RunPod")
@click.option("--like", metavar="NAME", help="Its nearest equivalents, nearest first.")
@click.option("--memory-gb", type=click.FloatRange(min=0, min_open=True), metavar="N", help="What the work needs on each card.")
@click.option("--count", type=click.IntRange(min=1), default=1, metavar="N", help="How many cards work together (1).")
@click.option("--provider", metavar="P", help="Only what this provider offers.")
@click.option("--from-provider", metavar="P", help="Whose price of --like is compared; otherwise the cheapest one's.")
@click.option(
    "--kind",
    type=click.Choice(["inference", "training"]),
    help="What binds it: bandwidth or compute. Otherwise the smaller ratio of both.",
)
@click.option(
    "--benchmarks",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Measured throughput (CSV: gpu,value): outranks the sheets.",
)
@json_option
@command_body
def command(
    like: str | None,
    memory_gb: float | None,
    count: int,
    provider: str | None,
    from_provider: str | None,
    kind: Literal["inference", "training"] | None,
    benchmarks: Path | None,
    as_json: bool,
) -> int:
    """GPUs with memory, bandwidth and dense rates, by makers' sheets. With --like: how each compares by the ceiling that binds the work,
    what would not fit and what to do about it, what is lost, and how the price of an hour and of the same work changes.
    """
    from backends.catalog.benchmarks import read_benchmarks
    from backends.catalog.equivalents import Need, equivalents, offers_of, providers
    from backends.catalog.tables import find_gpu, gpus

    for given in (provider, from_provider):
        if given is not None and given.casefold() not in {p.casefold() for p in providers()}:
            raise UsageError(f"no prices of {plain(given, 60)} are in the catalogue", hint=f"known: {', '.join(providers())}")
    if like is None:
        if benchmarks is not None or from_provider is not None or count != 1 or kind is not None:
            raise UsageError("--count, --kind, --from-provider and --benchmarks go with --like")
        rows = [(gpu, offers_of(gpu, provider)) for gpu in gpus()]
        rows = [(gpu, its) for gpu, its in rows if (its or provider is None) and gpu.memory_gb >= (memory_gb or 0)]
        if as_json:
            emit_json({"gpus": [{**_figures(gpu), "offers": _offers(its)} for gpu, its in rows]})
        else:
            _say_table(
                [_row(gpu, its) for gpu, its in rows], ["GPU", "memory", "GB/s", "BF16", "FP8", "NVLink", "W", "USD/h from"]
            )
        return 0
    card = find_gpu(like)
    measured = read_benchmarks(benchmarks) if benchmarks is not None else None
    found = equivalents(card, Need(memory_gb, count, kind), provider=provider, from_provider=from_provider, measured=measured)
    if as_json:
        emit_json({"like": _figures(card), "kind": kind, "gpus": [_as_object(one) for one in found]})
    else:
        _say_equivalents(card, found, kind)
    return 0


def _figures(gpu: Gpu) -> dict[str, Any]:
    figures = gpu.model_dump(exclude={"nvml_names"})
    return {**figures, "nvml_names": list(gpu.reported_as), "maker": gpu.maker}


def _offers(its: tuple[Offer, ...]) -> list[dict[str, Any]]:
    return [
        {
            "provider": offer.provider,
            "usd_per_gpu_hour": offer.usd_per_gpu_hour,
            "basis": offer.basis,
            "sku": offer.sku,
            "gpu_count": offer.gpu_count,
            "region": offer.region,
            "as_of": offer.as_of or None,
            "source": offer.source,
        }
        for offer in its
    ]


def _as_object(one: Equivalent) -> dict[str, Any]:
    return {
        **_figures(one.gpu),
        "ratio": one.ratio,
        "ratios": dict(one.ratios),
        "measured": one.is_measured,
        "fits": one.fits,
        "distance": one.distance if one.ratio else None,
        "cost_change": one.cost_change,
        "work_cost_change": one.work_change,
        "warnings": list(one.warnings),
        "offers": _offers(one.offers),
    }


def _row(gpu: Gpu, its: tuple[Offer, ...]) -> list[str]:
    def figure(value: float | None) -> str:
        return "-" if value is None else f"{value:g}"

    price = f"{its[0].usd_per_gpu_hour:.2f} {its[0].provider}" if its else "-"
    fp8 = figure(gpu.fp8_tflops)
    cells = [
        f"{gpu.memory_gb:g}",
        f"{gpu.bandwidth_gb_s:g}",
        figure(gpu.bf16_tflops),
        fp8,
        figure(gpu.nvlink_gb_s),
        figure(gpu.tdp_w),
    ]
    return [gpu.name, *cells, price]


def _say_equivalents(card: Gpu, found: list[Equivalent], kind: str | None) -> None:
    binds = {"inference": "bandwidth", "training": "dense BF16 compute"}.get(
        kind or "", "the smaller of bandwidth and dense compute"
    )
    say(f"in the place of {card.name}, by {binds}:\n")
    rows = []
    for one in found:
        ratio = "-" if one.ratio is None else f"{one.ratio:.2f} x" + (" measured" if one.is_measured else "")
        hour = "-" if one.cost_change is None else f"{one.cost_change:+.0%}"
        work = "-" if one.work_change is None else f"{one.work_change:+.0%}"
        price = f"{one.offers[0].usd_per_gpu_hour:.2f} {one.offers[0].provider}" if one.offers else "-"
        rows.append([one.gpu.name, ratio, f"{one.gpu.memory_gb:g} GB", hour, work, price, "" if one.fits else "too small"])
    _say_table(rows, ["GPU", "ratio", "memory", "USD/h", "same work", "from", ""], [one.warnings for one in found])


def _say_table(rows: list[list[str]], heads: list[str], below: list[tuple[str, ...]] | None = None) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        last = len(cells) - 1
        padded = [
            c.ljust(w) if i in (0, last) or heads[i] == "from" else c.rjust(w)
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    say(click.style(line(heads), dim=True))
    for i, row in enumerate(rows):
        say(line(row))
        for text in below[i] if below else ():
            say(click.style(f"    {text}", dim=True))

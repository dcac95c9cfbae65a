"""All datasets in full, with what proves them, what failed and what is slow."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import DatasetView, ProofCounts, Snapshot
from themes.palette import Palette
from widgets.bars import bar, sparkline
from widgets.columns import Cell, Column, cells_row, fact, head_row, laid_out
from widgets.figures import count, percent, rate, share, size, size_of
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.row import Row
from widgets.transfer import (
    dataset_level,
    eta_style,
    eta_words,
    fraction_done,
    ingest_words,
    lag_words,
    rate_words,
    slow_objects,
    slow_words,
    trend_words,
)

_FIRST = 2  # failures and slow objects that are told before all else

COLUMNS = (
    Column("dataset", 12, grow=1),
    Column("state", 11),
    Column("done", 14, grow=3),
    Column("share", 8, "right"),
    Column("bytes", 20, "right", rank=2),
    Column("objects", 22, "right", rank=5),
    Column("rate", 10, "right", rank=1),
    Column("left", 22, rank=3),
    Column("lag", 16, rank=4),
    Column("failed", 6, "right"),
)


def dataset_row(dataset: DatasetView, palette: Palette, width: int) -> Row:
    """A dataset as one line of the table."""
    level = dataset_level(dataset)
    done = fraction_done(dataset)
    glyphs = palette.glyphs
    lag = (dataset.reverse_lag or dataset.lag) if dataset.direction == "reverse" else dataset.lag
    arrow = f"{glyphs.back} " if dataset.direction == "reverse" else ""
    bar_style = palette.of(level) if level.value != "waiting" else palette.accent
    left = eta_words(dataset).removeprefix("ETA ")
    objects = f"{count(dataset.objects_done)} of {count(dataset.objects_total)}"
    cells = {
        "dataset": Cell(dataset.name, palette.strong),
        "state": Cell(f"{glyphs.of(level)} {state_words(dataset)}", palette.of(level)),
        "done": Cell(row=bar(palette, done, laid_out(COLUMNS, width).get("done", 14), bar_style)),
        "share": Cell(share(done), palette.strong),
        "bytes": Cell(size_of(dataset.bytes_done or None, dataset.bytes_total)),
        "objects": Cell(objects, palette.muted),
        "rate": Cell(rate(dataset.rate) if dataset.stalled is None else "-"),
        "left": Cell(left if dataset.status != "in sync" else "-", eta_style(dataset, palette)),
        "lag": Cell(arrow + lag_words(lag).removeprefix("lag "), palette.text),
        "failed": Cell(count(dataset.failed), palette.breach if dataset.failed else palette.muted),
    }
    return cells_row(COLUMNS, cells, palette, width)


def proof_words(proofs: ProofCounts) -> str:
    """`stored checksums 2,792,069 · re-read 96`; sizes alone are never called verified."""
    parts = [
        (proofs.stored_checksums, "stored checksums"),
        (proofs.combined_parts, "combined parts"),
        (proofs.manifest, "manifest"),
        (proofs.re_read, "re-read"),
        (proofs.size_only, "size only (not verified)"),
    ]
    return " · ".join(f"{count(n)} by {what}" for n, what in parts if n) or "-"


def _moved(dataset: DatasetView, palette: Palette) -> Row:
    """`11.2 of 12.0 TiB, 2,793,000 of 3,000,000 objects  ETA 58 min ±6`."""
    objects = f"{count(dataset.objects_done)} of {count(dataset.objects_total)} objects"
    row = fact(palette, "moved", f"{size_of(dataset.bytes_done or None, dataset.bytes_total)}, {objects}").gap(2)
    if dataset.status == "copying":
        row.add(eta_words(dataset), eta_style(dataset, palette))
    return row


def _pace(dataset: DatasetView, palette: Palette) -> Row:
    """`84.0 Mbps  4,112 left  12 of 16 streams  ! slowed 3 times` (a store asked for it); while listing, how far that is."""
    if dataset.status == "listing":
        return fact(palette, "listing", f"{count(dataset.listed)} objects so far")
    row = fact(palette, "pace", rate_words(dataset))
    if dataset.left_objects:
        row.gap(2).add(f"{count(dataset.left_objects)} left", palette.text)
    if dataset.streams_limit:
        row.gap(2).add(f"{dataset.streams} of {dataset.streams_limit} streams", palette.muted)
    if dataset.busy:
        row.gap(2).add(f"{palette.glyphs.held} slowed {count(dataset.busy)} times", palette.held)
    return row


def _lag(dataset: DatasetView, palette: Palette, width: int) -> Row:
    """`819 GiB 41m, shrinking ▇▂▁▁  source grows 32.8 Mbps`: now, what each of the last rounds found missing, what comes in."""
    row = fact(palette, "lag", f"{lag_words(dataset.lag).removeprefix('lag ')}{trend_words(dataset)}")
    if len(dataset.lag_history) > 1:
        lags = [float(n) for n in dataset.lag_history]
        row.also(sparkline(palette, lags, min(len(lags), 20), palette.accent), width, 1)
    return row.also(Row(palette).add(ingest_words(dataset), palette.muted), width)


def dataset_detail(dataset: DatasetView, palette: Palette, width: int, height: int) -> list[Strip]:
    """How far, how fast, what fails and what is slow; then what proves it, from where to where, and all the rest."""
    failed = [fact(palette, "failed", f.key, palette.breach).gap(2).add(f.reason, palette.muted) for f in dataset.failures]
    slow = [fact(palette, "slowest", slow_words(s)).gap(2).add(s.key, palette.muted) for s in slow_objects(dataset)]
    rows = [fact(palette, "error", dataset.error, palette.breach)] if dataset.error else []
    rows.append(_moved(dataset, palette))
    if dataset.status in ("copying", "listing"):
        rows.append(_pace(dataset, palette))
    rows.append(_lag(dataset, palette, width))
    rows += failed[:_FIRST] + slow[:_FIRST]
    rows.append(fact(palette, "proven", f"{count(dataset.proven)}: {proof_words(dataset.proofs)}"))
    rows.append(fact(palette, "from", f"{dataset.source} {palette.glyphs.arrow} {dataset.target}"))
    rows.append(fact(palette, "writer", f"{dataset.writer}, epoch {dataset.epoch}, {dataset.direction}, round {dataset.round}"))
    if dataset.reverse_lag is not None:
        rows.append(fact(palette, "reverse", lag_words(dataset.reverse_lag)))
    if dataset.hub_bytes:
        saved = dataset.saved_bytes / (dataset.hub_bytes + dataset.saved_bytes)
        rows.append(fact(palette, "hub", f"{size(dataset.hub_bytes)} sent, {size(dataset.saved_bytes)} saved ({percent(saved)})"))
    rows += failed[_FIRST:]
    for mended in dataset.repaired:
        rows.append(fact(palette, "repaired", mended.key, palette.held).gap(2).add(mended.reason, palette.muted))
    rows += slow[_FIRST:]
    rows.extend(fact(palette, "note", note) for note in dataset.notes)
    return [row.strip(width) for row in rows[:height]]


def state_words(dataset: DatasetView) -> str:
    """Its status, or what says more: `stalled`; `follows` where all was there once."""
    if dataset.stalled is not None:
        return "stalled"
    return "follows" if dataset.status == "copying" and dataset.is_followed else dataset.status


class TransferTable(ListPanel[DatasetView]):
    """Datasets."""

    TITLE = "transfer"
    NONE = "no datasets in this plan"
    SORTS = (ORDER_OF_PLAN, "name", "left", "failed")
    DETAIL = 12

    def entries(self, snapshot: Snapshot) -> list[Entry[DatasetView]]:
        return [
            Entry(
                key=d.name,
                thing=d,
                search=f"{d.name} {d.source} {d.target} {d.status} {' '.join(f.key for f in d.failures)}",
                value=d.failures[0].key if d.failures else d.target,
                sorts={"name": d.name, "left": fraction_done(d) or 0.0, "failed": -d.failed},
            )
            for d in snapshot.datasets
        ]

    def head(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [head_row(COLUMNS, palette, width)]

    def entry_row(self, entry: Entry[DatasetView], palette: Palette, width: int) -> Row:
        return dataset_row(entry.thing, palette, width)

    def detail(self, entry: Entry[DatasetView], palette: Palette, width: int, height: int) -> list[Strip]:
        return dataset_detail(entry.thing, palette, width, height)

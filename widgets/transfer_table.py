"""All datasets in full, with what proves them, what failed and what is slow."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import DatasetView, ProofCounts, Snapshot
from themes.palette import Palette
from widgets.bars import bar
from widgets.columns import Cell, Column, cells_row, fact, head_row, laid_out
from widgets.figures import count, eta, rate, share, size, size_of
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.row import Row
from widgets.transfer import dataset_level, fraction_done, lag_words

COLUMNS = (
    Column("dataset", 12, grow=1),
    Column("state", 10),
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
    left = eta(dataset.eta_low, dataset.eta_high, dataset.eta_never).removeprefix("ETA ")
    objects = f"{count(dataset.objects_done)} of {count(dataset.objects_total)}"
    cells = {
        "dataset": Cell(dataset.name, palette.strong),
        "state": Cell(f"{glyphs.of(level)} {dataset.status}", palette.of(level)),
        "done": Cell(row=bar(palette, done, laid_out(COLUMNS, width).get("done", 14), bar_style)),
        "share": Cell(share(done), palette.strong),
        "bytes": Cell(size_of(dataset.bytes_done or None, dataset.bytes_total)),
        "objects": Cell(objects, palette.muted),
        "rate": Cell(rate(dataset.rate)),
        "left": Cell(left if dataset.status != "in sync" else "-", palette.held if dataset.eta_never else palette.text),
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
    """`11.2 of 12.0 TiB, 2,793,000 of 3,000,000 objects  ETA 58 min ±6  lag 848 GiB 41m`."""
    objects = f"{count(dataset.objects_done)} of {count(dataset.objects_total)} objects"
    row = fact(palette, "moved", f"{size_of(dataset.bytes_done or None, dataset.bytes_total)}, {objects}").gap(2)
    if dataset.status in ("copying", "listing"):
        style = palette.held if dataset.eta_never else palette.text
        row.add(eta(dataset.eta_low, dataset.eta_high, dataset.eta_never), style).gap(2)
    return row.add(lag_words(dataset.lag), palette.muted)


def dataset_detail(dataset: DatasetView, palette: Palette, width: int, height: int) -> list[Strip]:
    """Where from, where to, who writes, what proves it; then failures, repairs, the slowest."""
    rows = [
        _moved(dataset, palette),
        fact(palette, "from", f"{dataset.source} {palette.glyphs.arrow} {dataset.target}"),
        fact(palette, "writer", f"{dataset.writer}, epoch {dataset.epoch}, {dataset.direction}, round {dataset.round}"),
        fact(palette, "proven", f"{count(dataset.proven)}: {proof_words(dataset.proofs)}"),
    ]
    if dataset.error:
        rows.insert(0, fact(palette, "error", dataset.error, palette.breach))
    if dataset.reverse_lag is not None:
        rows.append(fact(palette, "reverse", lag_words(dataset.reverse_lag)))
    for failure in dataset.failures:
        rows.append(fact(palette, "failed", failure.key, palette.breach).gap(2).add(failure.reason, palette.muted))
    for mended in dataset.repaired:
        rows.append(fact(palette, "repaired", mended.key, palette.held).gap(2).add(mended.reason, palette.muted))
    for slow in dataset.slowest:
        words = f"{size(slow.done)} of {size(slow.size)}"
        rows.append(fact(palette, "slowest", slow.key).gap(2).add(words, palette.muted))
    return [row.strip(width) for row in rows[:height]]


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

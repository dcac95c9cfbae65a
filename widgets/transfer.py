"""How far the data has come: bytes, rate, when it will be done, what is still missing, what failed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from backends.snapshot import DatasetView, Lag, Level, SlowView, Snapshot
from themes.palette import Palette
from widgets.bars import bar
from widgets.figures import brief, count, duration, eta, number, progress, rate, share, size, size_of
from widgets.fitting import left_out, shown_first
from widgets.panel import Panel, nothing_yet
from widgets.row import Row

SEEN_SECONDS = 2.0
LAG_AT = 19  # column


def dataset_level(dataset: DatasetView) -> Level:
    """What the eye must know of a dataset first."""
    if dataset.status == "failed" or dataset.error:
        return Level.BREACH
    if dataset.failed or dataset.eta_never or dataset.stalled is not None:
        return Level.HELD
    behind = dataset.direction == "reverse" and dataset.reverse_lag is not None and bool(dataset.reverse_lag.bytes)
    return Level.GOOD if dataset.status == "in sync" and not behind else Level.WAITING


def fraction_done(dataset: DatasetView) -> float | None:
    """The share that the engine tells; from one that tells none bytes where they are known, else objects. Never above 1."""
    if dataset.status == "in sync":
        return 1.0
    if dataset.share is not None:
        return progress(dataset.share, 1.0)
    done = progress(dataset.bytes_done, dataset.bytes_total)
    if done is None or not dataset.bytes_total:
        done = progress(dataset.objects_done, dataset.objects_total)
    return done


def lag_words(lag: Lag) -> str:
    """`lag 0`, `lag 0.80 TiB 41m`."""
    if lag.objects is None and lag.bytes is None:
        return "lag -"
    if not lag.objects and not lag.bytes:
        return "lag 0"
    words = f"lag {size(lag.bytes) if lag.bytes is not None else count(lag.objects)}"
    return words if lag.seconds is None else f"{words} {brief(lag.seconds)}"


def eta_words(dataset: DatasetView) -> str:
    """`ETA 58 min ±6`, `ETA never at this rate`, `measuring`, `stalled 40 s`, `ETA -`: no figure where none is known."""
    if dataset.eta_state == "measuring":
        return "ETA measuring"
    if dataset.eta_state == "stalled":
        return f"stalled {duration(dataset.stalled)}"
    return eta(dataset.eta_low, dataset.eta_high, dataset.eta_never)


def eta_style(dataset: DatasetView, palette: Palette) -> Style:
    """What must be seen: never, and a standstill."""
    return palette.held if dataset.eta_never or dataset.stalled is not None else palette.text


def rate_words(dataset: DatasetView) -> str:
    """`1.84 Gbps`; where objects without bytes move, or are compared, `1,204 objects/s`."""
    if dataset.stalled is not None:
        return "-"
    if not dataset.rate and dataset.object_rate:
        return f"{number(dataset.object_rate)} objects/s"
    return rate(dataset.rate)


def trend_words(dataset: DatasetView) -> str:
    """`, shrinking` after the lag, from the second round on."""
    return f", {dataset.lag_trend}" if dataset.lag_trend is not None else ""


def ingest_words(dataset: DatasetView) -> str:
    """`source grows 84.0 Mbps`; nothing where it does not, or where that is not known."""
    if not dataset.ingest_rate and not dataset.ingest_objects:
        return ""
    side = "target" if dataset.direction == "reverse" else "source"
    return f"{side} grows " + (
        rate(dataset.ingest_rate) if dataset.ingest_rate else f"{number(dataset.ingest_objects)} objects/s"
    )


def slow_objects(dataset: DatasetView) -> list[SlowView]:
    """Those long enough under way that an eye can follow them."""
    return [s for s in dataset.slowest if s.seconds is None or s.seconds >= SEEN_SECONDS]


def slow_words(slow: SlowView) -> str:
    """`3.10 of 4.70 GiB, 66.0 %, 41 s`."""
    parts = [size_of(slow.done, slow.size)] if slow.size else []
    if slow.size:
        parts.append(share(progress(slow.done, slow.size), 0))
    if slow.seconds is not None:
        parts.append(duration(slow.seconds))
    return ", ".join(parts)


def transfer_rows(datasets: Sequence[DatasetView], palette: Palette, width: int, height: int) -> list[Strip]:
    """A line a dataset, then what each has to say, those that move or fail first."""
    if not datasets:
        return nothing_yet("no datasets in this plan", palette, width, height)
    chosen = shown_first(datasets, height, dataset_level)
    names = min(max(len(d.name) for d in chosen), max(8, min(24, width - 23)))
    details = [detail_rows(d, palette, width) for d in chosen]
    shares = _shares(chosen, [len(d) for d in details], height - len(chosen))
    lines: list[Strip] = []
    for dataset, detail, part in zip(chosen, details, shares, strict=True):
        lines.append(dataset_line(dataset, palette, width, names))
        lines.extend(row.strip(width) for row in detail[:part])
    return lines


def _shares(datasets: Sequence[DatasetView], wanted: Sequence[int], spare: int) -> list[int]:
    """How many detail lines each gets: two for those that move or fail, one for the others, then in turn while there is room."""
    shares = [0] * len(datasets)
    order = sorted(range(len(datasets)), key=lambda i: _calm(datasets[i]))
    rounds = [[2 if _calm(d) < AT_REST else 1 for d in datasets]]
    rounds += [[line] * len(datasets) for line in range(2, max(wanted, default=0) + 1)]
    for limits in rounds:
        for i in order:
            more = max(0, min(spare, min(wanted[i], limits[i]) - shares[i]))
            shares[i] += more
            spare -= more
    return shares


AT_REST = 3


def _calm(dataset: DatasetView) -> int:
    if dataset.error or dataset.failed:
        return 0
    return {"copying": 1, "verifying": 1, "listing": 2, "failed": 0, "waiting": AT_REST, "in sync": AT_REST + 1}[dataset.status]


def dataset_line(dataset: DatasetView, palette: Palette, width: int, names: int) -> Strip:
    """`corpus      ▇▇▇▇▇▇▇▇▇▇▇▇▇▁  93.1 %`; a word where there is no share to tell."""
    level = dataset_level(dataset)
    done = fraction_done(dataset)
    row = Row(palette).add(dataset.name, palette.strong, names).gap()
    cells = max(4, width - names - 10)
    style = palette.good if level is Level.GOOD else palette.accent if level is Level.WAITING else palette.of(level)
    tells = dataset.status in ("in sync", "failed") or done is None
    word: str = dataset.status if tells else "follows" if dataset.is_followed else share(done)
    row.join(bar(palette, done, cells, style))
    return row.add(word, style if level is not Level.WAITING else palette.strong, 9, "right").strip(width)


def detail_rows(dataset: DatasetView, palette: Palette, width: int) -> list[Row]:
    """What a dataset has to say beside its bar, the most important first."""
    rows: list[Row] = []
    glyphs = palette.glyphs
    if dataset.error:
        rows.append(Row(palette).to(2).add(f"{glyphs.breach} {dataset.error}", palette.breach))
    if dataset.writer == "target" or dataset.direction == "reverse":
        lag = dataset.reverse_lag or Lag()
        row = Row(palette).to(2).add(f"{glyphs.back} reverse ", palette.target)
        rows.append(row.add(lag_words(lag), palette.text))
    if dataset.status == "listing":
        rows.append(Row(palette).to(2).add("listed ", palette.muted).add(count(dataset.listed), palette.text))
    if dataset.status == "copying":
        rows.append(_pair(palette, size_of(dataset.bytes_done or None, dataset.bytes_total), _paced(dataset), width, 17))
        rows.append(_eta_and_lag(dataset, palette, width))
        if coming := ingest_words(dataset):
            rows.append(Row(palette).to(2).add(coming, palette.muted))
    proofs = Row(palette).to(2).add("proven ", palette.muted).add(count(dataset.proven), palette.text)
    style = palette.breach if dataset.failed else palette.muted
    proofs.also(Row(palette).add(f"failed {count(dataset.failed)}", style), width)
    if dataset.repaired:
        proofs.also(Row(palette).add(f"repaired {count(len(dataset.repaired))}", palette.held), width)
    if dataset.status == "in sync":
        proofs.also(Row(palette).add(lag_words(dataset.lag), palette.muted), width)
    if dataset.failed:
        rows.insert(0, proofs)
    elif dataset.status not in ("waiting",) or dataset.proven:
        rows.append(proofs)
    if dataset.bytes_total is not None and dataset.status != "in sync":
        words = f"{count(dataset.objects_done)} of {count(dataset.objects_total)} objects"
        rows.append(Row(palette).to(2).add(words, palette.muted))
    for failure in dataset.failures:
        key = Row(palette).to(2).add(f"{glyphs.breach} ", palette.breach).add(failure.key, palette.text)
        rows.append(key.gap(2).add(failure.reason, palette.muted))
    rows.append(Row(palette).to(2).add(f"{dataset.source} {glyphs.arrow} {dataset.target}", palette.muted))
    rows.extend(_slow(dataset, palette))
    return rows


def _paced(dataset: DatasetView) -> str:
    words = rate_words(dataset)
    return f"rate {words}" if words == "-" else words


def _eta_and_lag(dataset: DatasetView, palette: Palette, width: int) -> Row:
    """Both in one line; of the lag its trend goes first where there is no room, then its age, then all of it."""
    row = Row(palette).to(2).add(eta_words(dataset), eta_style(dataset, palette))
    whole = lag_words(dataset.lag)
    for words in (f"{whole}{trend_words(dataset)}", whole, lag_words(dataset.lag.model_copy(update={"seconds": None}))):
        column = max(row.used + 2, min(LAG_AT, width - len(words)))
        if column + len(words) <= width:
            return row.to(column).add(words, palette.muted)
    return row


def _slow(dataset: DatasetView, palette: Palette) -> list[Row]:
    return [
        Row(palette).to(2).add("slowest ", palette.muted).add(slow_words(s)).gap(2).add(s.key, palette.muted)
        for s in slow_objects(dataset)
    ]


def _pair(palette: Palette, left: str, right: str, width: int, column: int) -> Row:
    row = Row(palette).to(2).add(left, palette.text)
    return row.to(max(row.used + 2, column + 2)).add(right, palette.text)


class TransferPanel(Panel):
    """All datasets."""

    OPENS = "transfer"
    TITLE = "transfer"

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return transfer_rows(snapshot.datasets, palette, width, height)

    def footing(self, snapshot: Snapshot) -> str:
        hidden = left_out(snapshot.datasets, self.size.height, dataset_level)
        return f"{len(hidden)} more {self.palette.glyphs.of(hidden[0])}" if hidden else ""

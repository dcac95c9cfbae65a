"""What a migration keeps of a comparison of two checkpoints: the verdict, and the tensors that differ most."""

from __future__ import annotations

from backends.checkpoint_view import MOST_TENSORS, CheckpointView, TensorView
from backends.escape import plain
from backends.validation.checkpoint.compare import Report, TensorResult
from backends.validation.checkpoint.difference import Difference
from backends.validation.stats import finite_or_none
from backends.validation.web import shown_url


def kept_view(report: Report, places: tuple[str, str], *, workload: str) -> CheckpointView:
    """`places`: where legacy's and target's lie, as an operator wrote it; user names, keys and queries in them are left out."""
    apart = [r for r in report.tensors if not r.equal]
    legacy, target = (shown_url(p) if "://" in p else plain(p, 300) for p in places)
    return CheckpointView(
        workload=workload,
        legacy=legacy,
        target=target,
        verdict=report.verdict,
        reason=plain(report.reason, 1500),
        allowed=report.allowed,
        tensors=len(report.tensors),
        apart=len(apart),
        worst=tuple(_tensor(r) for r in apart[:MOST_TENSORS]),
    )


def _tensor(result: TensorResult) -> TensorView:
    one, found = result.one, result.found
    form = plain(f"{one.kind.name} {' x '.join(f'{n:,}' for n in one.shape) or 'a single number'}", 90)
    name = plain(result.name, 180)
    if found is None or one.kind.form == "opaque":
        return TensorView(name=name, form=form, words=_why(result))
    return TensorView(
        name=name,
        form=form,
        words=_odd(result, found),
        relative=None if found.odd else finite_or_none(found.relative),  # of the rest it would look small
        max_abs=finite_or_none(found.max_abs),
        cosine=finite_or_none(found.cosine),
        ulp=finite_or_none(found.ulp),
    )


def _why(result: TensorResult) -> str:
    if result.missing is not None:
        return f"missing on {result.missing}"
    return f"another {result.unlike}" if result.unlike is not None else "its bytes differ"


def _odd(result: TensorResult, found: Difference) -> str:
    words = []
    if found.odd:
        before, after = (found.nan[side] + found.inf[side] for side in (0, 1))
        words.append(f"NaN or infinite {before:,} → {after:,}")
    if result.unlike is not None and result.target is not None:
        words.append(f"now {result.target.kind.name}")
    return plain(", ".join(words), 90)

"""A dataset's transfer as the snapshot has it: what an engine tells its consoles, and what `cutover sync` shows without one."""

from __future__ import annotations

from backends.dataset_view import DatasetView, FailureView, Lag, ProofCounts, SlowView
from backends.plan.models import Dataset
from backends.transfer.models import Progress
from backends.transfer.trend import Trend

_NOTES = 10


def live_lag(progress: Progress, wall: float) -> Lag:
    """What a round that copies has still to copy; `wall` is `time.time()`."""
    oldest = progress.oldest_missing_at
    objects, bytes_ = progress.to_copy_objects - progress.copied_objects, progress.to_copy_bytes - progress.copied_bytes
    age = max(0.0, wall - oldest.timestamp()) if oldest is not None and objects > 0 else None
    return Lag(objects=max(0, objects), bytes=max(0, bytes_), seconds=age)


def dataset_view(spec: Dataset, trend: Trend, progress: Progress, now: float, wall: float) -> DatasetView:
    """Of the round in progress at `now` (`time.monotonic()`, of a sample just taken) and `wall` (`time.time()`)."""
    standing, outlook = trend.standing, trend.outlook(now, progress)
    is_copying = progress.status == "copying" and progress.is_listed
    rate, coming = trend.rate() if is_copying else None, trend.ingest()
    return DatasetView(
        name=spec.name,
        source=spec.from_,
        target=spec.to,
        status=progress.status,
        listed=progress.listed or None,
        objects_total=standing.objects_total,
        objects_done=standing.objects_done,
        bytes_total=standing.bytes_total,
        bytes_done=standing.bytes_done,
        share=standing.share,
        is_followed=standing.is_followed,
        left_objects=progress.left_objects if is_copying else 0,
        rate=rate.bytes if rate is not None else None,
        object_rate=rate.objects if rate is not None else None,
        ingest_rate=coming.bytes if coming is not None else None,
        ingest_objects=coming.objects if coming is not None else None,
        eta_state=outlook.state,
        eta_seconds=outlook.seconds,
        eta_low=outlook.low,
        eta_high=outlook.high,
        eta_never=outlook.state == "never",
        stalled=outlook.stalled,
        lag=live_lag(progress, wall) if is_copying else _left(trend),
        lag_trend=trend.lag_trend(),
        lag_history=tuple(point.bytes for point in trend.lags),
        proven=progress.objects_done - progress.proofs["size_only"] if progress.is_listed else 0,
        proofs=ProofCounts.model_validate(dict(progress.proofs)),
        failed=progress.failed,
        failures=tuple(FailureView(key=f.key, reason=f.reason) for f in progress.failures),
        slowest=tuple(SlowView(key=s.key, done=s.done, size=s.size, seconds=s.seconds) for s in trend.slowest(now, progress)),
        streams=progress.streams if is_copying else 0,
        streams_limit=progress.streams_limit,
        busy=progress.busy,
        hub_bytes=progress.hub_bytes,
        saved_bytes=progress.saved_bytes,
        notes=tuple(progress.notes[-_NOTES:]),
    )


def _left(trend: Trend) -> Lag:
    """Between two rounds: what the last one left."""
    left = trend.left()
    return Lag() if left is None else Lag(objects=left[0], bytes=left[1], seconds=None if left[0] else 0.0)

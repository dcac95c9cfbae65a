"""How far a dataset is, as the engine's snapshot and `cutover sync` tell it. Units as in `backends.snapshot`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base of every part: frozen; unknown fields from a newer engine are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", defer_build=True)


class Lag(Model):
    """What one side holds and the other does not yet. `seconds`: age of the oldest such object, or of the look where there may be more."""

    objects: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    age: float | None = None  # seconds since the look began that says so
    may_be_more: bool = False  # whoever writes there may have written since that look began

    @property
    def is_zero(self) -> bool:
        """Is it known that there is nothing, now and not only at the last look?"""
        return self.objects == 0 and not self.may_be_more


class FailureView(Model):
    key: str
    reason: str


class SlowView(Model):
    """An object under way."""

    key: str
    done: int
    size: int
    seconds: float | None = None  # under way


class ProofCounts(Model):
    """Objects by how their identity on both sides was shown; `size_only` is never called verified."""

    stored_checksums: int = 0
    combined_parts: int = 0
    manifest: int = 0
    re_read: int = 0
    size_only: int = 0


class DatasetView(Model):
    name: str
    source: str
    target: str
    writer: Literal["legacy", "none", "target"] = "legacy"
    epoch: int = 0
    direction: Literal["forward", "reverse"] = "forward"
    status: Literal["waiting", "listing", "copying", "verifying", "in sync", "failed"] = "waiting"
    listed: int | None = None
    objects_total: int | None = None
    objects_done: int = 0
    bytes_total: int | None = None
    bytes_done: int = 0
    share: float | None = None  # of all that was listed, a fraction; never falls
    is_followed: bool = False  # all was there once: what is missing since is lag
    left_objects: int = 0  # of this round, to copy and to compare
    rate: float | None = None  # bytes a second over the last minute of copying
    object_rate: float | None = None  # objects a second
    ingest_rate: float | None = None  # bytes a second that come in where data is written
    ingest_objects: float | None = None  # objects a second
    eta_state: Literal["none", "listing", "measuring", "stalled", "never", "eta"] = "none"
    eta_seconds: float | None = None  # between `eta_low` and `eta_high`; all three only in state `eta`
    eta_low: float | None = None
    eta_high: float | None = None
    eta_never: bool = False  # "never at this rate"
    stalled: float | None = None  # seconds since anything moved
    lag: Lag = Lag()
    lag_trend: Literal["shrinking", "steady", "growing"] | None = None
    lag_history: tuple[int, ...] = ()  # bytes that each of the last rounds found missing, the oldest first
    reverse_lag: Lag | None = None
    proven: int = 0
    proofs: ProofCounts = ProofCounts()
    failed: int = 0
    failures: tuple[FailureView, ...] = ()  # the first some
    repaired: tuple[FailureView, ...] = ()  # damaged on the way, found by the proof, copied again
    slowest: tuple[SlowView, ...] = ()  # the longest under way
    streams: int = 0  # in use
    streams_limit: int = 0
    busy: int = 0  # times that a store asked to slow down
    hub_bytes: int = 0  # sent to the hub
    saved_bytes: int = 0  # that compression saved of them
    notes: tuple[str, ...] = ()  # what was found out about a store
    round: int = 0
    last_round_at: datetime | None = None
    error: str | None = None

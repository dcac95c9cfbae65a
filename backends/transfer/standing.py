"""How far a dataset is, as it is shown: never over the whole, never backwards, over rounds, retries, restarts and resumes."""

from __future__ import annotations

from backends.transfer.models import Progress, RoundResult

_LOST = 0.5
_BELOW_ONE = 0.9999


class Standing:
    """The share of a dataset that is there. Objects and bytes are those of the last listing: they never exceed it, and within a round
    never fall; what an earlier run had sent of an object counts.

    `share` (0..1) never falls either, also where the source grows and these figures go back against the whole: then it stands still.
    1 is reached when all was there, and from then on a dataset is followed: what is missing is told as lag. Only when most of what was
    there is there no more (a target emptied, a source written anew) it begins again: a full bar would be a lie.
    """

    def __init__(self, *, is_complete: bool = False) -> None:
        self.share: float | None = 1.0 if is_complete else None
        self.objects_done = 0
        self.objects_total: int | None = None
        self.bytes_done = 0
        self.bytes_total: int | None = None
        self._round: int | None = None
        self._most = (0, 0)  # bytes and objects that were once there, of complete ones

    @property
    def is_followed(self) -> bool:
        """All was there once."""
        return self.share == 1.0

    def look(self, progress: Progress) -> None:
        """Take a round's figures, once its listings have ended."""
        if not progress.is_listed or progress.only_failed or progress.status == "verifying":
            return
        if progress.rounds != self._round:
            self._round, self.objects_done, self.bytes_done = progress.rounds, 0, 0
        held = sum(done for done, _ in progress.active.values()) + sum(progress.resumed.values())
        self._take(progress.objects_done, progress.objects_total, progress.bytes_done, progress.bytes_total, held)

    def ended(self, result: RoundResult) -> None:
        """Take a round's end, watched or not."""
        if result.only_failed:
            return
        self.broke_off()
        self.objects_done = self.bytes_done = 0
        bytes_done = max(0, result.bytes_total - result.lag_bytes)
        self._take(result.unchanged + result.copied, result.objects_total, bytes_done, result.bytes_total)

    def broke_off(self) -> None:
        """The round in progress is over: what comes is another one."""
        self._round = None

    def _take(self, objects_done: int, objects: int, bytes_done: int, bytes_: int, held: int = 0) -> None:
        """`held` bytes are there of objects that are not complete."""
        self.objects_total, self.bytes_total = objects, bytes_
        self.objects_done = min(objects, max(self.objects_done, objects_done))
        self.bytes_done = min(bytes_, max(self.bytes_done, bytes_done + held))
        is_complete = objects_done >= objects
        share = 1.0 if is_complete else min(_share(self.bytes_done, bytes_, self.objects_done, objects), _BELOW_ONE)
        most_bytes, most_objects = self._most
        is_lost = bytes_done < most_bytes * _LOST or objects_done < most_objects * _LOST
        if is_lost:
            most_bytes = most_objects = 0
        self._most = max(most_bytes, bytes_done), max(most_objects, objects_done)
        self.share = share if is_lost else max(share, self.share or 0.0)


def _share(bytes_done: int, bytes_: int, objects_done: int, objects: int) -> float:
    """By bytes where there are any, else by objects."""
    return bytes_done / bytes_ if bytes_ else objects_done / objects

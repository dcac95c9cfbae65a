"""A load run's slices on disk, one a line, so that one of a day can go on after its end was not its own choice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from backends.errors import CouldNot
from backends.escape import plain
from backends.probes.load.course import Course
from backends.probes.load.run import SliceDone
from backends.probes.load.side import Slice

MAX_LINE = 1 << 24


class Kept:
    """The file of one workload's run. `open` begins anew or goes on; `add` is durable when it returns. Blocking."""

    def __init__(self, path: Path, asked: dict[str, Any], slice_seconds: float) -> None:
        self.path = path
        self._slice = slice_seconds
        self._asked = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self._file: BinaryIO | None = None

    def open(self, *, resume: bool) -> Course:
        """What is done already. Raises `CouldNot` where what is there is of another run, or nothing is there to go on with."""
        course = Course()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:  # what was cut off in mid-line stays behind
            file.write(orjson.dumps({"load": 1, "asked": self._asked, "slice": self._slice}) + b"\n")
            for one in self._read() if resume else ():
                file.write(_line(one))
                course.add(one)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        self._file = self.path.open("ab")
        return course

    def add(self, done: SliceDone) -> None:
        assert self._file is not None
        self._file.write(_line(done))
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> Iterator[SliceDone]:
        """Slice by slice: a day of them is never held as a whole."""
        try:
            with self.path.open("rb") as file:
                if orjson.loads(file.readline(MAX_LINE))["asked"] != self._asked:
                    raise CouldNot(
                        "the run that is kept asked for something else", where=str(self.path), hint="leave out --resume"
                    )
                while line := file.readline(MAX_LINE):
                    done = _slice_of(line)
                    if done is None:
                        return  # the line that was being written when it ended
                    yield done
        except FileNotFoundError:
            raise CouldNot("there is no run to go on with", where=str(self.path), hint="leave out --resume") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CouldNot(f"the run that is kept cannot be read: {plain(str(error))}", where=str(self.path)) from error


def _slice_of(line: bytes) -> SliceDone | None:
    try:
        value = orjson.loads(line)
        sides = {side: Slice.from_json(value["sides"][side]) for side in ("legacy", "target") if side in value["sides"]}
        return SliceDone(float(value["at"]), sides)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError):
        return None


def _line(done: SliceDone) -> bytes:
    return orjson.dumps({"at": done.at, "sides": {side: one.as_json() for side, one in done.sides.items()}}) + b"\n"

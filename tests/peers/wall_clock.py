"""A wall clock of their own for processes that a test starts: it jumps when the test says so, and no other clock does."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("wall_clock.c")


@dataclass(frozen=True, slots=True)
class WallClock:
    """Processes started with `env` live by it."""

    library: Path
    file: Path

    @property
    def env(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "WALL_CLOCK": str(self.file)}

    def jump(self, seconds: int) -> None:
        """Put it by so much, at once, in processes that run."""
        with self.file.open("r+b") as file:
            [now] = struct.unpack("=q", file.read(8))
            file.seek(0)
            file.write(struct.pack("=q", now + seconds))


def wall_clock(folder: Path) -> WallClock:
    """Built in `folder`. Skips where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc): a wall clock that jumps cannot be built")
    made = WallClock(folder / "wall_clock.so", folder / "wall_clock")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", made.library, SOURCE], check=True)
    made.file.write_bytes(struct.pack("=q", 0))
    return made

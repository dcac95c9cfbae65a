"""An `nvidia-smi` for a host without GPUs: a script that prints what stands in files beside it, so that tests change it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEADING = """Tue Jul 14 09:00:26 2026
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 590.48.01              Driver Version: 590.48.01      CUDA Version: 13.1     |
+-----------------------------------------+------------------------+----------------------+
"""
# Appends each call to `calls`; loops at the asked period (in seconds, or -lms) for as long as somebody reads.
SCRIPT = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$$ $*" >>calls
case "$*" in
  *--query-gpu=*) ;;
  topo*|nvlink*) test -f "$1" && exec cat "$1"; exit 1 ;;
  *) cat heading; exit "$(cat status)" ;;
esac
while :; do
  cat rows || exit 1
  status="$(cat status)"
  test "$status" = 0 || exit "$status"
  case "$*" in *" -l "*|*" -lms "*) sleep 0.1 ;; *) exit 0 ;; esac
done
"""


@dataclass
class FakeSmi:
    """`folder` goes to the front of a session's PATH."""

    folder: Path

    def say(self, *rows: str, status: int = 0) -> None:
        """From now on the query prints these rows, and ends with `status` unless it is 0 and looping."""
        part = self.folder / "rows.part"
        part.write_text("".join(f"{row}\n" for row in rows))
        part.replace(self.folder / "rows")
        part.write_text(f"{status}\n")
        part.replace(self.folder / "status")

    @property
    def calls(self) -> list[str]:
        """Process id and arguments of each call so far."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.folder}:/usr/bin:/bin"}


def fake_smi(folder: Path) -> FakeSmi:
    """Write the program below `folder`; it answers two idle GPUs until told otherwise."""
    folder.mkdir(parents=True)
    (folder / "nvidia-smi").write_text(SCRIPT)
    (folder / "nvidia-smi").chmod(0o755)
    (folder / "heading").write_text(HEADING)
    smi = FakeSmi(folder)
    smi.say(row(0), row(1))
    return smi


def row(index: int, utilization: str = "40", *, name: str = "NVIDIA H100 80GB HBM3", power: str = "98.50") -> str:
    """A row of the query that the probes ask for."""
    return f"{index}, GPU-{index:08d}, 590.48.01, {utilization}, 59, 81559, {power}, 700.00, 42, {name}"

"""Large buffers come from memory that is there already, and go back when that is asked for."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")

_BODIES = """
import resource, sys, threading
from pathlib import Path
from backends import allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def faults(of):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    of()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def bodies():
    for _ in range(20):
        b"x" * (8 << 20)

def in_threads():
    for _ in range(4):
        thread = threading.Thread(target=bodies)
        thread.start()
        thread.join()

if sys.argv[1] == "keeps":
    allocator.keep_freed()
bodies()
print(faults(bodies), faults(in_threads))
held = [b"x" * (8 << 20) for _ in range(8)]
held.clear()
much = resident()
allocator.give_back()
print(much - resident())
"""


def told(how: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", _BODIES, how], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_what_was_freed_is_used_again_by_any_thread() -> None:
    alone, in_threads, _ = told("keeps")
    assert alone < 200
    assert in_threads < 200
    alone, in_threads, _ = told("as it is")
    assert in_threads > 2000  # an arena for each thread: the test would see it


def test_free_memory_goes_back_when_asked() -> None:
    *_, returned = told("keeps")
    assert returned > 50 << 20

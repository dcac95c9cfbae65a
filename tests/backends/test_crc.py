"""The sums of awscrt, called where they lie or imported: the same values."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.metadata import version

import pytest
from awscrt import checksums
from hypothesis import given
from hypothesis import strategies as st

from backends import crc

PAIRS = (
    (crc.crc64nvme, crc.combine_crc64nvme, checksums.crc64nvme),
    (crc.crc32c, crc.combine_crc32c, checksums.crc32c),
    (crc.crc32, crc.combine_crc32, checksums.crc32),
)


def test_the_installed_version_is_one_that_needs_no_initialisation() -> None:
    assert version("awscrt") in crc.KNOWN, "look at its C source: if the functions still take (module, tuple), add it"
    assert crc.in_place() is not None


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_sums_are_those_of_awscrt_and_those_of_neighbours_join(first: bytes, second: bytes) -> None:
    for ours, combine, theirs in PAIRS:
        assert ours(first) == theirs(first)
        assert ours(second, ours(first)) == combine(ours(first), ours(second), len(second)) == theirs(first + second)


def test_all_kinds_of_buffers_are_summed_and_nothing_else() -> None:
    data = os.urandom(10_000)
    assert crc.crc64nvme(bytearray(data)) == crc.crc64nvme(memoryview(data)) == checksums.crc64nvme(data)
    with pytest.raises(TypeError):
        crc.crc64nvme(7)  # type: ignore[arg-type]
    with pytest.raises((ValueError, BufferError, TypeError)):
        crc.crc64nvme(memoryview(data)[::2])


def test_threads_sum_large_buffers_side_by_side_rightly() -> None:
    data, found = os.urandom(1 << 20), list[int]()
    threads = [threading.Thread(target=lambda: found.append(crc.crc64nvme(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [checksums.crc64nvme(data)] * 8


def test_another_version_is_imported_as_its_makers_mean_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crc, "KNOWN", frozenset({"0.0.1"}))
    assert crc.in_place() is None
    functions = crc.imported()
    assert functions["crc64nvme"](None, (b"123456789", 0)) == crc.crc64nvme(b"123456789")
    assert functions["crc32_combine"](None, (1, 2, 3)) == crc.combine_crc32(1, 2, 3)


def test_awscrt_can_still_be_imported_after_its_sums_were_used() -> None:
    code = (
        "from backends import crc; a = crc.crc64nvme(b'x'); from awscrt import checksums; assert a == checksums.crc64nvme(b'x')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

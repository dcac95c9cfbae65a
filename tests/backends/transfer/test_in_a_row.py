"""How many failures in a row are the store's, and which are the objects' own."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from backends.ssh.errors import HostUnreachable
from backends.stores.errors import KeyRefused, KeysRefused, ObjectDenied, StoreDenied, StoreError, StoreFull, StoreUnreachable
from backends.stores.local import LocalStore
from backends.transfer.in_a_row import DENIED_AT_MOST, GIVE_UP_AFTER, InARow
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.round import sync_round
from backends.transfer.verify import verify_dataset


def failures_until_given_up(
    error: Exception, *, workers: int = 1, after_a_success: bool = False, at_most: int = 3000
) -> int | None:
    row = InARow(workers)
    if after_a_success:
        row.worked()
    return next((n for n in range(1, at_most + 1) if row.failed(error)), None)


@pytest.mark.parametrize("error", [StoreUnreachable("x"), StoreFull("x"), HostUnreachable("x"), TimeoutError(), KeysRefused("x")])
@pytest.mark.parametrize("after_a_success", [False, True])
def test_a_store_that_has_gone_is_given_up_soon(error: Exception, *, after_a_success: bool) -> None:
    assert failures_until_given_up(error, after_a_success=after_a_success) == GIVE_UP_AFTER
    assert failures_until_given_up(error, workers=100, after_a_success=after_a_success) == 200


def test_a_store_that_denies_is_given_up_soon_until_it_has_let_us_have_something() -> None:
    assert failures_until_given_up(StoreDenied("x")) == GIVE_UP_AFTER
    assert failures_until_given_up(StoreDenied("x"), after_a_success=True) == DENIED_AT_MOST


@pytest.mark.parametrize("error", [ObjectDenied("x"), KeyRefused("x"), StoreError("archived")])
def test_what_is_an_objects_own_is_never_the_stores(error: Exception) -> None:
    assert failures_until_given_up(error) is None


def test_one_that_works_or_fails_by_itself_begins_the_row_anew() -> None:
    row = InARow(1)
    for own in (None, ObjectDenied("x"), KeyRefused("x")):
        assert not any(row.failed(StoreUnreachable("x")) for _ in range(GIVE_UP_AFTER - 1))
        if own is None:
            row.worked()
        else:
            assert not row.failed(own)
    assert not row.failed(StoreUnreachable("x"))


async def test_many_files_of_another_user_in_a_row_end_no_round(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {f"theirs-{n:03}" for n in range(80)}
    (tmp_path / "old").mkdir()
    for name in ("a", *theirs, "z"):
        (tmp_path / "old" / name).write_bytes(name.encode())
    opens = os.open

    def denied(path: str, *args: Any, **more: Any) -> int:
        if path in theirs:  # whoever runs the tests may be root, who reads all
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opens(path, *args, **more)

    monkeypatch.setattr(os, "open", denied)
    async with LocalStore("old", tmp_path / "old") as source, LocalStore("new", tmp_path / "new") as target:
        await target.prepare()
        result = await sync_round("d", source, target, index, RoundOptions(parallel=4), Progress())
        assert (result.copied, result.failed) == (2, 80)
        assert result.failures[0].reason.endswith("Permission denied")
        verified = await verify_dataset("d", source, target, index, re_read=True, report=None)
        assert (verified.equal, len(verified.problems)) == (2, 80)

"""Listings that cannot be trusted: nothing is copied, nothing deleted, nothing concluded from them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from backends.stores import s3_listing
from backends.stores.errors import ListingFailed
from backends.stores.local import LocalStore
from tests.faults.transfer.rig import Rig, assert_same, contents, go, put, s3_store
from tests.peers.fault_proxy import Act, FaultProxy, xml_error
from tests.peers.seaweedfs import NOLIST, STRANGER

MANY = {f"k{i:03}": b"%d" % i for i in range(95)}  # ten pages


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_listing, "_PAGE", 10)
    monkeypatch.setattr(s3_listing.random, "uniform", lambda *_: 0.01)


def side_of(rig: Rig, side: str) -> FaultProxy:
    return rig.legacy if side == "source" else rig.other


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("refuse", b""),
        ("cut_down", b""),
        ("short_down", b""),
        ("answer", xml_error(500, "InternalError")),
        ("answer", xml_error(503, "SlowDown", retry_after="0")),
        ("answer", xml_error(403, "AccessDenied")),
        ("answer", xml_error(200, "InternalError")),
    ],
    ids=["refused", "cut", "short", "500", "503", "denied", "error-in-200"],
)
async def test_a_listing_that_breaks_for_good_at_page_7_copies_and_changes_nothing(
    rig: Rig, side: str, act: Act, said: bytes
) -> None:
    await put(rig.old, MANY)
    await put(rig.new, MANY)
    await put(rig.old, {"k099": b"new on legacy"})
    rule = side_of(rig, side).add(act, lambda r: r.is_listing, times=None, after=6, said=said)
    rig.other.seen.clear()
    with pytest.raises(ListingFailed, match=side):
        await rig.round()
    assert rule.struck >= 1
    assert rig.other.sent("PUT") == rig.other.sent("DELETE") == rig.other.sent("POST") == []
    await assert_same(rig.new, MANY)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("act", "said"),
    [("refuse", b""), ("lose", b""), ("answer", xml_error(503, "SlowDown", retry_after="0"))],
    ids=["refused", "lost", "503"],
)
async def test_a_page_that_fails_twice_is_asked_again_and_nothing_is_missed(rig: Rig, side: str, act: Act, said: bytes) -> None:
    await put(rig.old, MANY)
    await put(rig.new, dict(list(MANY.items())[:70]))
    rule = side_of(rig, side).add(act, lambda r: r.is_listing, times=2, after=6, said=said)
    result = await rig.round()
    assert rule.struck == 2
    assert (result.listed, result.copied, result.failed) == (95, 25, 0)
    await assert_same(rig.new, MANY)


async def test_a_denied_destination_listing_is_not_an_empty_destination(rig: Rig) -> None:
    """s5cmd 564: 250 TiB were copied again over a destination that could not be listed."""
    await put(rig.old, MANY)
    await put(rig.new, MANY)
    for keys in (NOLIST, STRANGER):
        async with s3_store("target", rig.server, f"{rig.prefix}new/", endpoint=rig.other.endpoint, keys=keys) as denied:
            rig.other.seen.clear()
            with pytest.raises(ListingFailed, match="target"):
                await go(rig.source, denied, rig.index)
            assert rig.other.sent("PUT") == []
            assert all(seen.request.is_listing for seen in rig.other.seen)


async def test_a_flipped_bit_in_a_page_never_makes_a_wrong_object(rig: Rig) -> None:
    """No listing carries a checksum. What a flip makes of a key, a size or an ETag is an error or found out at the object."""
    await put(rig.old, MANY)
    rule = rig.legacy.add("flip_down", lambda r: r.is_listing, times=1, after=3)
    with contextlib.suppress(ListingFailed):
        await rig.round()
    assert rule.struck == 1
    assert (await contents(rig.new)).items() <= MANY.items()
    again = await rig.round()
    assert (again.failed, again.lag_objects) == (0, 0)
    await assert_same(rig.new, MANY)


async def test_a_missing_source_folder_wipes_and_copies_nothing(rig: Rig, tmp_path: Path) -> None:
    """aws-cli 1564: a missing source directory wiped the backup."""
    await put(rig.new, MANY)
    async with LocalStore("gone", tmp_path / "gone") as gone:
        with pytest.raises(ListingFailed, match="gone"):
            await go(gone, rig.target, rig.index)
    await assert_same(rig.new, MANY)


DELETES = {"delete": True, "delete_barred": "", "max_delete": 1.0}


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    ("act", "said"), [("refuse", b""), ("answer", xml_error(403, "AccessDenied"))], ids=["refused", "denied"]
)
async def test_a_listing_error_with_deletes_on_wipes_nothing(rig: Rig, side: str, act: Act, said: bytes) -> None:
    """s5cmd 695: a listing error on the source made `sync --delete` wipe the destination."""
    await put(rig.old, MANY)
    await rig.round()
    await rig.old.delete("k010")
    rule = side_of(rig, side).add(act, lambda r: r.is_listing, times=None, after=6, said=said)
    with pytest.raises(ListingFailed, match=side):
        await rig.round(**DELETES)
    assert rule.struck >= 1
    assert rig.other.sent("DELETE") == []
    await assert_same(rig.new, MANY)
    side_of(rig, side).rules.clear()
    result = await rig.round(**DELETES)  # with whole listings that one goes, and only that
    assert result.deleted == 1
    await assert_same(rig.new, {key: body for key, body in MANY.items() if key != "k010"})


async def test_a_source_that_lists_as_empty_wipes_nothing(rig: Rig) -> None:
    await put(rig.old, MANY)
    await rig.round()
    empty = b"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
    said = b"HTTP/1.1 200 Said\r\ncontent-length: %d\r\n\r\n%s" % (len(empty), empty)
    rig.legacy.add("answer", lambda r: r.is_listing, times=None, said=said)
    with pytest.raises(ListingFailed, match="is empty where the last round saw 95 objects"):
        await rig.round(**DELETES)
    assert rig.other.sent("DELETE") == []
    await assert_same(rig.new, MANY)

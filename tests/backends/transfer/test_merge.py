"""The merge of two sorted listings equals what two dicts would say, for any pages in any turn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.stores.base import ObjectInfo
from backends.stores.errors import ListingFailed
from backends.transfer.errors import ListingUnsorted
from backends.transfer.merge import Lane, Merge, Pair, merge_listings, order_of
from tests.backends.transfer.memory import MemoryStore

KEYS = st.text(st.sampled_from("ab/\n é\U0001f6f0\ud800\udcff".replace("\ud800", "")), min_size=1, max_size=3)


def pages_of(keys: set[str], sizes: list[int]) -> list[list[ObjectInfo]]:
    infos = [ObjectInfo(key, len(key)) for key in sorted(keys, key=order_of)]
    out = []
    for size in sizes:
        out.append(infos[:size])
        infos = infos[size:]
    return [*out, infos]


@settings(max_examples=150)
@given(
    st.sets(KEYS), st.sets(KEYS), st.lists(st.integers(0, 4), max_size=6), st.lists(st.integers(0, 4), max_size=6), st.randoms()
)
def test_pairs_are_those_of_two_dicts_in_the_order_of_keys(left, right, cuts_left, cuts_right, chance) -> None:  # type: ignore[no-untyped-def]
    merge = Merge(Lane("a"), Lane("b"))
    waiting = {merge.source: pages_of(left, cuts_left), merge.target: pages_of(right, cuts_right)}
    pairs: list[Pair] = []
    while not (merge.source.ended and merge.target.ended):
        lane = chance.choice([lane for lane in waiting if not lane.ended])
        if waiting[lane]:
            lane.feed(waiting[lane].pop(0))
        else:
            lane.ended = True
        pairs += merge.pairs()
    pairs += merge.pairs()
    seen = [(s or t).key for s, t in pairs if s or t]
    assert seen == sorted(left | right, key=order_of)
    assert {s.key for s, _ in pairs if s} == left
    assert {t.key for _, t in pairs if t} == right
    assert all(s is None or t is None or s.key == t.key for s, t in pairs)


@pytest.mark.parametrize(("keys", "what"), [(["b", "a"], "out of order"), (["a", "a"], "twice")])
def test_a_key_out_of_order_or_twice_is_told_by_name(keys: list[str], what: str) -> None:
    lane = Lane("corpus-new")
    with pytest.raises(ListingUnsorted, match=f"listing of corpus-new has a {what}"):
        lane.feed([ObjectInfo(key, 1) for key in keys])


def test_order_is_checked_across_pages_and_for_what_is_left_out() -> None:
    lane = Lane("x", lambda key: key == "b")
    lane.feed([ObjectInfo("b", 1)])
    with pytest.raises(ListingUnsorted):
        lane.feed([ObjectInfo("a", 1)])


async def test_memory_stays_flat_when_one_side_is_far_ahead() -> None:
    source = MemoryStore("a", {f"{i:05}": b"" for i in range(3000)}, page=100)
    target = MemoryStore("b", {"zzz": b""}, page=100)
    largest = 0

    async def consume(pairs: list[Pair]) -> None:
        nonlocal largest
        largest = max(largest, len(pairs))

    counts = await merge_listings(source, target, consume)
    assert (counts.source, counts.target) == (3000, 1)
    assert largest <= 100


async def test_a_listing_that_breaks_off_is_told_as_it_was_raised() -> None:
    source, target = MemoryStore("a", {"x": b""}), MemoryStore("b", {"y": b""})
    target.break_listing_after = 0

    async def consume(pairs: list[Pair]) -> None:
        raise AssertionError("nothing is certain yet")

    with pytest.raises(ListingFailed, match="b broke off at page 0"):
        await merge_listings(source, target, consume)

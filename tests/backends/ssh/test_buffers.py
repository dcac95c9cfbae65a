"""Buffers that are used again, and never while somebody holds a view of one."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from backends.ssh.buffers import LARGE, Buffers


async def test_a_buffer_is_given_again_when_nobody_holds_it() -> None:
    buffers = Buffers()
    first = buffers.take(LARGE)
    first[0] = 7
    held = first[10:20].toreadonly()
    del first
    second = buffers.take(LARGE)
    assert second[0] == 0, "a slice of the first is still held"
    del held
    third = buffers.take(LARGE)
    assert third[0] == 7, "the first, as it was left"
    buffers.let_go()


async def test_small_ones_and_other_sizes_are_new_ones() -> None:
    buffers = Buffers()
    view = buffers.take(LARGE)
    view[0] = 7
    del view
    assert buffers.take(LARGE + 1)[0] == 0
    assert bytes(buffers.take(3)) == b"\0\0\0"
    buffers.let_go()


@given(st.lists(st.tuples(st.integers(0, 11), st.sampled_from([LARGE, LARGE + 5])), max_size=40))
def test_no_two_holders_ever_share_bytes(steps: list[tuple[int, int]]) -> None:
    """Each step lets the holder of a place go and takes another for it; all others keep what they wrote."""

    async def walk() -> None:
        buffers, held = Buffers(), dict[int, memoryview]()
        for number, (place, size) in enumerate(steps, 1):
            held.pop(place, None)
            view = buffers.take(size)
            assert len(view) == size
            view[0] = view[-1] = number % 256
            held[place] = view
            values = [(v[0], v[-1]) for v in held.values()]
            assert len(set(values)) == len(values)
            assert all(a == b for a, b in values)
        buffers.let_go()

    asyncio.run(walk())

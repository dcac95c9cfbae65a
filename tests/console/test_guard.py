"""Keys count by when they were pressed."""

from __future__ import annotations

from console.guard import KeyGuard


def test_a_key_counts_only_after_the_dialog_was_painted_for_a_moment() -> None:
    now = [100.0]
    guard = KeyGuard(lambda: now[0], grace=0.5)
    assert not guard.admits(100.0), "not painted yet"
    guard.painted()
    assert not guard.admits(100.4)
    assert guard.admits(100.5)
    now[0] = 200.0
    assert not guard.admits(99.0), "pressed before, handled late"


def test_new_content_closes_it_again() -> None:
    guard = KeyGuard(lambda: 100.0, grace=0.5)
    guard.painted()
    guard.close()
    assert not guard.admits(1000.0)

"""From a share of the clients to the weights of servers, and back. Pure.

HAProxy's weights are whole numbers from 0 to 256, so not every share can be said exactly with several servers a side: what is
chosen is the nearest, and it is always nearer to the share that was meant than to any other whole percent.
"""

from __future__ import annotations

from collections.abc import Mapping

MOST = 256


def share_of(legacy: Mapping[str, int], target: Mapping[str, int]) -> float | None:
    """Percent of the clients that go to target; None where no server has any weight."""
    there, whole = sum(target.values()), sum(target.values()) + sum(legacy.values())
    return 100.0 * there / whole if whole else None


def weights_for(share: int, legacy: Mapping[str, int], target: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The weights of legacy's servers and of target's at `share` percent on target. `legacy` and `target` are each server's own part of
    its side: what was pinned. At 0 legacy's are exactly those; at 100 target's are, where they are anything."""
    old = _parts(legacy)
    new = _parts(target)
    if share <= 0:
        return dict(legacy) if any(legacy.values()) else _scaled(old, 100), dict.fromkeys(target, 0)
    if share >= 100:
        return dict.fromkeys(legacy, 0), dict(target) if any(target.values()) else _scaled(new, 100)
    best: tuple[float, int, dict[str, int], dict[str, int]] | None = None
    for scale in range(MOST, 0, -1):
        a, b = _scaled(old, scale * (100 - share) / 100), _scaled(new, scale * share / 100)
        if max([*a.values(), *b.values()]) > MOST:
            continue
        seen = share_of(a, b)
        error = abs(seen - share) if seen is not None else 100.0
        if best is None or error < best[0] - 1e-9:
            best = error, scale, a, b
    assert best is not None
    return best[2], best[3]


def _parts(side: Mapping[str, int]) -> dict[str, float]:
    """Each server's part of its side; all alike where none has weight."""
    whole = sum(side.values())
    return {name: weight / whole if whole else 1 / len(side) for name, weight in side.items()}


def _scaled(parts: Mapping[str, float], whole: float) -> dict[str, int]:
    """Whole numbers in these parts that add up to `whole`, as nearly as one can: the largest remainders get what is left."""
    exact = {name: part * whole for name, part in parts.items()}
    out = {name: int(value) for name, value in exact.items()}
    left = round(whole) - sum(out.values())
    for name in sorted(exact, key=lambda n: (out[n] - exact[n], n))[: max(0, left)]:
        out[name] += 1
    return out

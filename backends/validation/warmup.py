"""Where a run's warm-up ends: compilation, caches and the first loads of data make the first steps slow, and say nothing of the rest.

MSER (White, An effective truncation heuristic for bias reduction in simulation output, 1997): what is left out at the beginning is what
makes the standard error of the rest's mean the smallest. Values far from the second half's median are drawn in first, so that a single
outlier later on does not decide; and nothing is left out unless it was slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from backends.validation.stats import median

LEAST = 20  # values that show a warm-up
_LOOKED_AT = 4000  # of the beginning
_FAR = 10.0  # median absolute deviations
_SLOWER = 0.01  # by which the median of what is left out must be slower


def warm_up(values: Sequence[float], *, higher_is_better: bool) -> int:
    """How many of the first values are warm-up: at most half of those that are looked at."""
    head = list(values[:_LOOKED_AT])
    if len(head) < LEAST:
        return 0
    later = head[len(head) // 2 :]
    middle = median(later)
    far = _FAR * max(median([abs(v - middle) for v in later]), 1e-9 * abs(middle))
    drawn = [min(max(v, middle - far), middle + far) - middle for v in head]
    sums = list(accumulate(reversed(drawn)))
    squares = list(accumulate(v * v for v in reversed(drawn)))

    def error(cut: int) -> float:
        count = len(drawn) - cut
        return (squares[count - 1] - sums[count - 1] ** 2 / count) / count**2

    most, least = len(head) // 2, _SLOWER * abs(middle)
    while most:
        cut = min(range(most + 1), key=error)
        if not cut:
            return 0
        slower = median(head[:cut]) - median(head[cut:])
        if (-slower if higher_is_better else slower) > least:
            return cut
        most, least = min(most // 2, cut - 1), far  # chance further on may look better than the few that were slow
    return 0

"""Figures of errors whose name says that they are shares of requests."""

from __future__ import annotations

import re

_SHARES = frozenset(["rate", "share", "ratio", "fraction", "percent", "percentage", "pct"])


def is_share_name(name: str) -> bool:
    """Does a figure of this name look like a share of requests that failed, and not like a request that did?"""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return not _SHARES.isdisjoint(re.split(r"[^a-z0-9]+", apart.casefold()))

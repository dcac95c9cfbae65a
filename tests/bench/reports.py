"""What a simulation reports: shown, and kept as a page of docs/ of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

Report = Callable[[], list[str]]


async def show(report: Report) -> list[str]:
    """Make it, beside the loop, and print it."""
    lines = await asyncio.to_thread(report)
    print("\n".join(lines))
    return lines


async def keep(page: Path, head: str, report: Report) -> None:
    """The same, into its page, below what is said of it."""
    lines = await show(report)
    await asyncio.to_thread(page.write_text, "\n".join([head, *lines]).rstrip() + "\n")

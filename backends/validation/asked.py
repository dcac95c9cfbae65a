"""What is followed by asking a server over HTTP: how it is reached, and with which token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from backends.plan.models import Source
from backends.secrets.resolve import resolve
from backends.validation.followed import Followed
from backends.validation.web import Web


class Asked(Followed):
    """`base` is the folder of the plan, for `${file:…}`."""

    def __init__(
        self,
        source: Source,
        web: Web,
        *,
        base: Path | None = None,
        pinned: Iterable[float] = (),
        clock: Callable[[], float] = time.time,
        wall: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(source, pinned=pinned, clock=clock, wall=wall)
        self._web = web
        self._base = base or Path()

    async def _token(self) -> str | None:
        """Resolved late, and for each question: it may ask a cloud's manager of secrets."""
        token = self.source.token
        return None if token is None else await asyncio.to_thread(resolve, token, base=self._base)

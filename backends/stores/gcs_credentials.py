"""What is shown to Cloud Storage: a bearer token, from the plan, else the usual chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from backends.secrets.oauth import Found, Tokens
from backends.stores.object_client import Params, Request
from backends.stores.plan_secret import of_store

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class GcsSigner:
    """Shows the token of what `find` gives, which is asked on the first request."""

    def __init__(self, find: Callable[[], Awaitable[Tokens]]) -> None:
        self._found = Found(find)

    async def sign(self, request: Request) -> tuple[Mapping[str, str], Params]:
        with of_store():
            token = await (await self._found.get()).get()
        return {**request.headers, "authorization": f"Bearer {token}"}, request.params

    def forget(self) -> bool:
        return self._found.forget()

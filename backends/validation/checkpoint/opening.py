"""A side from what an operator writes: a path, `file://`, `s3://`, `gs://`, `az://` or `ssh://HOST/PATH`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from backends.errors import UsageError
from backends.escape import plain
from backends.validation.checkpoint.side import LocalSide, StoreSide, store_side

if TYPE_CHECKING:
    from backends.plan.models import Plan
    from backends.plan.models import Store as StoreSpec
    from backends.ssh.pool import SshPool


async def open_side(name: str, text: str, *, plan: Plan | None, base: Path, ssh: SshPool | None) -> LocalSide | StoreSide:
    """The checkpoint at `text`; `name` is legacy or target. A URL below a store of the plan takes that store's endpoint and keys.
    Close it: it is an async context manager."""
    if "://" not in text or text.startswith("file://"):
        path = Path(text.removeprefix("file://"))
        if not path.exists():
            raise UsageError(
                f"{name}: there is no {plain(text, 300)}", hint="a file or folder, or s3://, gs://, az://, ssh://HOST/PATH"
            )
        return await asyncio.to_thread(LocalSide, path)
    from backends.stores.open import open_store, parse_url

    parsed = parse_url(name, text)
    trimmed = text.rstrip("/")
    head, _, last = trimmed.rpartition("/")
    if not parsed.path.strip("/"):
        raise UsageError(f"{name}: {plain(text, 300)} names no checkpoint", hint="a file or a folder below it")
    spec = _spec(text, plan.stores if plan is not None else {})
    if parsed.scheme == "az" and parsed.path.strip("/").count("/") < 1:
        head, last = trimmed, ""
    above = open_store(name, spec.model_copy(update={"url": f"{head}/"}), ssh=ssh, base=base)
    below = open_store(name, spec.model_copy(update={"url": f"{trimmed}/"}), ssh=ssh, base=base)
    reach = (ssh, parsed.place, parse_url(name, f"{head}/").path) if parsed.scheme == "ssh" and ssh is not None else None
    if reach is not None:
        reach = (reach[0], reach[1], "/" + reach[2])
    return await store_side(above, last, below, reach)


def _spec(url: str, stores: Mapping[str, StoreSpec]) -> StoreSpec:
    """The plan's store that the URL lies below, the longest first; else a store of its own with the environment's credentials."""
    from backends.plan.models import Store

    fitting = [s for s in stores.values() if url == s.url.rstrip("/") or url.startswith(s.url.rstrip("/") + "/")]
    return max(fitting, key=lambda s: len(s.url), default=Store(url=url))

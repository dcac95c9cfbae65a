"""Trying the way back before it is needed: one object of the target is read and written beside legacy's tree, read back, and taken away."""

from __future__ import annotations

import secrets

from backends.escape import plain
from backends.stores.base import Body, Store
from backends.stores.checksum import crc64nvme
from backends.stores.errors import ChecksumRefused

TRIED = 64 << 10  # bytes of an object that are read at most


async def try_way(source: Store, side: Store) -> str:
    """Write what was read of `source` to `side`, read it back, delete it. Returns what was done. Raises `StoreError`."""
    body, told = await _sample(source)
    key = f"try-{secrets.token_hex(8)}"
    await side.prepare()
    try:
        await side.write(key, body, crc64nvme=crc64nvme(body), if_absent=True)
        back = await side.read(key)
    finally:
        await side.delete(key)
    if bytes(back) != bytes(body):
        raise ChecksumRefused(f"{side.name}: what was read back is not what was written", where=side.url)
    return f"{told}; {len(body)} bytes written, read back and deleted under {plain(side.url, 200)}"


async def try_parts(source: Store, onto: Store) -> str:
    """The same where nothing may be written beside the tree: a part of an upload that is never completed."""
    body, told = await _sample(source)
    key = f"cutover-try-{secrets.token_hex(8)}"
    await onto.prepare()
    upload = await onto.create_upload(key)
    try:
        await onto.write_part(key, upload, 1, 0, body, crc64nvme=crc64nvme(body))
    finally:
        await onto.abort_upload(key, upload)
    return f"{told}; {plain(onto.url, 200)} took {len(body)} bytes of an upload that was ended again"


async def _sample(source: Store) -> tuple[Body, str]:
    """The first bytes of the first object that has any."""
    async for page in source.list_pages():
        for info in page:
            if info.size:
                body = await source.read(info.key, length=min(TRIED, info.size), if_match=info.identity)
                return body, f"{len(body)} bytes read from {source.name}"
    return b"cutover: the way back is tried\n", f"{source.name} listed, and holds nothing yet"

"""Rights on the stores, by doing: a listing, the first bytes of an object; where we shall write, one small object below `.cutover-probe/`, read
back with its checksum and deleted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from backends.errors import CutoverError
from backends.escape import plain
from backends.live.facts import Way
from backends.live.found import Found
from backends.live.scope import uses
from backends.plan.models import Plan
from backends.ssh.pool import SshPool
from backends.stores.base import ObjectInfo, Store
from backends.stores.checksum import crc64nvme
from backends.stores.errors import ChecksumRefused, RootMissing, StoreDenied, StoreError
from backends.stores.open import open_store, parse_url
from backends.stores.ours import PROBES
from backends.stores.s3 import S3Store
from backends.vocabulary import SideName

LIMIT = 40.0
READ = 4096  # bytes of a source's object
_BODY = b"cutover tries whether it may write, read and delete here; it takes this away itself\n"
_TREES = ("file", "ssh")


def paths_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The folders that stores over SSH lie in, by host."""
    out: dict[str, list[str]] = {}
    for name in uses(plan):
        url = parse_url(name, plan.stores[name].url)
        if url.scheme == "ssh":
            out.setdefault(url.place, []).append("/" + url.path.rstrip("/"))
    return {host: tuple(found) for host, found in out.items()}


async def try_store(plan: Plan, name: str, pool: SshPool | None, base: Path) -> list[Found]:
    """What one store does not let us do. Never raises for it."""
    side, writes = uses(plan)[name]
    spec = plan.stores[name]
    is_tree = parse_url(name, spec.url).scheme in _TREES
    try:
        async with asyncio.timeout(LIMIT):
            store = open_store(name, spec, ssh=pool, base=base)
            try:
                found = list(await _try(store, name, side, reads=side == "legacy", writes=writes and not is_tree))
                if isinstance(store, S3Store) and _wants_versions(plan, name):
                    found += await _versions(store, name, side)
                return found
            finally:
                await store.close()
    except TimeoutError:
        return [
            _of(name, side, "store_silent", "does not answer", f"nothing within {LIMIT:.0f} s", "network, firewall, endpoint")
        ]
    except CutoverError as error:
        return [_failed(name, side, "is not reached", error)]


async def _try(store: Store, name: str, side: SideName | None, *, reads: bool, writes: bool) -> list[Found]:
    out: list[Found] = []
    first: ObjectInfo | None = None
    try:
        async for page in store.list_pages():
            first = next((info for info in page if info.size), None)
            break
    except RootMissing as error:
        return [] if side != "legacy" else [_failed(name, side, "has no such folder", error)]
    except StoreError as error:
        out.append(_failed(name, side, "does not let us list", error))
    if reads and first is not None:
        try:
            await store.read(first.key, length=min(READ, first.size), if_match=first.identity)
        except StoreDenied as error:
            out.append(_failed(name, side, f"lists, and does not let us read: {plain(first.key, 100)}", error))
    if writes:
        out += await _write(store, name, side)
    return out


def _wants_versions(plan: Plan, name: str) -> bool:
    """Does a backup rest on the versions that this store keeps?"""
    return any(d.from_ == name and b.dataset == d.name and b.kind == "versioned" for d in plan.datasets for b in plan.backups)


async def _versions(store: S3Store, name: str, side: SideName | None) -> list[Found]:
    try:
        kept = await store.control.versioning()
    except StoreError as error:
        return [_failed(name, side, "does not tell whether it keeps versions", error)]
    if kept == "Enabled":
        return []
    evidence = f"versions of the bucket are {kept.lower() or 'off'}"
    cure = "turn versions on for the bucket, or take kind: snapshot, with `to`"
    return [_of(name, side, "no_versions", "keeps no versions, and a backup rests on them", evidence, cure)]


async def _write(store: Store, name: str, side: SideName | None) -> list[Found]:
    key = f"{PROBES}check-{secrets.token_hex(8)}"
    try:
        await store.write(key, _BODY, crc64nvme=crc64nvme(_BODY), if_absent=store.capabilities.conditional_write)
    except StoreError as error:
        return [_failed(name, side, "does not let us write", error)]
    out = []
    try:
        back = await store.read(key)
        if bytes(back) != _BODY:
            raise ChecksumRefused(f"{name}: what was read back is not what was written")
    except StoreError as error:
        out.append(_failed(name, side, "does not give back what was written", error))
    finally:  # also where the look is broken off
        try:
            await store.delete(key)
        except StoreError as error:
            out.append(_failed(name, side, f"does not let us delete: {key} is left there", error))
    return out


def judge_ways(plan: Plan, host: str, ways: Mapping[str, Way]) -> Iterator[Found]:
    """Trees over SSH, by the rights and the room that the host itself tells: nothing is written there."""
    for name in uses(plan):
        url = parse_url(name, plan.stores[name].url)
        way = ways.get("/" + url.path.rstrip("/"))
        if url.scheme == "ssh" and url.place == host and way is not None:
            yield from _judge_tree(
                plan, name, way, f"the SSH user may not write to {way.asked}", "rights of the folder, or another user"
            )


def judge_local(plan: Plan, ways: Mapping[str, Way]) -> Iterator[Found]:
    """Trees of this machine; `ways` by the store's name."""
    for name, way in ways.items():
        yield from _judge_tree(plan, name, way, f"we may not write to {way.asked}", "rights of the folder")


def _judge_tree(plan: Plan, name: str, way: Way, evidence: str, cure: str) -> Iterator[Found]:
    side, writes = uses(plan)[name]
    if writes and not way.may_write:
        yield _of(name, side, "store_write", "does not let us write", evidence, cure)
    need = sum(d.size or 0 for d in plan.datasets if d.to == name)
    if not need or way.free is None or way.total is None or way.free >= need:
        return
    told = f"{_gb(way.free)} of {_gb(way.total)} are free under {way.asked}, the datasets take {_gb(need)}"
    cure = "a larger file system, or fewer datasets there"
    if way.total < need or not way.is_there:
        yield _of(name, side, "store_room", "has too little room for what it is to hold", told, cure)
    else:  # some of it may be there already
        found = _of(name, side, "store_room", "has room for it only if part of it is there already", told, cure)
        yield replace(found, severity="warning")


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


def _failed(name: str, side: SideName | None, message: str, error: CutoverError) -> Found:
    return _of(name, side, error.code, message, plain(error.message, 300), error.hint or "rights, keys and name of the store")


def _of(name: str, side: SideName | None, code: str, message: str, evidence: str, cure: str) -> Found:
    return Found("error", code, f"store {name} {message}", evidence, cure, ("stores", name), side)

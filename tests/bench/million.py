"""A second round over very many unchanged keys, and one after some of them changed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import obstore

from tests.bench.contenders import rclone, sync_command, told
from tests.bench.contents import Blob, Held, WrongCopy, compare, fill_s3, read_s3
from tests.bench.loader import load_tiny
from tests.bench.outcome import Outcome, Run, Verdict
from tests.bench.processes import Cost, cost_of
from tests.bench.race import empty_folder
from tests.bench.servers import S3Place
from tests.bench.setting import Setting

BODY = b"tiny object of the benchmark\n"
CHANGED = 256 << 10  # bytes of a changed object
SAMPLE = 2000  # objects whose contents are read; of the others key and size are compared
PAUSE = 3.0


class Seen(NamedTuple):
    size: int
    etag: str | None
    modified: datetime


async def million(setting: Setting) -> list[Outcome]:
    """1,000,000 unchanged keys, second round."""
    keys = setting.sizes.keys
    outcome = Outcome("million", f"{keys:,} unchanged keys, second round", setting.server)
    setting.tell(outcome.title)
    async with _synced(setting) as (source, target, scratch):
        before = await _seen(target)
        ours = sync_command(scratch, {"old": source, "new": target}, transfer=setting.transfer)
        peers = {}
        if setting.wants("rclone"):
            fast = ("--checkers", "32", "--transfers", "32", "--fast-list")
            for contender in (
                rclone("size-only", "--size-only", *fast),
                rclone("server-modtime", "--update", "--use-server-modtime", *fast),
            ):
                peers[contender.name] = contender.command(source, target, scratch)
        for name, command in peers.items():
            outcome.tried.append(_run(setting, name, await cost_of(command)))
        if peers:
            best = min(outcome.tried, key=lambda run: run.wall).contender
            peers = {best: peers[best]}
        for _ in range(setting.runs):
            for name, command in {"cutover": ours, **peers}.items():
                cost = await cost_of(command)
                outcome.runs.append(_run(setting, name, cost))
                if name == "cutover" and (told(cost.out)["copied"], told(cost.out)["unchanged"]) != (0, keys):
                    raise WrongCopy(f"the second round says {told(cost.out)}")
        if await _seen(target) != before:
            raise WrongCopy("a second round over unchanged keys changed the target")
    for name in peers:
        ratio = outcome.median("cutover", "wall") / outcome.median(name, "wall")
        outcome.verdicts.append(Verdict(f"wall against {name}", ratio, 0.6))
    outcome.verdicts.append(Verdict("RSS", outcome.median("cutover", "rss") / 1e6, 300, unit="MB"))
    outcome.notes.append(
        "s5cmd is not among the peers: one command of it knows one endpoint, and sync cannot go by way of a folder"
    )
    return [outcome]


async def million_changed(setting: Setting) -> list[Outcome]:
    """A second round after 100 of 1,000,000 keys changed."""
    keys, some = setting.sizes.keys, setting.sizes.changed
    outcome = Outcome("million-changed", f"{some} of {keys:,} keys changed, second round", setting.server)
    setting.tell(outcome.title)
    async with _synced(setting) as (source, target, scratch):
        command = sync_command(scratch, {"old": source, "new": target}, transfer=setting.transfer)
        sent: list[int] = []
        for turn in range(setting.runs):
            changed = random.Random(turn).sample(_keys(keys), some)
            before = await _seen(target)
            expected = await fill_s3(source.store(), [Blob(key, CHANGED, turn * 1000 + i) for i, key in enumerate(changed)])
            cost = await cost_of(command)
            outcome.runs.append(_run(setting, "cutover", cost))
            after = await _seen(target)
            rewritten = {key for key in after if after[key] != before.get(key)}
            compare({k: Held(0, 0) for k in changed}, {k: Held(0, 0) for k in rewritten}, "what the round wrote")
            compare(expected, await read_s3(target.store(), frozenset(changed)), "the changed keys")
            sent.append(int(str(told(cost.out)["bytes"])))
        most = max(sent, key=lambda s: abs(s / (some * CHANGED) - 1))
    off = abs(most / (some * CHANGED) - 1) * 100
    outcome.verdicts.append(Verdict(f"bytes sent ({most:,}) off what changed ({some * CHANGED:,})", off, 1.0, unit="%"))
    outcome.notes.append("the target's listing before and after shows that nothing else was written")
    return [outcome]


def _keys(count: int) -> list[str]:
    return [f"part-{i // 1000:04}/shard-{i:08}.bin" for i in range(count)]


@contextlib.asynccontextmanager
async def _synced(setting: Setting) -> AsyncIterator[tuple[S3Place, S3Place, Path]]:
    """Source and target with the same keys, copied by a first round of ours, whose state is in the folder."""
    keys = _keys(setting.sizes.keys)
    async with (
        setting.bucket(setting.a) as source,
        setting.bucket(setting.b, "new") as target,
        empty_folder(setting.folder) as scratch,
    ):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await load_tiny(source, keys, BODY)
        setting.tell(f"  {len(keys):,} objects put in {loop.time() - began:.0f} s")
        await asyncio.sleep(PAUSE)  # times of change are whole seconds: what was just written is looked at again
        cost = await cost_of(sync_command(scratch, {"old": source, "new": target}, transfer=setting.transfer))
        setting.tell(f"  the first round took {cost.wall:.0f} s, {cost.cpu:.0f} CPU s, {cost.rss / 1e6:.0f} MB")
        found = await _seen(target)
        if found.keys() != set(keys) or {seen.size for seen in found.values()} != {len(BODY)}:
            raise WrongCopy(f"the first round left {len(found)} of {len(keys)} keys on the target")
        sample = frozenset(random.Random(0).sample(keys, min(SAMPLE, len(keys))))
        compare(await read_s3(source.store(), sample), await read_s3(target.store(), sample), "a sample of the first round")
        yield source, target, scratch


async def _seen(place: S3Place) -> dict[str, Seen]:
    found = {}
    async for page in obstore.list(place.store(), chunk_size=1000):
        for info in page:
            found[info["path"]] = Seen(info["size"], info["e_tag"], info["last_modified"])
    return found


def _run(setting: Setting, name: str, cost: Cost) -> Run:
    run = Run(name, cost.wall, cost.cpu, cost.rss)
    setting.tell(f"  {run.contender:<34} {run.wall:8.2f} s  {run.cpu:8.2f} CPU s  {run.rss / 1e6:7.0f} MB")
    return run

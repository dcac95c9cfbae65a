"""kill -9 at random moments of a run, then the same command again: what was lost, and what went twice?

What had arrived at the kill is asked of the target by its own API (botocore, obstore), and the proxy in front of it counts what
the two runs sent, against what an undisturbed run sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import obstore

from tests.bench.contenders import sync_command, told
from tests.bench.contents import Blob, compare, small_blobs
from tests.bench.outcome import Outcome, Run, Verdict
from tests.bench.processes import Cost, cost_of, measure
from tests.bench.race import emptied, empty_folder
from tests.bench.servers import Missing, S3Place
from tests.bench.setting import Setting
from tests.peers.delay_proxy import DelayProxy, delay_proxy

PARALLEL = 10
PART = 8 << 20
SMALL, LARGE = 400, 128 << 20
SLACK = 1 << 20  # bytes of headers and listings by which two runs may differ from one


async def kill(setting: Setting) -> list[Outcome]:
    """kill -9 at 20 random moments of a run: nothing lost, and how much goes twice."""
    blobs = [*small_blobs(SMALL), Blob("part-010/large.bin", LARGE, 1)]
    title = f"kill -9 at {setting.sizes.kills} random moments of copying {SMALL:,} small objects and one of {LARGE >> 20} MiB"
    outcome = Outcome("kill", title, setting.server)
    setting.tell(title)
    async with (
        setting.bucket(setting.a) as source,
        delay_proxy(setting.b.address, setting.folder) as proxy,
    ):
        await _lists_uploads(setting)
        expected = await source.fill(blobs)
        total = sum(held.size for held in expected.values())
        usual = [await _undisturbed(setting, outcome, source, proxy) for _ in range(2)]
        wall, sent = min(w for w, _ in usual), min(s for _, s in usual)
        twice: list[int] = []
        on_the_wire: list[int] = []
        for trial in range(setting.sizes.kills * 2):
            if len(twice) == setting.sizes.kills:
                break
            target = setting.new_bucket(setting.b)
            async with emptied(target), empty_folder(setting.memory) as folder:
                seen = replace(target, endpoint=target.endpoint.behind(proxy.port))
                command = sync_command(folder, {"old": source, "new": seen}, transfer=f"{{parallel: {PARALLEL}}}")
                before = (await proxy.settled())[0]
                moment = random.Random(trial).uniform(0, wall)
                first = await asyncio.to_thread(measure, command, watch=kill_after(moment))
                arrived = await _arrived(target)
                second = await cost_of(command)
                report = told(second.out)
                compare(expected, await target.contents(), f"after the kill at {moment:.2f} s")
                if uploads := await asyncio.to_thread(open_uploads, target):
                    raise AssertionError(f"uploads are left open: {uploads}")
                again = max(0, int(str(report["bytes"])) - (total - arrived))
                wire = max(0, (await proxy.settled())[0] - before - sent)
            if first.code == 0:
                continue  # it had ended already
            outcome.runs += [_run("killed", first), _run("resumed", second)]
            twice.append(again)
            on_the_wire.append(wire)
            setting.tell(
                f"  killed after {moment:5.2f} s: {arrived:12,} bytes had arrived, {again:11,} sent again, {wire:11,} by the proxy"
            )
    if not twice:
        outcome.notes.append("every run had ended before its moment came: nothing was killed")
        return [outcome]
    bar = PARALLEL * PART
    outcome.verdicts += [
        Verdict("most bytes sent again of what had arrived", max(twice), bar, unit="bytes"),
        Verdict("most bytes beyond an undisturbed run's, by the proxy", max(on_the_wire), bar + SLACK, unit="bytes"),
    ]
    outcome.notes.append(f"after each the contents are the source's, and no upload is open; {total:,} bytes in all")
    return [outcome]


def kill_after(seconds: float) -> Callable[[subprocess.Popen[bytes]], None]:
    def watch(process: subprocess.Popen[bytes]) -> None:
        time.sleep(seconds)  # in the thread that measures
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)

    return watch


async def _undisturbed(setting: Setting, outcome: Outcome, source: S3Place, proxy: DelayProxy) -> tuple[float, int]:
    """(seconds, bytes to the target) of a run that nobody kills."""
    target = setting.new_bucket(setting.b)
    async with emptied(target), empty_folder(setting.memory) as folder:
        seen = replace(target, endpoint=target.endpoint.behind(proxy.port))
        before = (await proxy.settled())[0]
        cost = await cost_of(sync_command(folder, {"old": source, "new": seen}, transfer=f"{{parallel: {PARALLEL}}}"))
        outcome.runs.append(_run("undisturbed", cost))
        return cost.wall, (await proxy.settled())[0] - before


def _run(name: str, cost: Cost) -> Run:
    return Run(name, cost.wall, cost.cpu, cost.rss)


async def _arrived(target: S3Place) -> int:
    """Bytes that the target holds: whole objects and parts of open uploads."""
    size = 0
    async for page in obstore.list(target.store(), chunk_size=1000):
        size += sum(info["size"] for info in page)
    return size + sum([part for parts in (await asyncio.to_thread(open_uploads, target)).values() for part in parts])


def open_uploads(target: S3Place) -> dict[str, list[int]]:
    """The sizes of the parts that arrived, by upload id."""
    client, found = target.buckets(), {}
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=target.bucket):
        for upload in page.get("Uploads", []):
            ask = partial(client.get_paginator("list_parts").paginate, Bucket=target.bucket)
            pages = ask(Key=upload["Key"], UploadId=upload["UploadId"])
            found[upload["UploadId"]] = [part["Size"] for parts in pages for part in parts.get("Parts", [])]
    return found


async def _lists_uploads(setting: Setting) -> None:
    """Raises `Missing` where the target's server does not tell of open uploads: nothing can be judged there."""
    async with setting.bucket(setting.b, "probe") as place:
        client = place.buckets()
        created = await asyncio.to_thread(client.create_multipart_upload, Bucket=place.bucket, Key="x")
        told_of = await asyncio.to_thread(open_uploads, place)
        await asyncio.to_thread(client.abort_multipart_upload, Bucket=place.bucket, Key="x", UploadId=created["UploadId"])
    if created["UploadId"] not in told_of:
        raise Missing(f"{setting.b.server} does not list open uploads")

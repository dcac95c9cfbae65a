"""Faults as they are met from outside, each in a sandbox of its own."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import asyncssh
import pytest

from tests.backends.sandbox.conftest import Running, eventually, sandbox


def get(url: str) -> Any:
    async def ask() -> Any:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.json()

    return asyncio.run(ask())


def set_weight(running: Running, weight: int) -> None:
    async def put() -> None:
        url = f"{running.ready['admin']}/weight"
        async with aiohttp.ClientSession() as session, session.put(url, json={"weight": weight}) as answer:
            assert answer.status == 200

    asyncio.run(put())


def clients(running: Running) -> dict[str, Any]:
    figures: dict[str, Any] = get(f"{running.ready['admin']}/clients")
    return figures


def test_an_error_burst_is_seen_by_the_targets_clients_alone(tmp_path: Path) -> None:
    with sandbox(tmp_path / "dir", "error-burst") as running:
        set_weight(running, 5)
        eventually(lambda: clients(running)["by_side"]["target"] > 5)
        assert clients(running)["errors"] == 0
        set_weight(running, 25)
        eventually(lambda: clients(running)["errors"] > 3)
        log = (running.root / "hosts" / "leg-a1" / "chat" / "requests.jsonl").read_text()
        assert '"error":1' not in log
        eventually(lambda: '"error":1' in (running.root / "hosts" / "tgt-b1" / "chat" / "requests.jsonl").read_text())


def test_one_object_is_damaged_once_on_its_way_and_its_checksum_is_the_stores(tmp_path: Path) -> None:
    async def body(session: aiohttp.ClientSession, url: str) -> tuple[bytes, str]:
        async with session.get(url, headers={"x-amz-checksum-mode": "ENABLED"}) as answer:
            return await answer.read(), answer.headers["x-amz-checksum-crc64nvme"]

    async def look(base: str) -> list[tuple[bytes, str]]:
        async with aiohttp.ClientSession() as session:
            names = ("shard-00136.bin", "shard-00137.bin", "shard-00137.bin", "shard-00136.bin")
            return [await body(session, f"{base}/v3/shards/{name}") for name in names]

    with sandbox(tmp_path / "dir", "corrupt-object") as running:
        s3 = running.ready["legacy"]["s3"]
        other, damaged, whole, other_again = asyncio.run(look(f"{s3['endpoint']}/{s3['bucket']}"))
        assert other == other_again
        assert damaged[1] == whole[1]
        differing = [i for i, (a, b) in enumerate(zip(damaged[0], whole[0], strict=True)) if a != b]
        assert len(differing) == 1
        assert running.played()[-1]["damaged"] == "v3/shards/shard-00137.bin"


def test_telemetry_stops_while_the_target_serves_on(tmp_path: Path) -> None:
    with sandbox(tmp_path / "dir", "telemetry-gone") as running:
        set_weight(running, 25)
        eventually(lambda: len(running.played()) == 1)
        logs = [running.root / "hosts" / p for p in ("tgt-b1/chat/requests.jsonl", "tgt-b2/train/metrics.jsonl")]
        legacy = running.root / "hosts" / "leg-a2" / "train" / "metrics.jsonl"
        was = clients(running)["by_side"]["target"]
        eventually(lambda: clients(running)["by_side"]["target"] > was + 20)  # what was buffered is flushed by now
        sizes, lines = [log.stat().st_size for log in logs], legacy.stat().st_size
        eventually(lambda: legacy.stat().st_size > lines)
        assert [log.stat().st_size for log in logs] == sizes
        assert clients(running)["errors"] == 0


def test_a_dead_legacy_refuses_chat_and_ssh_and_no_client_of_the_target_notices(tmp_path: Path) -> None:
    def refuses(port: int) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) != 0

    async def cut() -> int | None:
        ready = running.ready
        async with asyncssh.connect(
            "leg-a1", config=[ready["ssh_config"]], known_hosts=ready["known_hosts"], agent_path=None
        ) as connection:
            set_at = asyncio.to_thread(set_weight, running, 100)
            result, _ = await asyncio.gather(connection.run("nvidia-smi -L -l 1"), set_at)
            return result.exit_status

    with sandbox(tmp_path / "dir", "legacy-dies") as running:
        legacy = running.ready["legacy"]
        try:
            status = asyncio.run(cut())
        except asyncssh.Error:
            status = None
        assert status is None
        ports = [host["port"] for host in legacy["hosts"].values()] + [urlsplit(legacy["chat"]).port]
        assert all(refuses(port) for port in ports)
        assert clients(running)["errors"] == 0
        assert get(running.ready["front_door"])["side"] == "target"


@pytest.mark.slow
def test_after_legacys_death_the_target_begins_to_fail(tmp_path: Path) -> None:
    with sandbox(tmp_path / "dir", "legacy-dies") as running:
        set_weight(running, 100)
        eventually(lambda: clients(running)["errors"] > 3)
        assert [sorted(line["do"]) for line in running.played()] == [["kill"], ["errors"]]

"""The sandbox as a whole, as its users meet it: over SSH, SFTP, S3 and HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
import psutil
import pytest

from backends.plan.load import check_plan
from tests.backends.sandbox.conftest import Running, eventually, sandbox

HOSTS = ("leg-a1", "leg-a2", "tgt-b1", "tgt-b2")


def connect(clean: Running, host: str) -> Any:
    ready = clean.ready
    return asyncssh.connect(host, config=[ready["ssh_config"]], known_hosts=ready["known_hosts"], agent_path=None)


async def ask(url: str, **more: Any) -> tuple[int, Any]:
    method = "PUT" if more else "GET"
    async with aiohttp.ClientSession() as session, session.request(method, url, **more) as answer:
        return answer.status, await answer.json()


def test_the_ready_line_names_the_plan_both_sides_and_the_front_door(clean: Running) -> None:
    ready = clean.ready
    assert ready["ready"] is True
    assert Path(ready["plan"]).is_file()
    assert set(ready["legacy"]["hosts"]) == {"leg-a1", "leg-a2"}
    assert set(ready["target"]["hosts"]) == {"tgt-b1", "tgt-b2"}
    assert ready["front_door"].startswith("http://127.0.0.1:")


def test_its_plan_has_no_error_and_says_that_it_is_a_simulation(clean: Running) -> None:
    checked = check_plan(Path(clean.ready["plan"]))
    assert [p for p in checked.problems if p.severity == "error"] == []
    assert checked.plan is not None
    assert checked.plan.simulation is True
    assert {p.code for p in checked.problems} <= {"short_window"}


async def test_the_front_door_answers_200_and_names_the_side(clean: Running) -> None:
    status, body = await ask(clean.ready["front_door"])
    assert (status, body["side"]) == (200, "legacy")


async def test_each_side_can_be_asked_directly(clean: Running) -> None:
    for side in ("legacy", "target"):
        status, body = await ask(clean.ready[side]["chat"] + "healthz")
        assert (status, body["side"]) == (200, side)


@pytest.mark.parametrize("host", HOSTS)
async def test_every_host_answers_over_ssh_with_its_own_key(clean: Running, host: str) -> None:
    async with connect(clean, host) as connection:
        name = await connection.run("hostname")
        gpus = await connection.run(
            "nvidia-smi --query-gpu=index,utilization.gpu,memory.used,power.draw,temperature.gpu --format=csv,noheader,nounits"
        )
    assert name.stdout == f"{host}\n"
    rows = [[float(cell) for cell in line.split(",")] for line in str(gpus.stdout).splitlines()]
    assert [row[0] for row in rows] == [0, 1, 2, 3]
    assert all(0 <= used <= 100 and memory > 1000 and power > 40 and 20 < hot < 90 for _, used, memory, power, hot in rows)


async def test_a_host_key_of_another_is_refused(clean: Running, tmp_path: Path) -> None:
    lines = Path(clean.ready["known_hosts"]).read_text().splitlines()
    keys = [line.split(" ", 1) for line in lines]
    swapped = "".join(f"{keys[i][0]} {keys[i - 1][1]}\n" for i in range(len(keys)))
    known = tmp_path / "known_hosts"
    known.write_text(swapped)
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await asyncssh.connect("leg-a1", config=[clean.ready["ssh_config"]], known_hosts=str(known), agent_path=None)


async def test_only_its_own_key_gets_in(clean: Running) -> None:
    port = clean.ready["legacy"]["hosts"]["leg-a1"]["port"]
    known = clean.ready["known_hosts"]
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1",
            port,
            username="ops",
            client_keys=[stranger],
            password="ops",
            known_hosts=known,
            config=None,
            agent_path=None,
        )


async def test_unknown_commands_are_not_found_and_nothing_is_run(clean: Running, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    async with connect(clean, "leg-a1") as connection:
        unknown = await connection.run("rm -rf /")
        tricky = await connection.run(f"true; touch {witness}")
        unclosed = await connection.run("echo 'open")
    assert (unknown.exit_status, tricky.exit_status, unclosed.exit_status) == (127, 127, 2)
    assert not witness.exists()


async def test_a_loop_of_nvidia_smi_streams_until_its_channel_ends(clean: Running) -> None:
    async with connect(clean, "tgt-b2") as connection:
        command = "nvidia-smi --query-gpu=index,utilization.gpu --format=csv,noheader -lms 50"
        async with connection.create_process(command) as process:
            lines = [await asyncio.wait_for(process.stdout.readline(), 20) for _ in range(12)]
        assert [line.split(",")[0] for line in lines] == ["0", "1", "2", "3"] * 3
        still = await connection.run("true")
    assert still.exit_status == 0


async def test_sftp_reads_the_hosts_files_and_never_leaves_its_folder(clean: Running, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("outside")
    link = clean.root / "hosts" / "leg-a2" / "way-out"
    link.symlink_to(tmp_path)
    async with connect(clean, "leg-a2") as connection, connection.start_sftp_client() as sftp:
        assert "metrics.jsonl" in await sftp.listdir("/train")
        for path in ("/way-out/secret", "/../../keys/leg-a2", "../../../../../etc/passwd"):
            with pytest.raises(asyncssh.SFTPError):
                await sftp.get(path, str(tmp_path / "stolen"))
        for path in ("/way-out/planted", "/train/../way-out/planted"):
            with pytest.raises(asyncssh.SFTPError):
                async with sftp.open(path, "w") as file:
                    await file.write("x")
        cat = await connection.run("cat /way-out/secret")
    link.unlink()
    assert cat.exit_status == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret"]


async def test_legacys_corpus_is_there_with_full_object_checksums(clean: Running) -> None:
    s3 = clean.ready["legacy"]["s3"]
    async with aiohttp.ClientSession() as session:
        url = f"{s3['endpoint']}/{s3['bucket']}"
        async with session.get(f"{url}?list-type=2&max-keys=1000") as answer:
            listing = await answer.text()
        key = f"{url}/v3/shards/shard-00007.bin"
        async with session.head(key, headers={"x-amz-checksum-mode": "ENABLED"}) as answer:
            headers = answer.headers
    assert listing.count("<Key>") == 400
    assert headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert headers["x-amz-checksum-crc64nvme"]


async def test_twenty_weight_changes_cost_no_client_an_error_and_the_last_one_holds(clean: Running) -> None:
    admin = clean.ready["admin"]
    for weight in (5, 25, 50, 100, 0) * 4:
        assert await ask(f"{admin}/weight", json={"weight": weight}) == (200, {"weight": weight})
        await asyncio.sleep(0.1)  # some clients at each weight
    await ask(f"{admin}/weight", json={"weight": 25})
    sides = [(await ask(clean.ready["front_door"]))[1]["side"] for _ in range(3)]
    assert set(sides) <= {"legacy", "target"}

    async def share() -> float:
        return float((await ask(f"{admin}/clients"))[1]["target_share"])

    deadline = time.monotonic() + 40
    while not 0.23 <= await share() <= 0.27:
        assert time.monotonic() < deadline, "the clients do not follow the weight"
        await asyncio.sleep(0.2)
    figures = (await ask(f"{admin}/clients"))[1]
    assert figures["errors"] == 0
    assert figures["requests"] > 100
    assert json.loads((clean.root / "front-door.json").read_text()) == {"weight": 25}
    await ask(f"{admin}/weight", json={"weight": 0})


@pytest.mark.parametrize("body", [{"weight": 101}, {"weight": -1}, {"weight": "25"}, {"weight": True}, {"wait": 5}, []])
async def test_a_weight_that_is_none_is_refused(clean: Running, body: object) -> None:
    status, _ = await ask(f"{clean.ready['admin']}/weight", json=body)
    assert status == 400


async def test_a_weight_may_be_set_only_if_it_is_still_what_was_expected(clean: Running) -> None:
    url = f"{clean.ready['admin']}/weight"
    before = (await ask(url))[1]["weight"]
    status, found = await ask(url, json={"weight": 50, "expected": before + 7})
    assert (status, found["weight"]) == (409, before)
    assert (await ask(url))[1]["weight"] == before


async def test_both_sides_train_within_a_thousandth_and_only_legacy_writes_checkpoints(clean: Running) -> None:
    def metrics(host: str) -> dict[int, dict[str, float]]:
        text = (clean.root / "hosts" / host / "train" / "metrics.jsonl").read_text()
        whole = text[: text.rfind("\n") + 1].splitlines()
        return {row["epoch"]: row for row in map(json.loads, whole)}

    await asyncio.to_thread(eventually, lambda: 4 in metrics("leg-a2") and 4 in metrics("tgt-b2"))
    legacy, target = metrics("leg-a2"), metrics("tgt-b2")
    for epoch in range(1, 5):
        assert abs(target[epoch]["loss"] / legacy[epoch]["loss"] - 1) < 0.001
        assert abs(target[epoch]["step_time"] / legacy[epoch]["step_time"] - 1) < 0.01
    assert list((clean.root / "hosts" / "leg-a2" / "ckpt").iterdir())
    assert not list((clean.root / "hosts" / "tgt-b2" / "ckpt").iterdir())


async def test_the_writer_is_handed_over_by_trainctl_and_goes_on_at_the_newest_checkpoint(clean: Running) -> None:
    ours, theirs = (clean.root / "hosts" / h / "ckpt" for h in ("leg-a2", "tgt-b2"))
    async with connect(clean, "leg-a2") as legacy, connect(clean, "tgt-b2") as target:
        assert (await legacy.run("trainctl status")).exit_status == 0
        assert (await target.run("trainctl status")).exit_status == 3
        stopped = await legacy.run("trainctl stop")
        assert stopped.stdout == (await legacy.run("trainctl stop")).stdout
        assert (await legacy.run("trainctl status")).stdout == "quiesced\n"
        newest = max(p.name for p in ours.iterdir())
        (theirs / newest).mkdir()
        assert (await target.run("trainctl start")).exit_status == 0
        await asyncio.to_thread(eventually, lambda: len(list(theirs.iterdir())) > 1)
        assert sorted(p.name for p in theirs.iterdir())[1] == f"step-{int(newest[5:]) + 120:06d}"
        assert newest == max(p.name for p in ours.iterdir())
        assert (await target.run("trainctl stop")).exit_status == 0
        assert (await legacy.run("trainctl start")).exit_status == 0


async def test_nothing_listens_beyond_loopback(clean: Running) -> None:
    process = psutil.Process(clean.pid)
    parts = [process, *process.children(recursive=True)]
    listening = [c.laddr for p in parts for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(parts) == 3
    assert len(listening) == 13
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_the_queue_program_keeps_its_weight(clean: Running) -> None:
    queue = [sys.executable, "-m", "backends.sandbox.queue", str(clean.root)]

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([*queue, *words], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    assert run("get") == (0, "0\n")
    assert run("set", "100") == (0, "")
    assert run("get") == (0, "100\n")
    assert run("set", "101")[0] == 2
    assert run("set", "many")[0] == 2
    assert run("set", "0") == (0, "")


def test_a_killed_sandbox_leaves_no_children_and_goes_on_where_it_was(tmp_path: Path) -> None:
    root = tmp_path / "dir"
    with sandbox(root) as first:
        children = psutil.Process(first.pid).children(recursive=True)
        put = aiohttp_put(f"{first.ready['admin']}/weight", {"weight": 50})
        assert put == {"weight": 50}
        os.kill(first.pid, signal.SIGKILL)
        psutil.wait_procs(children, timeout=20)
        assert [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE] == []
    with sandbox(root) as second:
        assert aiohttp_get(f"{second.ready['admin']}/weight") == {"weight": 50}
        assert second.ready["legacy"] == first.ready["legacy"]


def aiohttp_put(url: str, body: object) -> Any:
    return asyncio.run(ask(url, json=body))[1]


def aiohttp_get(url: str) -> Any:
    return asyncio.run(ask(url))[1]

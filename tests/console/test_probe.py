"""`cutover probe` as people and scripts call it, over a real sshd."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.nvidia_smi import FakeSmi, row
from tests.peers.openssh import OpenSsh
from tests.peers.process import free_ports

PROGRAM = [sys.executable, "-c", "from console.main import main; main()", "probe"]


@dataclass
class Ended:
    code: int
    out: str
    err: str


async def start(*argv: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )


async def probe(*argv: str) -> Ended:
    process = await start(*argv)
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


def ssh_of(sshd: OpenSsh) -> list[str]:
    return ["-F", str(sshd.config), "--known-hosts", str(sshd.known_hosts)]


def write_plan(folder: Path, sshd: OpenSsh, more: str = "") -> Path:
    path = folder / "plan.yaml"
    path.write_text(
        "version: 1\nname: move\n"
        f"legacy: {{provider: old, hosts: [{{name: leg-1, address: 127.0.0.1, port: {sshd.port}, user: {sshd.user}}}]}}\n"
        f"target: {{provider: new, hosts: [{{name: tgt-1, address: 127.0.0.1, port: {free_ports(1)[0]}}}]}}\n"
        f"ssh: {{config: {sshd.config}, known_hosts: {sshd.known_hosts}}}\n" + more
    )
    return path


async def test_hosts_named_are_asked_and_all_well_is_0(sshd: OpenSsh, smi: FakeSmi) -> None:
    smi.say(row(0, "12"), row(1, "[N/A]"))
    name = f"{sshd.user}@127.0.0.1:{sshd.port}"
    ended = await probe(name, "--json", *ssh_of(sshd))
    assert (ended.code, ended.err) == (0, "")
    (host,) = json.loads(ended.out)["hosts"]
    assert (host["name"], host["side"], host["ok"], host["error"]) == (name, None, True, None)
    assert (host["driver"], host["cuda"]) == ("590.48.01", "13.1")
    first, second = host["gpus"]
    assert {
        "index": 0,
        "uuid": "GPU-00000000",
        "name": "NVIDIA H100 80GB HBM3",
        "utilization": 0.12,
        "memory_used": 59 << 20,
        "memory_total": 81559 << 20,
        "power_w": 98.5,
        "temperature_c": 42.0,
    }.items() <= first.items()
    assert second["utilization"] is None


async def test_a_plans_hosts_have_sides_and_one_that_is_not_there_is_1(sshd: OpenSsh, tmp_path: Path) -> None:
    ended = await probe(str(write_plan(tmp_path, sshd)), "--json")
    assert ended.code == 1
    here, gone = json.loads(ended.out)["hosts"]
    assert (here["name"], here["side"], here["ok"], len(here["gpus"])) == ("leg-1", "legacy", True, 2)
    assert (gone["name"], gone["side"], gone["ok"], gone["gpus"]) == ("tgt-1", "target", False, [])
    assert "refused" in gone["error"]


async def test_people_get_a_table_without_zeros_for_nothing(sshd: OpenSsh, smi: FakeSmi, tmp_path: Path) -> None:
    smi.say(row(0, "[N/A]", name="GPU \x1b[31m[bold]odd[/bold]", power="ERR!"))
    ended = await probe(str(write_plan(tmp_path, sshd)))
    assert "\x1b" not in ended.out
    line = next(line for line in ended.out.splitlines() if "leg-1" in line)
    assert "0 GPU \\x1b[31m[bold]odd[/bold]" in line
    assert "42 °C" in line
    assert "0%" not in line
    assert "refused" in next(line for line in ended.out.splitlines() if "tgt-1" in line)


async def test_an_unknown_host_key_is_not_ok_and_says_which_file(sshd: OpenSsh, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    ended = await probe(f"127.0.0.1:{sshd.port}", "--json", "-F", str(sshd.config), "--known-hosts", str(empty))
    assert ended.code == 1
    assert str(empty) in json.loads(ended.out)["hosts"][0]["error"]


async def test_a_new_key_is_accepted_when_asked_for_and_its_fingerprint_shown(
    sshd: OpenSsh, smi: FakeSmi, tmp_path: Path
) -> None:
    smi.say(row(0))
    at, known = f"{sshd.user}@127.0.0.1:{sshd.port}", tmp_path / "new_hosts"
    argv = ["-F", str(sshd.config), "--known-hosts", str(known), "--accept-new", at, "--json", at]
    ended = await probe(*argv)
    assert ended.code == 0, ended.err
    assert "new key ssh-ed25519 SHA256:" in ended.err
    assert json.loads(ended.out)["hosts"][0]["ok"]
    assert "known already" in (await probe(*argv)).err
    assert len(known.read_text().splitlines()) == 1


async def test_a_changed_key_is_not_accepted_and_is_4(sshd: OpenSsh, tmp_path: Path) -> None:
    at, known = f"{sshd.user}@127.0.0.1:{sshd.port}", tmp_path / "old_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'id_ed25519.pub').read_text()}")
    ended = await probe("-F", str(sshd.config), "--known-hosts", str(known), "--accept-new", at, at)
    assert ended.code == 4
    assert "CHANGED" in ended.err
    assert len(known.read_text().splitlines()) == 1


async def check(*argv: str) -> Ended:
    program = [*PROGRAM[:-1], "check"]
    process = await asyncio.create_subprocess_exec(
        *program, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def test_check_live_accepts_a_new_key_when_asked_for_and_looks_at_the_host_then(sshd: OpenSsh, tmp_path: Path) -> None:
    plan, known = write_plan(tmp_path, sshd), tmp_path / "new_hosts"
    argv = [str(plan), "--live", "--json", "-F", str(sshd.config), "--known-hosts", str(known)]

    def refused(ended: Ended) -> bool:
        return any(p["code"] == "host_key_refused" and "leg-1" in p["message"] for p in json.loads(ended.out)["problems"])

    before = await check(*argv)
    assert refused(before), before.out
    assert not known.exists()
    after = await check(*argv, "--accept-new", "leg-1")
    assert "leg-1: new key ssh-ed25519 SHA256:" in after.err
    assert len(known.read_text().splitlines()) == 1
    assert not refused(after), after.out


async def test_check_accepts_no_changed_key_and_none_without_live(sshd: OpenSsh, tmp_path: Path) -> None:
    plan, known = write_plan(tmp_path, sshd), tmp_path / "old_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'id_ed25519.pub').read_text()}")
    changed = await check(str(plan), "--live", "-F", str(sshd.config), "--known-hosts", str(known), "--accept-new", "leg-1")
    assert (changed.code, "CHANGED" in changed.err) == (4, True)
    assert len(known.read_text().splitlines()) == 1
    offline = await check(str(plan), "--accept-new", "leg-1")
    assert (offline.code, "--live" in offline.err) == (2, True)


async def test_a_bad_plan_is_2(sshd: OpenSsh, tmp_path: Path) -> None:
    ended = await probe(str(write_plan(tmp_path, sshd, "unknown_field: 1\n")), "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["error"]["code"]


@pytest.mark.parametrize("argv", [[], ["box:99999"], ["a.yaml", "box"], ["-x"]])
async def test_a_wrong_command_line_is_2(argv: list[str]) -> None:
    ended = await probe(*argv)
    assert ended.code == 2
    assert "Traceback" not in ended.err


async def test_watching_goes_on_until_interrupted_and_ends_cleanly(sshd: OpenSsh, smi: FakeSmi) -> None:
    process = await start(f"{sshd.user}@127.0.0.1:{sshd.port}", "--watch", "--json", *ssh_of(sshd))
    assert process.stdout is not None
    async with asyncio.timeout(50):
        while not json.loads(await process.stdout.readline())["hosts"][0]["gpus"]:
            pass
        again = json.loads(await process.stdout.readline())
        assert again["hosts"][0]["ok"] is True
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert err == b""

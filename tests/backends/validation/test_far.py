"""Runs that lie on a host, read by `cutover compare` through a real sshd."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backends.errors import UsageError
from backends.ssh.pool import SshPool
from backends.validation.errors import SourceUnreadable
from backends.validation.far import PIECE, FarFiles
from console.commands.compare import command
from tests.peers.openssh import OpenSsh, openssh


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd") as server:
        server.config.write_text(server.config.read_text() + f"  HostName 127.0.0.1\n  Port {server.port}\n")
        yield server


@contextmanager
def far(server: OpenSsh) -> Iterator[FarFiles]:
    with FarFiles(lambda: SshPool(server.settings, [])) as files:
        yield files


def write(path: Path, shift: float = 0.0) -> Path:
    path.write_text("".join(json.dumps({"epoch": e, "loss": 2 + 1 / e + shift}) + "\n" for e in range(1, 101)))
    return path


async def compare(server: OpenSsh, *args: str) -> Result:
    files = ["-F", str(server.config), "--known-hosts", str(server.known_hosts)]
    return await asyncio.to_thread(CliRunner().invoke, command, ["--metric", "loss", *args, *files, "--json"])


async def test_a_run_on_a_host_is_compared_as_one_that_lies_here(sshd: OpenSsh, tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl"), write(tmp_path / "new.jsonl", 0.05)
    here = json.loads((await compare(sshd, "--legacy", str(old), "--target", str(new))).stdout)
    result = await compare(sshd, "--legacy", f"ssh://old{old}", "--target", f"ssh://new{new}")
    there = json.loads(result.stdout)
    assert result.exit_code == 1
    assert there["points"] == here["points"]
    assert [i["sha256"] for i in there["explanation"]["inputs"]] == [i["sha256"] for i in here["explanation"]["inputs"]]
    assert there["explanation"]["inputs"][0]["source"] == f"ssh://old{old}"


async def test_a_pattern_names_several_runs_and_goes_through_no_shell(sshd: OpenSsh, tmp_path: Path) -> None:
    for name, shift in (("run1", 0.0), ("run 2;touch pwned", 0.001), ("run$(touch pwned)", -0.001), ("other", 9.0)):
        write(tmp_path / f"{name}.jsonl", shift)
    new = write(tmp_path / "new.jsonl")
    body = json.loads((await compare(sshd, "--legacy", f"ssh://old{tmp_path}/run*.jsonl", "--target", f"ssh://new{new}")).stdout)
    assert [i["side"] for i in body["explanation"]["inputs"]] == ["legacy"] * 3 + ["target"]
    assert not list(tmp_path.rglob("pwned"))


async def test_a_file_whose_name_looks_like_a_pattern_goes_first(sshd: OpenSsh, tmp_path: Path) -> None:
    write(tmp_path / "run1.jsonl")
    write(tmp_path / "run[12].jsonl")

    def look() -> tuple[list[str], list[str]]:
        with far(sshd) as files:
            return files.expand(f"ssh://box{tmp_path}/run[12].jsonl"), files.expand(f"ssh://box{tmp_path}/run[1].jsonl")

    first, second = await asyncio.to_thread(look)
    assert first == [f"ssh://box{tmp_path}/run[12].jsonl"]
    assert second == [f"ssh://box{tmp_path}/run1.jsonl"]


async def test_a_plan_names_the_hosts_and_runs_needed_reads_them_too(sshd: OpenSsh, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write(tmp_path / f"seed{seed}.jsonl", seed * 0.0001)
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "version: 1\nname: try\ntarget: {provider: b}\n"
        f"legacy: {{provider: a, hosts: [{{name: gpu-old, address: 127.0.0.1, port: {sshd.port}}}]}}\n"
        f"ssh: {{config: {sshd.folder}/plain, known_hosts: {sshd.known_hosts}}}\n"
    )
    (sshd.folder / "plain").write_text(f"Host *\n  IdentityFile {sshd.folder}/id_ed25519\n  IdentitiesOnly yes\n")
    args = ["--legacy", f"ssh://gpu-old{tmp_path}/seed?.jsonl", f"ssh://gpu-old{tmp_path}/seed1.jsonl"]
    result = await asyncio.to_thread(
        CliRunner().invoke, command, [*args, "--runs-needed", "--metric", "loss", "--plan", str(plan), "--json"]
    )
    assert result.exit_code == 0, result.output


async def test_a_host_key_that_is_not_known_is_refused(sshd: OpenSsh, tmp_path: Path) -> None:
    old = write(tmp_path / "old.jsonl")
    sshd.known_hosts.write_text("")
    result = await compare(sshd, "--legacy", f"ssh://old{old}", "--target", str(old))
    assert result.exit_code == 4
    assert "key" in json.loads(result.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.jsonl", "no such file"),
        ("none*.jsonl", "no file of that pattern"),
        ("pipe", "not a file"),
        ("folder", "without TensorBoard event files"),
        ("empty", "it is empty"),
    ],
)
async def test_what_cannot_be_read_is_told_with_its_place(sshd: OpenSsh, tmp_path: Path, name: str, said: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    old = write(tmp_path / "old.jsonl")
    result = await compare(sshd, "--legacy", str(old), "--target", f"ssh://new{tmp_path}/{name}")
    error: dict[str, Any] = json.loads(result.stdout)["error"]
    assert result.exit_code == 4
    assert said in error["message"]
    assert error["where"].startswith("ssh://new")


@pytest.mark.parametrize("source", ["ssh://user@box/x", "ssh://box:22/x", "ssh:///x", "ssh://box", "ssh://box/"])
def test_an_address_without_a_bare_host_and_a_path_is_a_usage_error(source: str) -> None:
    with FarFiles(lambda: SshPool(OpenSsh(Path(), 1).settings, [])) as files, pytest.raises(UsageError):
        files.expand(source)


async def test_a_file_that_grows_is_read_to_where_it_ended_and_one_that_is_cut_is_told(sshd: OpenSsh, tmp_path: Path) -> None:
    log = tmp_path / "long"
    log.write_bytes(b"x" * (2 * PIECE + 5))

    def read() -> tuple[int, int]:
        with far(sshd) as files:
            pieces = files.pieces(f"ssh://box{log}", 1 << 17)
            sizes = [len(next(pieces))]
            with log.open("ab") as more:
                more.write(b"y" * 100)
            sizes += map(len, pieces)
            again = files.pieces(f"ssh://box{log}", 1 << 17)
            next(again)
            os.truncate(log, PIECE)
            with pytest.raises(SourceUnreadable, match="cut while it was read"):
                list(again)
        return sum(sizes), max(sizes)

    assert await asyncio.to_thread(read) == (2 * PIECE + 5, 1 << 17)

"""A key is taken in because the operator said so: once, whole, and never over a known one."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import CouldNot
from backends.ssh.accept import add_key, added_words, ask_key, hashed_name
from backends.ssh.errors import HostKeyChanged, HostKeyRefused
from backends.ssh.models import SshHost, SshSettings
from backends.ssh.pool import SshPool
from tests.peers.openssh import OpenSsh, write_keys

OTHER = "github.example.net ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def pool_of(sshd: OpenSsh, known: Path, *more: SshHost) -> SshPool:
    return SshPool(SshSettings(config=sshd.config, known_hosts=known), [sshd.host(), *more])


async def accept(pool: SshPool, name: str = "box") -> bool:
    key = await ask_key(pool, name)
    return key is not None and add_key(key)


async def test_a_new_key_is_shown_and_lets_the_host_in_once_it_is_added(sshd: OpenSsh, tmp_path: Path) -> None:
    known = tmp_path / "new" / "known_hosts"
    async with pool_of(sshd, known) as pool:
        key = await ask_key(pool, "box")
        assert key is not None
        assert not known.exists(), "to ask changes nothing"
        assert "ssh-ed25519 SHA256:" in added_words(key)
        assert add_key(key)
        assert (await pool.run("box", ["true"])).exit_status == 0
    assert known.read_text().split()[0] == f"[127.0.0.1]:{sshd.port}"
    assert known.read_text().split()[1:] == (sshd.folder / "host_key.pub").read_text().split()[:2]
    assert known.stat().st_mode & 0o777 == 0o600
    assert known.parent.stat().st_mode & 0o777 == 0o700


async def test_a_known_key_is_not_added_again(sshd: OpenSsh) -> None:
    before = sshd.known_hosts.read_bytes()
    async with pool_of(sshd, sshd.known_hosts) as pool:
        assert not await accept(pool)
    assert sshd.known_hosts.read_bytes() == before


async def test_a_changed_key_is_never_accepted(sshd: OpenSsh, tmp_path: Path) -> None:
    other = write_keys(tmp_path, "other")
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other.export_public_key().decode()}")
    before = known.read_bytes()
    async with pool_of(sshd, known) as pool:
        with pytest.raises(HostKeyChanged, match="CHANGED"):
            await ask_key(pool, "box")
    assert known.read_bytes() == before


async def test_a_revoked_key_is_never_accepted(sshd: OpenSsh, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"@revoked * {(sshd.folder / 'host_key.pub').read_text()}")
    async with pool_of(sshd, known) as pool:
        with pytest.raises(HostKeyRefused, match="revoked"):
            await ask_key(pool, "box")


async def test_a_key_that_came_in_between_is_not_doubled_and_another_is_refused(sshd: OpenSsh, tmp_path: Path) -> None:
    known = tmp_path / "known"
    async with pool_of(sshd, known) as pool:
        key = await ask_key(pool, "box")
        assert key is not None
        assert add_key(key)
        assert not add_key(key)
        known.write_text(f"[127.0.0.1]:{sshd.port} {write_keys(tmp_path, 'other').export_public_key().decode()}")
        with pytest.raises(HostKeyChanged):
            add_key(key)
    assert len(known.read_text().splitlines()) == 1


async def test_many_at_once_leave_whole_lines_and_one_of_each(sshd: OpenSsh, tmp_path: Path) -> None:
    known = tmp_path / "known"
    names = [SshHost(f"n{i}", "127.0.0.1", sshd.user, sshd.port) for i in range(8)]
    async with pool_of(sshd, known, *names) as pool:
        keys = [await ask_key(pool, host.name) for host in names]
        added = await asyncio.gather(*(asyncio.to_thread(add_key, key) for key in keys if key is not None))
    assert sum(added) == 1
    assert len(known.read_text().splitlines()) == 1


@pytest.mark.parametrize("ending", ["\n", ""])
async def test_a_file_without_a_last_line_end_keeps_its_last_line(sshd: OpenSsh, tmp_path: Path, ending: str) -> None:
    known = tmp_path / "known"
    known.write_text(f"# ours\n{OTHER}{ending}")
    async with pool_of(sshd, known) as pool:
        assert await accept(pool)
        assert (await pool.run("box", ["true"])).exit_status == 0
    lines = known.read_text().splitlines()
    assert lines[:2] == ["# ours", OTHER]
    assert len(lines) == 3


async def test_in_a_file_of_hashed_names_the_new_name_is_hashed_and_openssh_finds_it(sshd: OpenSsh, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"{hashed_name('other.example.net')} {OTHER.partition(' ')[2]}\n")
    async with pool_of(sshd, known) as pool:
        assert await accept(pool)
        assert (await pool.run("box", ["true"])).exit_status == 0
    assert "127.0.0.1" not in known.read_text()
    if (keygen := shutil.which("ssh-keygen")) is not None:
        argv = [keygen, "-F", f"[127.0.0.1]:{sshd.port}", "-f", str(known)]
        found = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=10)
        assert "found: line 2" in found.stdout


async def test_the_key_of_a_jump_host_is_not_taken_for_the_one_behind_it(sshd: OpenSsh, tmp_path: Path) -> None:
    known = tmp_path / "known"
    async with pool_of(sshd, known, sshd.host("behind", via="box")) as pool:
        with pytest.raises(HostKeyRefused, match="box"):
            await ask_key(pool, "behind")
        assert not known.exists()
        assert await accept(pool, "box")
        assert await ask_key(pool, "behind") is None


async def test_a_file_that_cannot_be_written_is_named(sshd: OpenSsh, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = tmp_path / "known"
    async with pool_of(sshd, known) as pool:
        key = await ask_key(pool, "box")
        assert key is not None
        known.mkdir()
        with pytest.raises(CouldNot, match="known hosts") as caught:
            add_key(key)
    assert caught.value.where == str(known)


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1), st.binary(min_size=20, max_size=20))
def test_a_hashed_name_is_the_same_for_the_same_salt_and_shows_nothing_of_the_name(name: str, salt: bytes) -> None:
    hashed = hashed_name(name, salt)
    assert hashed == hashed_name(name, salt)
    assert hashed.startswith("|1|")
    assert len(hashed.split("|")) == 4

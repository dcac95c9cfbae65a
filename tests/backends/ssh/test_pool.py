"""The pool against a real sshd."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from backends.ssh.errors import (
    AuthFailed,
    CommandTimedOut,
    HostKeyRefused,
    HostUnreachable,
    LinkLost,
    SshError,
)
from backends.ssh.models import SshHost, SshSettings
from backends.ssh.pool import SshPool
from tests.peers.openssh import OpenSsh, write_keys
from tests.peers.process import free_ports

ODD = ["two words", "it's", 'a "quote"', "line\nbreak", "$HOME `id` \\", "*", "ünï", "", "-n"]


async def test_a_storm_of_callers_makes_one_connection(sshd: OpenSsh, pool: SshPool) -> None:
    connections = await asyncio.gather(*(pool.connect("box") for _ in range(50)))
    assert len(set(map(id, connections))) == 1
    log = (sshd.folder / "sshd.log").read_text()
    assert log.count("Accepted publickey") == 1


async def test_words_arrive_as_they_were_given(pool: SshPool) -> None:
    result = await pool.run("box", ["printf", r"%s\0", *ODD])
    assert result.stdout.decode().split("\0")[:-1] == ODD
    assert result.exit_status == 0


async def test_input_output_errors_and_status_come_back(pool: SshPool) -> None:
    result = await pool.run("box", ["sh", "-c", "cat; echo no >&2; exit 7"], input=b"x" * 300_000)
    assert (result.exit_status, result.stdout, result.stderr) == (7, b"x" * 300_000, b"no\n")


async def test_a_command_that_reads_no_input_ends_all_the_same(pool: SshPool) -> None:
    result = await pool.run("box", ["true"], input=b"x" * 5_000_000)
    assert result.exit_status == 0


async def test_a_command_killed_by_a_signal_has_a_status(pool: SshPool) -> None:
    result = await pool.run("box", ["sh", "-c", "kill -TERM $$"])
    assert result.exit_status == 128 + 15


async def test_many_commands_at_once_share_the_connection(pool: SshPool) -> None:
    results = await asyncio.gather(*(pool.run("box", ["echo", str(n)]) for n in range(30)))
    assert [int(r.stdout) for r in results] == list(range(30))


async def test_output_without_end_is_cut_and_the_command_ended(pool: SshPool) -> None:
    result = await pool.run("box", ["yes", "so it goes"], limit=10_000)
    assert result.truncated
    assert len(result.stdout) == 10_000
    assert (await pool.run("box", ["echo", "still here"])).stdout == b"still here\n"


async def test_a_command_that_takes_too_long_is_told_by_name(pool: SshPool) -> None:
    with pytest.raises(CommandTimedOut, match="sleep 60"):
        await pool.run("box", ["sleep", "60"], timeout=0.2)


async def test_a_host_that_dies_under_a_command_is_a_lost_link(sshd: OpenSsh, pool: SshPool) -> None:
    async with pool.stream("box", ["sh", "-c", "echo begun; sleep 60"]) as lines:
        each = aiter(lines)
        assert await anext(each) == "begun"
        waiting = asyncio.create_task(pool.run("box", ["sleep", "60"]))
        await pool.run("box", ["true"])
        sshd.kill_sessions()
        with pytest.raises(LinkLost, match="box"):
            await anext(each)
        with pytest.raises(LinkLost, match="sleep 60"):
            await waiting
    assert (await pool.run("box", ["echo", "again"])).stdout == b"again\n"


async def test_a_host_that_freezes_is_found_by_its_silence(sshd: OpenSsh) -> None:
    async with SshPool(replace(sshd.settings, keepalive=0.2), [sshd.host()]) as pool:
        async with pool.stream("box", ["sh", "-c", "echo begun; sleep 60"]) as lines:
            each = aiter(lines)
            assert await anext(each) == "begun"
            sshd.freeze_sessions()
            with pytest.raises(LinkLost):
                await anext(each)
        assert (await pool.run("box", ["echo", "again"])).stdout == b"again\n"


async def test_lines_come_as_they_are_written_and_the_status_at_the_end(pool: SshPool) -> None:
    async with pool.stream("box", ["sh", "-c", r"printf 'one\ntwo\r\nlast'; exit 3"]) as lines:
        assert [line async for line in lines] == ["one", "two", "last"]
        assert lines.exit_status == 3


async def test_more_lines_than_fit_are_held_back_and_none_is_lost(pool: SshPool) -> None:
    async with pool.stream("box", ["seq", "1", "200000"]) as lines:
        count = 0
        async for line in lines:
            count += 1
            assert line == str(count)
    assert count == 200_000


async def test_a_line_without_end_is_cut(pool: SshPool) -> None:
    script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo next"
    async with pool.stream("box", ["sh", "-c", script], limit=100) as lines:
        assert [line async for line in lines] == ["x" * 100, "next"]
        assert lines.truncated


async def test_leaving_a_stream_ends_a_remote_command_that_writes(pool: SshPool, tmp_path: Path) -> None:
    left = tmp_path / "left"
    script = f"echo begun; while echo on; do sleep 0.05; done 2>/dev/null; echo left >{left}.part; mv {left}.part {left}"
    async with pool.stream("box", ["bash", "-c", f"trap '' PIPE; {script}"]) as lines:
        assert await anext(aiter(lines)) == "begun"
    await _appears(left)
    assert left.read_text() == "left\n"


async def _appears(path: Path) -> None:
    async with asyncio.timeout(20):
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)


async def test_an_unknown_host_is_refused_with_file_and_fingerprint(sshd: OpenSsh, tmp_path: Path) -> None:
    empty = tmp_path / "none"
    async with SshPool(replace(sshd.settings, known_hosts=empty), [sshd.host()]) as pool:
        with pytest.raises(HostKeyRefused, match=r"unknown: ssh-ed25519 SHA256:") as caught:
            await pool.run("box", ["true"])
    assert str(empty) in caught.value.message
    assert "box" in caught.value.message


async def test_a_changed_key_is_refused_and_the_line_named(sshd: OpenSsh, tmp_path: Path) -> None:
    other = write_keys(tmp_path, "other").export_public_key().decode()
    known = tmp_path / "known"
    known.write_text(f"# ours\nbroken line\n[127.0.0.1]:{sshd.port} {other}")
    async with SshPool(replace(sshd.settings, known_hosts=known), [sshd.host()]) as pool:
        with pytest.raises(HostKeyRefused, match="CHANGED") as caught:
            await pool.run("box", ["true"])
    assert caught.value.where == f"{known}:3"
    assert "ssh-keygen -R" in caught.value.hint


async def test_a_key_of_another_kind_is_a_changed_key_too(sshd: OpenSsh, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other}")
    async with SshPool(replace(sshd.settings, known_hosts=known), [sshd.host()]) as pool:
        with pytest.raises(HostKeyRefused, match="CHANGED") as caught:
            await pool.run("box", ["true"])
    assert caught.value.where == f"{known}:1"


async def test_a_revoked_key_is_refused(sshd: OpenSsh, tmp_path: Path) -> None:
    line = sshd.known_hosts.read_text().strip()
    known = tmp_path / "known"
    known.write_text(f"{line}\n@revoked {line}\n")
    async with SshPool(replace(sshd.settings, known_hosts=known), [sshd.host()]) as pool:
        with pytest.raises(HostKeyRefused, match="is revoked by") as caught:
            await pool.run("box", ["true"])
    assert caught.value.where == f"{known}:2"


async def test_an_ssh_config_cannot_switch_the_check_off(sshd: OpenSsh, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile none\n  IdentityFile {sshd.folder}/id_ed25519\n")
    async with SshPool(SshSettings(config=config), [sshd.host()]) as pool:
        with pytest.raises(HostKeyRefused, match="unknown"):
            await pool.run("box", ["true"])


async def test_a_key_added_later_lets_the_host_in(sshd: OpenSsh, tmp_path: Path) -> None:
    known = tmp_path / "known"
    async with SshPool(replace(sshd.settings, known_hosts=known), [sshd.host()]) as pool:
        with pytest.raises(HostKeyRefused):
            await pool.run("box", ["true"])
        known.write_text(sshd.known_hosts.read_text())
        assert (await pool.run("box", ["echo", "in"])).stdout == b"in\n"


async def test_a_wrong_key_is_told_as_such(sshd: OpenSsh, tmp_path: Path) -> None:
    write_keys(tmp_path, "stranger")
    config = tmp_path / "config"
    config.write_text(f"Host *\n  IdentityFile {tmp_path}/stranger\n  IdentitiesOnly yes\n")
    async with SshPool(replace(sshd.settings, config=config), [sshd.host()]) as pool:
        with pytest.raises(AuthFailed, match="box"):
            await pool.run("box", ["true"])


async def test_a_host_that_is_not_there_is_told_with_its_address(sshd: OpenSsh) -> None:
    port = free_ports(1)[0]
    async with SshPool(sshd.settings, [SshHost("gone", "127.0.0.1", None, port)]) as pool:
        with pytest.raises(HostUnreachable, match=rf"gone \(127.0.0.1:{port}\).*refused"):
            await pool.run("gone", ["true"])


async def test_a_host_that_says_nothing_is_given_up(sshd: OpenSsh) -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = replace(sshd.settings, connect_timeout=0.3)
        async with SshPool(settings, [SshHost("mute", "127.0.0.1", None, port)]) as pool:
            with pytest.raises(HostUnreachable, match=r"within 0.3 s"):
                await pool.run("mute", ["true"])
        gone.set()


async def test_a_host_is_reached_through_another(sshd: OpenSsh) -> None:
    hosts = [sshd.host("bastion"), sshd.host("inner", via="bastion")]
    async with SshPool(sshd.settings, hosts) as pool:
        result = await pool.run("inner", ["sh", "-c", "echo ${SSH_CONNECTION%% *}"])
        assert result.stdout == b"127.0.0.1\n"
    assert (sshd.folder / "sshd.log").read_text().count("Accepted publickey") == 2


async def test_hosts_that_go_through_each_other_are_an_error(sshd: OpenSsh) -> None:
    hosts = [sshd.host("a", via="b"), sshd.host("b", via="a")]
    async with SshPool(sshd.settings, hosts) as pool:
        async with asyncio.timeout(20):
            with pytest.raises(SshError, match="through each other"):
                await pool.connect("a")


async def test_an_alias_of_the_ssh_config_is_a_host_with_its_jump_checked(sshd: OpenSsh, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host inner\n  HostName 127.0.0.1\n  Port {sshd.port}\n  ProxyJump jumper\n"
        f"Host jumper\n  HostName 127.0.0.1\n  Port {sshd.port}\n"
        f"Host *\n  User {sshd.user}\n  IdentityFile {sshd.folder}/id_ed25519\n"
    )
    async with SshPool(replace(sshd.settings, config=config), []) as pool:
        assert (await pool.run("inner", ["echo", "in"])).stdout == b"in\n"
    assert (sshd.folder / "sshd.log").read_text().count("Accepted publickey") == 2
    async with SshPool(SshSettings(config, tmp_path / "nothing"), []) as pool:
        with pytest.raises(HostKeyRefused, match="jump jumper"):
            await pool.run("inner", ["true"])


async def test_a_bastion_named_for_all_hosts_is_not_reached_through_itself(sshd: OpenSsh, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host bastion inner\n  HostName 127.0.0.1\n  Port {sshd.port}\n"
        f"Host *\n  ProxyJump bastion\n  User {sshd.user}\n  IdentityFile {sshd.folder}/id_ed25519\n"
    )
    async with SshPool(replace(sshd.settings, config=config), []) as pool:
        assert (await pool.run("inner", ["echo", "in"])).stdout == b"in\n"
        assert (await pool.run("bastion", ["echo", "on"])).stdout == b"on\n"


async def test_a_proxyjump_that_is_no_host_is_told(sshd: OpenSsh, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n  ProxyJump box:99999\n  IdentityFile {sshd.folder}/id_ed25519\n")
    async with SshPool(replace(sshd.settings, config=config), [sshd.host()]) as pool:
        with pytest.raises(SshError, match="ProxyJump is not a port: 99999"):
            await pool.connect("box")


async def test_sftp_is_one_session_and_opens_again(sshd: OpenSsh, pool: SshPool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    first = await pool.sftp("box")
    assert await pool.sftp("box") is first
    sshd.kill_sessions()
    await (await pool.connect("box")).wait_closed()
    again = await pool.sftp("box")
    assert again is not first
    async with again.open(str(tmp_path / "file"), "rb") as file:
        assert await file.read() == b"content"


async def test_an_unreadable_ssh_config_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    async with SshPool(SshSettings(config=missing), []) as pool:
        with pytest.raises(SshError, match="ssh_config") as caught:
            await pool.connect("any")
    assert caught.value.where == str(missing)

"""Many streams that nobody waits for are read together, against a real sshd: nothing is lost, and who is in a hurry does not wait."""

from __future__ import annotations

import asyncio

import pytest

from backends.ssh import gathering
from backends.ssh.errors import LinkLost
from backends.ssh.gathering import Gathering
from backends.ssh.pool import SshPool
from tests.peers.openssh import OpenSsh


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MANY", 1)


class Noted:
    """A connection that notes in which turn of the loop it is read."""

    def __init__(self, turns: list[int], turn: list[int]) -> None:
        self._turns, self._turn = turns, turn

    def read_held(self) -> None:
        self._turns.append(self._turn[0])


async def test_what_came_on_many_connections_is_read_in_one_turn(many: None) -> None:
    made, turns, turn = Gathering(), list[int](), [0]
    for place in range(50):
        turn[0] = place
        made.soon(Noted(turns, turn))
        await asyncio.sleep(0)
    assert turns == [], "nobody waits for it"
    async with asyncio.timeout(10):
        while not turns:
            turn[0] += 1
            await asyncio.sleep(0)
    assert len(turns) == 50
    assert len(set(turns)) == 1


def test_few_are_read_as_they_come() -> None:
    made = Gathering()
    made.members = gathering.MANY - 1
    assert not made.is_on
    made.members += 1
    assert made.is_on


@pytest.mark.usefixtures("many")
async def test_no_line_of_an_unhurried_stream_is_lost(pool: SshPool) -> None:
    async with pool.stream("box", ["seq", "1", "100000"], unhurried=True) as lines:
        assert [int(line) async for line in lines] == list(range(1, 100_001))


@pytest.mark.usefixtures("many")
async def test_the_status_and_the_last_words_come(pool: SshPool) -> None:
    async with pool.stream("box", ["sh", "-c", "echo one; printf last; exit 3"], unhurried=True) as lines:
        assert [line async for line in lines] == ["one", "last"]
        assert lines.exit_status == 3


@pytest.mark.usefixtures("many")
async def test_a_command_beside_it_is_in_a_hurry(pool: SshPool, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []
    soon = Gathering.soon
    monkeypatch.setattr(Gathering, "soon", lambda self, connection: (held.append(1), soon(self, connection))[1])
    async with pool.stream("box", ["sh", "-c", "echo begun; read x; echo $x; sleep 60"], unhurried=True) as lines:
        each = aiter(lines)
        assert await anext(each) == "begun"
        held.clear()
        result = await pool.run("box", ["echo", "here"])
        assert result.stdout == b"here\n"
        assert not held, "nothing of it was put off"
        lines.write(b"so\n")
        assert await anext(each) == "so"
        assert held, "and what is not, is again"


@pytest.mark.usefixtures("many")
async def test_a_host_that_dies_has_said_its_last_first(sshd: OpenSsh, pool: SshPool) -> None:
    async with pool.stream("box", ["sh", "-c", "echo begun; read x; sleep 60"], unhurried=True) as lines:
        each = aiter(lines)
        assert await anext(each) == "begun"
        sshd.kill_sessions()
        with pytest.raises(LinkLost):
            await anext(each)
    assert (await pool.run("box", ["echo", "again"])).stdout == b"again\n"


@pytest.mark.usefixtures("many")
async def test_a_host_that_prints_without_end_holds_little_and_keeps_no_other_waiting(sshd: OpenSsh, pool: SshPool) -> None:
    """Its window is what it may have under way: what is left unread is no more than that, however fast it prints."""
    async with (
        SshPool(sshd.settings, [sshd.host()]) as another,
        pool.stream("box", ["yes", "x" * 200], unhurried=True) as flood,
        another.stream("box", ["sh", "-c", "while read x; do echo $x; done"], unhurried=True) as lines,
    ):
        connection, most = await pool.connect("box"), 0
        each, endless = aiter(lines), aiter(flood)
        async with asyncio.timeout(30):
            for number in range(20):
                for _ in range(5_000):
                    assert await anext(endless) == "x" * 200
                most = max(most, len(connection._inpbuf))
                lines.write(f"{number}\n".encode())
                assert await anext(each) == str(number)
        assert most < 8 << 20

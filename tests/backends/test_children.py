"""Commands on the engine's machine: real ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest
import uvloop

from backends.children import ChildFailed, Children, ChildTimedOut
from backends.errors import CouldNot


async def test_a_command_gets_its_words_input_and_folder_as_they_are(tmp_path: Path) -> None:
    result = await Children().run(
        ["sh", "-c", 'cat; printf "%s|" "$@"; pwd', "sh", "two words", "$HOME", "a\nb"],
        cwd=tmp_path,
        timeout=20,
        input=b"in ",
    )
    assert result.stdout == f"in two words|$HOME|a\nb|{tmp_path}\n".encode()
    assert result.exit_status == 0


def test_input_ends_under_uvloop_too(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(Children().run(["wc", "-c"], cwd=tmp_path, timeout=20, input=b"x" * 1_000_000))
    assert result.stdout.strip() == b"1000000"


async def test_the_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    result = await Children(env={"GIVEN": "1"}).run(["env"], cwd=tmp_path, timeout=20)
    names = {line.split("=")[0] for line in result.stdout.decode().splitlines()}
    assert "GIVEN" in names
    assert names <= {"PATH", "HOME", "LANG", "TZ", "GIVEN"}


async def test_status_and_signal_come_back(tmp_path: Path) -> None:
    children = Children()
    assert (await children.run(["sh", "-c", "exit 3"], cwd=tmp_path, timeout=20)).exit_status == 3
    assert (await children.run(["sh", "-c", "kill -TERM $$"], cwd=tmp_path, timeout=20)).exit_status == 143


async def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="cannot run `no-such-command x`: No such file"):
        await Children().run(["no-such-command", "x"], cwd=tmp_path, timeout=20)


async def test_input_that_nobody_reads_does_no_harm(tmp_path: Path) -> None:
    assert (await Children().run(["true"], cwd=tmp_path, timeout=20, input=b"x" * 1_000_000)).exit_status == 0


async def test_output_without_end_is_cut(tmp_path: Path) -> None:
    result = await Children().run(["yes"], cwd=tmp_path, timeout=20, limit=1000)
    assert result.truncated
    assert len(result.stdout) == 1000


async def test_a_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(ChildTimedOut, match=r"longer than 0.5 s"):
        await Children().run(["sh", "-c", script], cwd=tmp_path, timeout=0.5)
    await _ends(int((tmp_path / "pid").read_text()))


async def test_a_cancelled_caller_leaves_no_child(tmp_path: Path) -> None:
    record = tmp_path / "children.json"
    children = Children(record)
    task = asyncio.create_task(children.run(["sleep", "600"], cwd=tmp_path, timeout=900))
    pid = (await _recorded(record))[0]["pgid"]
    assert [child.pgid for child in await children.still_running()] == [pid]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await children.still_running() == ()
    assert json.loads(record.read_text()) == []
    await _ends(pid)


async def test_what_a_command_starts_in_the_background_lives_on(tmp_path: Path) -> None:
    async with asyncio.timeout(20):  # it does not wait for the daemon, though that holds the output open
        result = await Children().run(["sh", "-c", "sleep 600 & echo $!"], cwd=tmp_path, timeout=60)
    pid = int(result.stdout)
    os.kill(pid, signal.SIGKILL)  # raises where it is gone


async def test_after_a_crash_the_next_engine_sees_what_still_runs(tmp_path: Path) -> None:
    record = tmp_path / "children.json"
    script = textwrap.dedent(
        f"""
        import asyncio, pathlib
        from backends.children import Children
        argv = ["sh", "-c", "sleep 600 & wait"]
        asyncio.run(Children(pathlib.Path({str(record)!r})).run(argv, cwd=pathlib.Path("/"), timeout=900))
        """
    )
    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    pid = (await _recorded(record))[0]["pgid"]
    await _has_child(pid)
    engine.kill()
    await engine.wait()
    await _ends(pid)  # the child itself died with its parent; its own child did not
    after = Children(record)
    assert [child.pgid for child in await after.still_running()] == [pid]
    assert (await after.end_left())[0].command == "sh -c sleep 600 & wait"
    async with asyncio.timeout(20):
        while await after.still_running():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_number_that_went_to_another_process_is_not_ours(tmp_path: Path) -> None:
    record = tmp_path / "children.json"
    other = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    record.write_text(json.dumps([{"pgid": other.pid, "started": 1, "command": "old"}]))
    assert await Children(record).still_running() == ()
    other.kill()
    await other.wait()


async def test_a_broken_record_is_told(tmp_path: Path) -> None:
    record = tmp_path / "children.json"
    record.write_text("{")
    with pytest.raises(CouldNot, match="which commands ran") as caught:
        await Children(record).still_running()
    assert caught.value.where == str(record)


async def _recorded(record: Path) -> list[dict[str, int]]:
    async with asyncio.timeout(30):
        while True:
            if record.exists() and (found := json.loads(record.read_text())):
                return list(found)
            await asyncio.sleep(0.02)


async def _has_child(pid: int) -> None:
    async with asyncio.timeout(30):
        while not Path(f"/proc/{pid}/task/{pid}/children").read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _ends(pid: int) -> None:
    """Wait until the process is gone or a zombie of somebody else's."""
    async with asyncio.timeout(20):
        while True:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except FileNotFoundError:
                return
            if state == "Z":
                return
            await asyncio.sleep(0.02)

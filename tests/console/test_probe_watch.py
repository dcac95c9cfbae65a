"""`cutover probe --watch` on a terminal: a frame is never larger than the terminal, and stays where it is."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios

import pytest

from backends.snapshot import GpuView, HostView
from console.commands.probe import table, trouble_lines
from console.commands.probe_watch import frame
from tests.fixtures.fleets import fleet_of
from tests.peers.nvidia_smi import FakeSmi, row
from tests.peers.openssh import OpenSsh
from themes.palette import palette_of

GONE = "lost: drain the host and reboot it; if it comes back, the GPU is broken"
NAME = "NVIDIA H100 80GB HBM3"


def few() -> list[HostView]:
    gpus = tuple(GpuView(index=i, name=NAME, utilization=0.5, power_w=412.0, power_limit_w=700.0) for i in range(8))
    lost = tuple(gpu.model_copy(update={"alarm": GONE}) if gpu.index == 3 else gpu for gpu in gpus)
    return [
        HostView(name="gcp-a1", side="legacy", health="live", gpus=gpus),
        HostView(name="lam-b1-with-a-long-name", side="target", health="live", gpus=lost),
        HostView(name="lam-b2", side="target", health="refused", error="lam-b2 cannot be reached: connection refused"),
    ]


@pytest.mark.parametrize("size", [(80, 23), (200, 59), (40, 8), (20, 3)])
@pytest.mark.parametrize("has_sides", [True, False])
@pytest.mark.parametrize("hosts", [few(), list(fleet_of(256).hosts), []], ids=["few", "many", "none"])
def test_a_frame_is_never_larger_than_the_terminal(hosts: list[HostView], has_sides: bool, size: tuple[int, int]) -> None:
    strips = frame(hosts, palette_of({}), *size, "10:00:00", has_sides=has_sides)
    assert 0 < len(strips) <= size[1]
    assert all(strip.cell_length <= size[0] for strip in strips)


def test_at_the_least_size_each_trouble_is_in_words() -> None:
    lines = [strip.text for strip in frame(few(), palette_of({}), 80, 23, "10:00:00", has_sides=True)]
    assert any(("long-name" in line or "lam-b1" in line) and "GPU 3: lost: drain the host" in line for line in lines)
    assert any(line.startswith("✗ lam-b2 refused") for line in lines)
    wide = [strip.text for strip in frame(few(), palette_of({}), 200, 59, "10:00:00", has_sides=True)]
    assert sum("connection refused" in line for line in wide) == 2, "under the host's name, and where all troubles stand"


@pytest.mark.parametrize(("width", "columns"), [(80, 7), (119, 7), (120, 10), (400, 10)])
def test_the_table_leaves_versions_out_where_they_would_break_its_lines(width: int, columns: int) -> None:
    made = table(few(), has_sides=True, width=width)
    assert len(made.columns) == columns
    if width < 120:
        assert sum((column.width or 0) + 1 for column in made.columns) <= width
    assert trouble_lines(few()) == [f"lam-b1-with-a-long-name GPU 3: {GONE}", "lam-b2 cannot be reached: connection refused"]


async def test_it_is_drawn_in_place_on_a_terminal_of_80x24_and_ends_with_ctrl_c(sshd: OpenSsh, smi: FakeSmi) -> None:
    smi.say(*(row(index, "41") for index in range(8)))
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    argv = [
        sys.executable,
        "-c",
        "from console.main import main; main()",
        "probe",
        f"{sshd.user}@127.0.0.1:{sshd.port}",
        "--watch",
    ]
    process = await asyncio.create_subprocess_exec(
        *argv, "-F", str(sshd.config), "--known-hosts", str(sshd.known_hosts),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, "LANG": "C.UTF-8", "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(slave)
    os.set_blocking(master, False)
    seen = bytearray()
    news = asyncio.Event()

    def read() -> None:
        try:
            seen.extend(os.read(master, 1 << 16))
        except OSError:
            asyncio.get_running_loop().remove_reader(master)
        news.set()

    asyncio.get_running_loop().add_reader(master, read)
    try:
        async with asyncio.timeout(40):
            while seen.count(b"41 %") < 9 or seen.count(b"Ctrl-C ends") < 3:
                news.clear()
                await news.wait()
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() in (0, 130)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
    frames = re.split(rb"\x1b\[H", bytes(seen))[1:]
    assert max(drawn.count(b"\n") for drawn in frames) <= 23
    assert b"\x1b[2J" not in seen, "nothing flickers"

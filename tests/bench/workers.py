"""One machine against two and three, each with a line of its own of the same rate: what `transfer.workers` gain."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.bench.contenders import OURS, Contender, program, sync_command
from tests.bench.outcome import Outcome
from tests.bench.processes import Command
from tests.bench.race import number
from tests.bench.servers import Missing, Place
from tests.bench.setting import Setting
from tests.bench.streams import OBJECT, race_behind
from tests.peers.delay_proxy import delay_proxy
from tests.peers.openssh import OpenSsh, openssh

RATE = 8_000_000  # bytes a second from the source to one machine
STREAMS = 12  # of each machine
MOST = 2


async def workers(setting: Setting) -> list[Outcome]:
    """`transfer.workers`: one machine against two and three, each limited to 8 MB/s."""
    if shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        raise Missing("openssh-server is not installed (.ci/servers does)")
    count = setting.sizes.streams // OBJECT
    title = f"{count} objects of 1 MiB, {RATE / 1e6:g} MB/s from the source to each machine"
    outcome = Outcome("workers", title, setting.server)
    setting.tell(title)
    async with (
        setting.bucket(setting.a) as source,
        delay_proxy(setting.a.address, setting.folder, bytes_per_second=RATE, of_process=True) as proxy,
        openssh(setting.folder / f"ssh-{number()}") as ssh,
    ):
        await race_behind(proxy, outcome, [with_workers(n, ssh) for n in range(MOST + 1)], source, setting)
    alone, *more = (outcome.median(family(n), "wall") for n in range(MOST + 1))
    ratios = ", ".join(f"with {n} {'worker' if n == 1 else 'workers'} {alone / wall:.2f} x" for n, wall in enumerate(more, 1))
    outcome.notes.append(f"as fast as one machine alone: {ratios}; the time until a worker is ready counts, its CPU does not")
    return [outcome]


def family(count: int) -> str:
    return f"{OURS} and {count} {'worker' if count == 1 else 'workers'}" if count else f"{OURS} alone"


def with_workers(count: int, ssh: OpenSsh) -> Contender:
    """All hosts are this machine: a worker is another process, and has another line."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        hosts = {f"box-{i}": ssh for i in range(1, count + 1)}
        transfer = f"{{parallel: {STREAMS * (1 + count)}, workers: [{', '.join(hosts)}], worker_program: {program(OURS)}}}"
        return sync_command(scratch, {"old": source, "new": target}, transfer=transfer, workers=hosts)

    return Contender(family(count), "", command)

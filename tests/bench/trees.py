"""The cases with a tree on one side: of this machine up to a store and down again, and over SFTP to OpenSSH."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil

from tests.bench.contenders import CIPHER, Contender, cutover, program, rclone, rclone_proven, s5cmd
from tests.bench.contents import Blob, large_blobs, small_blobs
from tests.bench.outcome import Outcome
from tests.bench.processes import Command
from tests.bench.race import Bars, judge, number, race
from tests.bench.servers import FolderPlace, Missing, Place
from tests.bench.setting import Setting, Sizes
from tests.bench.store_to_store import AHEAD, large_contenders
from tests.peers.openssh import OpenSsh, openssh

_UNPROVEN = (
    "the source keeps no sum that rclone knows, so `rclone copy` compares sizes alone, where ours sums what it writes; *rclone and check* "
    "goes on with `rclone check --download`, which reads both sides again. The bar is held against the plain copy"
)


async def tree(setting: Setting) -> list[Outcome]:
    """A local tree (tmpfs) up to a store and down, small and large."""
    s = setting.sizes
    few = [cutover(setting.transfer)]
    few += [rclone(f"t{n}", "--transfers", str(n), "--checkers", str(n)) for n in (16, 32)]
    few += [s5cmd("w32", workers=32), s5cmd("w256", workers=256)]
    words = f"{s.objects:,} objects of {s.least >> 10} to {s.most >> 10} KiB"
    small = small_blobs(s.objects, s.least, s.most)
    outcomes = [
        await _tree_up(setting, Outcome("tree-small-up", f"{words}, local tree to store", setting.server), small, few),
        await _tree_down(
            setting, Outcome("tree-small-down", f"{words}, store to local tree", setting.server), small, few, Bars(AHEAD)
        ),
    ]
    up = Outcome("tree-large-up", f"{_many_of(s, s.large)}, local tree to store", setting.server)
    outcomes.append(await _tree_up(setting, up, large_blobs(s.large_objects, s.large), _for_many(setting)))
    return [*outcomes, await _large_down(setting, "tree-large-down", s.large)]


async def longer(setting: Setting) -> list[Outcome]:
    """Large files down to a tree at four times the size, from a store and over SFTP: what a start of 0.2 s is then."""
    large, size = 4 * setting.sizes.large, 4 * setting.sizes.sftp_large
    wanted = 2 * setting.sizes.large_objects * large + (2 << 30)  # in a server in memory, in a tree in memory, and what else runs
    if (free := psutil.virtual_memory().available) < wanted:
        raise Missing(f"{wanted >> 30} GiB of memory, of which {free >> 30} are free")
    down = await _large_down(setting, "tree-longer-down", large)
    async with _sshd(setting) as server:
        far = Outcome("sftp-longer-down", f"1 file of {size >> 20} MiB over SFTP, down", "OpenSSH")
        await _between_trees(setting, far, server, None, large_blobs(1, size), _for_one(setting), Bars(1.0))
    return [down, far]


def _many_of(sizes: Sizes, size: int) -> str:
    return f"{sizes.large_objects} objects of {size >> 20} MiB"


def _for_many(setting: Setting) -> list[Contender]:
    """For several large objects."""
    return [c for c in large_contenders(setting) if c.family != "aioboto3"]


async def _large_down(setting: Setting, case: str, size: int) -> Outcome:
    """Beside the peers: rclone with a check of what it copied."""
    s = setting.sizes
    down = Outcome(case, f"{_many_of(s, size)}, store to local tree", setting.server)
    proven = [rclone_proven("t4", "--transfers", "4")] if setting.wants("rclone") else []
    bars = Bars(AHEAD, beside=frozenset(c.family for c in proven))
    await _tree_down(setting, down, large_blobs(s.large_objects, size), _for_many(setting) + proven, bars)
    if proven:
        down.notes.append(_UNPROVEN)
    return down


async def _tree_up(setting: Setting, outcome: Outcome, blobs: Sequence[Blob], contenders: list[Contender]) -> Outcome:
    folder = FolderPlace(setting.memory / f"tree-{number()}")
    async with _made(folder):
        await _race(setting, outcome, folder, lambda: setting.new_bucket(setting.b), blobs, contenders, Bars(AHEAD))
    return outcome


async def _tree_down(
    setting: Setting, outcome: Outcome, blobs: Sequence[Blob], contenders: list[Contender], bars: Bars
) -> Outcome:
    async with setting.bucket(setting.a) as source:
        await _race(setting, outcome, source, _new_folder(setting.memory), blobs, contenders, bars)
    return outcome


async def sftp(setting: Setting) -> list[Outcome]:
    """Many small files and one large one over SFTP to OpenSSH, up and down."""
    s = setting.sizes
    few = [cutover(setting.transfer)]
    few += [rclone(f"t{n}", "--transfers", str(n), "--checkers", str(n)) for n in (16, 32)]
    files = f"{s.sftp_objects:,} files of {s.sftp_object >> 10} KiB", f"1 file of {s.sftp_large >> 20} MiB"
    small = small_blobs(s.sftp_objects, s.sftp_object, s.sftp_object)
    outcomes = []
    async with _sshd(setting) as server:
        for kind, words, blobs, contenders, bars in (
            ("small", files[0], small, few, Bars(0.5)),
            ("large", files[1], large_blobs(1, s.sftp_large), _for_one(setting), Bars(1.0)),
        ):
            for way, here, there in (("up", None, server), ("down", server, None)):
                outcome = Outcome(f"sftp-{kind}-{way}", f"{words} over SFTP, {way}", "OpenSSH")
                await _between_trees(setting, outcome, here, there, blobs, contenders, bars)
                outcomes.append(outcome)
    return outcomes


def _for_one(setting: Setting) -> list[Contender]:
    """For one large file."""
    flags = ("--transfers", "1", "--multi-thread-cutoff", "64Mi", "--multi-thread-streams")
    return [cutover(setting.transfer), rclone("t1"), rclone("t1 4 streams", *flags, "4"), openssh_sftp()]


def _sshd(setting: Setting) -> AbstractAsyncContextManager[OpenSsh]:
    if shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        raise Missing("openssh-server is not installed (.ci/servers does)")
    return openssh(setting.folder / f"ssh-{number()}")


async def _between_trees(
    setting: Setting,
    outcome: Outcome,
    here: OpenSsh | None,
    there: OpenSsh | None,
    blobs: Sequence[Blob],
    contenders: list[Contender],
    bars: Bars,
) -> None:
    """From a tree of `here` to one of `there`; None: of this machine."""
    folder = FolderPlace(setting.memory / f"tree-{number()}", here)
    async with _made(folder):
        await _race(setting, outcome, folder, _new_folder(setting.memory, there), blobs, contenders, bars)


def openssh_sftp() -> Contender:
    """OpenSSH's own client, for one file."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        assert isinstance(source, FolderPlace)
        assert isinstance(target, FolderPlace)
        server = source.ssh or target.ssh
        assert server is not None
        (file,) = [path for path in source.path.rglob("*") if path.is_file()]
        verb = "put" if target.ssh else "get"
        (scratch / "batch").write_text(f'{verb} "{file}" "{target.path}/{file.relative_to(source.path)}"\n')
        options = ["-F", str(server.config), "-o", f"UserKnownHostsFile={server.known_hosts}", "-c", CIPHER]
        where = f"{server.user}@{server.address}"
        argv = [program("sftp"), "-q", *options, "-P", str(server.port), "-b", str(scratch / "batch"), where]
        return Command(argv, {"HOME": str(scratch)}, scratch)

    return Contender("sftp", "", command)


def _new_folder(under: Path, ssh: OpenSsh | None = None) -> Callable[[], FolderPlace]:
    return lambda: FolderPlace(under / f"tree-{number()}", ssh)


@contextlib.asynccontextmanager
async def _made(folder: FolderPlace) -> AsyncIterator[None]:
    await folder.make()
    try:
        yield
    finally:
        await folder.drop()


async def _race(
    setting: Setting,
    outcome: Outcome,
    source: Place,
    new_target: Callable[[], Place],
    blobs: Sequence[Blob],
    contenders: list[Contender],
    bars: Bars,
) -> None:
    setting.tell(outcome.title)
    expected = await source.fill(list(blobs))
    chosen = [c for c in contenders if setting.wants(c.family)]
    await race(outcome, chosen, source, new_target, expected, setting.memory, runs=setting.runs, tell=setting.tell)
    judge(outcome, bars)

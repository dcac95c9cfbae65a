"""The cases with a tree on one side: of this machine up to a store and down again, and over SFTP to OpenSSH."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from tests.bench.contenders import CIPHER, Contender, cutover, program, rclone, rclone_proven, s5cmd
from tests.bench.contents import Blob, large_blobs, small_blobs
from tests.bench.outcome import Outcome
from tests.bench.processes import Command
from tests.bench.race import Bars, judge, number, race
from tests.bench.servers import FolderPlace, Missing, Place
from tests.bench.setting import Setting
from tests.bench.store_to_store import AHEAD, large_contenders
from tests.peers.openssh import OpenSsh, openssh

_UNPROVEN = (
    "the source keeps no sum that rclone knows, so `rclone copy` compares sizes alone, where ours sums what it writes; *rclone and check* "
    "goes on with `rclone check --download`, which reads both sides again. The bar is held against the plain copy"
)


async def tree(setting: Setting) -> list[Outcome]:
    """A local tree (tmpfs) up to a store and down, small and large."""
    s = setting.sizes
    small = small_blobs(s.objects, s.least, s.most)
    few = [cutover(setting.transfer)]
    few += [rclone(f"t{n}", "--transfers", str(n), "--checkers", str(n)) for n in (16, 32)]
    few += [s5cmd("w32", workers=32), s5cmd("w256", workers=256)]
    many = [c for c in large_contenders(setting) if c.family != "aioboto3"]
    what = f"{s.objects:,} objects of {s.least >> 10} to {s.most >> 10} KiB", f"{s.large_objects} objects of {s.large >> 20} MiB"
    outcomes = []
    for kind, words, blobs, contenders in (
        ("small", what[0], small, few),
        ("large", what[1], large_blobs(s.large_objects, s.large), many),
    ):
        chosen = [c for c in contenders if setting.wants(c.family)]
        up = Outcome(f"tree-{kind}-up", f"{words}, local tree to store", setting.server)
        folder = FolderPlace(setting.memory / f"tree-{number()}")
        async with _made(folder):
            await _race(setting, up, folder, lambda: setting.new_bucket(setting.b), blobs, chosen, Bars(AHEAD))
        down = Outcome(f"tree-{kind}-down", f"{words}, store to local tree", setting.server)
        async with setting.bucket(setting.a) as source:
            new = _new_folder(setting.memory)
            proven = [rclone_proven("t4", "--transfers", "4")] if kind == "large" and setting.wants("rclone") else []
            bars = Bars(AHEAD, beside=frozenset(c.family for c in proven))
            await _race(setting, down, source, new, blobs, chosen + proven, bars)
        if proven:
            down.notes.append(_UNPROVEN)
        outcomes += [up, down]
    return outcomes


async def sftp(setting: Setting) -> list[Outcome]:
    """Many small files and one large one over SFTP to OpenSSH, up and down."""
    if shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None:
        raise Missing("openssh-server is not installed (.ci/servers does)")
    s = setting.sizes
    small = small_blobs(s.sftp_objects, s.sftp_object, s.sftp_object)
    few = [cutover(setting.transfer)]
    few += [rclone(f"t{n}", "--transfers", str(n), "--checkers", str(n)) for n in (16, 32)]
    flags = ("--transfers", "1", "--multi-thread-cutoff", "64Mi", "--multi-thread-streams")
    one = [cutover(setting.transfer), rclone("t1"), rclone("t1 4 streams", *flags, "4"), openssh_sftp()]
    files = f"{s.sftp_objects:,} files of {s.sftp_object >> 10} KiB", f"1 file of {s.sftp_large >> 20} MiB"
    half, level = Bars(0.5), Bars(1.0)
    outcomes = []
    async with openssh(setting.folder / f"ssh-{number()}") as server:
        for kind, words, blobs, contenders, bars in (
            ("small", files[0], small, few, half),
            ("large", files[1], large_blobs(1, s.sftp_large), one, level),
        ):
            chosen = [c for c in contenders if setting.wants(c.family)]
            for way, here, there in (("up", None, server), ("down", server, None)):
                outcome = Outcome(f"sftp-{kind}-{way}", f"{words} over SFTP, {way}", "OpenSSH")
                folder = FolderPlace(setting.memory / f"tree-{number()}", here)
                async with _made(folder):
                    await _race(setting, outcome, folder, _new_folder(setting.memory, there), blobs, chosen, bars)
                outcomes.append(outcome)
    return outcomes


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
    await race(outcome, contenders, source, new_target, expected, setting.memory, runs=setting.runs, tell=setting.tell)
    judge(outcome, bars)

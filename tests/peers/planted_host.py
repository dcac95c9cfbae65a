"""A host that is like this machine but for what is planted: a real sshd in a mount namespace of its own, with other files, sizes and limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.peers.nvidia_smi import FakeSmi, fake_smi
from tests.peers.openssh import OpenSsh, openssh

DOCKER = """#!/bin/sh
name="$4"
file="$(dirname "$0")/image-$(echo "$name" | tr '/:' '__').json"
test -f "$file" && exec cat "$file"
echo "Error: No such image: $name" >&2
exit 1
"""
# Before what we send to its python3: what a machine is, and no file says.
PYTHON = """#!/bin/sh
options="$1"; code="$2"; shift 2
exec {python} "$options" "{before}
$code" "$@"
"""

# All of this machine's disk below a layer that takes what is written; the pseudo file systems as they are.
LAYERED = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
for place in proc sys dev; do mount --rbind /$place /mnt/root/$place; done
exec chroot /mnt/root "$@"
"""


@dataclass
class Planted:
    """What is other than on this machine. `files` are bound over those of the same path, `before` runs in front of each program for
    `python3`, `packages` are (name, version, CUDA)."""

    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, tuple[str | tuple[str, str], ...]] = field(
        default_factory=dict
    )  # bound over, with empty folders and (file, text)
    read_only: tuple[Path, ...] = ()
    shm: str | None = None
    soft_files: int | None = None
    arch: str | None = None
    before: str = ""
    packages: tuple[tuple[str, str, str | None], ...] = ()
    images: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    notes_writes: bool = False  # every write of the host goes into a layer of its own: `written`


def need_namespaces() -> None:
    """Skip where no namespace can be made."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mount namespaces need root and unshare")


@contextlib.asynccontextmanager
async def planted_host(folder: Path, planted: Planted, bin_folder: Path | None = None) -> AsyncIterator[tuple[OpenSsh, FakeSmi]]:
    """The host while it runs, and its `nvidia-smi`. Hosts that are given the same `bin_folder` have the same programs."""
    need_namespaces()
    folder.mkdir(parents=True)
    place = bin_folder or folder / "bin"
    smi = FakeSmi(place) if place.exists() else fake_smi(place)
    for tool in planted.tools:
        _program(place / tool, "#!/bin/sh\nexit 0\n")
    if planted.images:
        _program(place / "docker", DOCKER)
        for name, told in planted.images.items():
            (place / f"image-{name.replace('/', '_').replace(':', '_')}.json").write_text(json.dumps([told]))
    if planted.before:
        _program(place / "python3", PYTHON.format(python="/usr/bin/python3", before=planted.before))
    _install(folder / "sshd" / "home" / "venv" / "lib" / "python3.11" / "site-packages", planted)
    script = folder / "inside.sh"
    script.write_text("\n".join(_inside(folder, planted)) + (LAYERED if planted.notes_writes else '\nexec "$@"\n'))
    within = ["unshare", "--mount", "--propagation", "private", "sh", "-e", str(script)]
    if planted.arch is not None:
        within = ["setarch", planted.arch, *within]
    async with openssh(folder / "sshd", env={**smi.env, **planted.env}, within=within) as server:
        yield server, smi


async def written(server: OpenSsh) -> dict[str, str]:
    """What a host that `notes_writes` has written since it began: each path with the time of its last change; removals are there too."""
    argv = ["nsenter", f"--mount=/proc/{server.pid}/ns/mnt", "find", "/mnt/upper", "-mindepth", "1", "-printf", "%P\\t%C@ %Y\\n"]
    child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(child.communicate(), 20)
    assert child.returncode == 0
    return dict(line.split("\t", 1) for line in out.decode().splitlines())


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _install(site: Path, planted: Planted) -> None:
    for name, version, cuda in planted.packages:
        (site / f"{name}-{version}.dist-info").mkdir(parents=True)
        if cuda is not None:
            (site / name).mkdir()
            (site / name / "version.py").write_text(f"__version__ = '{version}'\ncuda: Optional[str] = '{cuda}'\n")


def _inside(folder: Path, planted: Planted) -> list[str]:
    lines = []
    for i, (path, text) in enumerate(planted.files.items()):
        (folder / f"file-{i}").write_text(text)
        lines.append(f"mount --bind {folder}/file-{i} {path}")
    for i, (path, names) in enumerate(planted.folders.items()):
        for entry in names:
            name, text = (entry, None) if isinstance(entry, str) else entry
            place = folder / f"folder-{i}" / name
            (place if text is None else place.parent).mkdir(parents=True, exist_ok=True)
            if text is not None:
                place.write_text(text)
        lines.append(f"mount --bind {folder}/folder-{i} {path}")
    for there in planted.read_only:
        lines += [f"mount --bind {there} {there}", f"mount -o remount,bind,ro {there}"]
    if planted.shm is not None:
        lines.append(f"mount -t tmpfs -o size={planted.shm} tmpfs /dev/shm")
    if planted.soft_files is not None:
        lines.append(f"ulimit -S -n {planted.soft_files}")
    return lines

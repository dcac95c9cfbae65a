"""A process as a container holds it: its own root folder, its own cgroup. And the tools of runtimes, as they print what they know of one (podman 4.3,
docker 28, crictl 1.30, ctr 1.6): no daemon of theirs runs on a test machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

CGROUPS = Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")
_WITHIN = "import os,sys;os.chroot(sys.argv[1]);os.chdir('/');print('up',flush=True);sys.stdin.read()"


@dataclass(frozen=True, slots=True)
class Contained:
    id: str
    pid: int


@contextlib.asynccontextmanager
async def contained(root: Path, number: int, env: Mapping[str, str] | None = None) -> AsyncIterator[Contained]:
    """A process in `root`, in the cgroup `docker/ID`, while it runs; its last word on the command line is `train.py`."""
    if os.geteuid() != 0:
        pytest.skip("a root folder and a cgroup of one's own need root")
    name = f"{number:064x}"
    above = next((place for place in CGROUPS if (place / "cgroup.procs").exists() and os.access(place, os.W_OK)), None)
    if above is None:
        pytest.skip("no cgroup can be made here")
    group = above / f"cutover-{os.getpid()}-{number}" / name
    root.mkdir(parents=True, exist_ok=True)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WITHIN, str(root), "train.py"),
        env=env or {},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        await asyncio.wait_for(child.stdout.readline(), 20)
        try:
            group.mkdir(parents=True)
            (group / "cgroup.procs").write_text(str(child.pid))
        except OSError as error:
            pytest.skip(f"no cgroup can be made here: {error.strerror}")
        yield Contained(name, child.pid)
    finally:
        child.kill()
        await child.wait()
        for place in (group, group.parent):
            with contextlib.suppress(OSError):
                place.rmdir()


def install(root: Path, package: str, version: str, cuda: str | None = None) -> None:
    """A package in a container's files, by its metadata."""
    site = root / "usr/local/lib/python3.11/site-packages"
    (site / f"{package}-{version}.dist-info").mkdir(parents=True)
    if cuda is not None:
        (site / package).mkdir()
        (site / package / "version.py").write_text(f"__version__ = '{version}'\ncuda: Optional[str] = '{cuda}'\n")


def tool(folder: Path, name: str, answers: Mapping[str, str]) -> None:
    """A program that answers words of its command line, the first that fits; anything else it refuses."""
    folder.mkdir(exist_ok=True)
    lines = ["#!/bin/sh"]
    for i, (words, answer) in enumerate(answers.items()):
        place = folder / f"{name}-{i}"
        place.write_text(answer)
        lines.append(f'case "$*" in {words}) exec cat {place};; esac')
    lines.append(f'echo "{name}: permission denied" >&2; exit 1')
    (folder / name).write_text("\n".join(lines) + "\n")
    (folder / name).chmod(0o755)


def docker_says(identity: str, pid: int, image: str, digests: list[str], *variables: str, name: str = "chat") -> dict[str, str]:
    """What docker prints of its one container."""
    config = {"Image": image, "Env": ["PATH=/usr/bin", *variables], "Labels": {}}
    inspected = {
        "Id": identity,
        "Name": f"/{name}",
        "Image": "sha256:" + "4" * 64,
        "State": {"Running": True, "Pid": pid},
        "Config": config,
    }
    return {
        "'ps --no-trunc --quiet'": f"{identity}\n",
        "'image inspect '*": json.dumps([{"Id": "sha256:" + "4" * 64, "RepoDigests": digests}]),
        "'inspect '*": json.dumps([inspected]),
    }


def podman_says(identity: str, pid: int, image: str, digests: list[str], *variables: str, name: str = "chat") -> dict[str, str]:
    """The same of podman, whose image has its id bare and its name beside it."""
    config = {"Image": image, "Env": list(variables), "Labels": None}
    inspected = {"Id": identity, "Name": name, "Image": "4" * 64, "ImageName": image, "State": {"Pid": pid}, "Config": config}
    return {
        "'ps --no-trunc --quiet'": f"{identity}\n",
        "'image inspect '*": json.dumps([{"Id": "4" * 64, "RepoDigests": digests}]),
        "'inspect '*": json.dumps([inspected]),
    }


def crictl_says(identity: str, pid: int, image: str, digest: str, *variables: str) -> dict[str, str]:
    labels = {"io.kubernetes.pod.name": "chat-7f-1", "io.kubernetes.pod.namespace": "ml"}
    listed = {
        "id": identity,
        "metadata": {"name": "main"},
        "image": {"image": "sha256:" + "4" * 64},
        "imageRef": digest,
        "labels": labels,
    }
    envs = [dict(zip(("key", "value"), v.split("=", 1), strict=True)) for v in variables]
    inspected = {
        "status": {"id": identity, "image": {"image": image}, "imageRef": digest},
        "info": {"pid": pid, "config": {"envs": envs}},
    }
    return {"'ps --output json'": json.dumps({"containers": [listed]}), "'inspect --output json '*": json.dumps(inspected)}


def ctr_says(identity: str, pid: int, image: str, digest: str) -> dict[str, str]:
    return {
        "'namespaces ls --quiet'": "default\n",
        "*' tasks ls'": f"TASK    PID    STATUS\n{identity}    {pid}    RUNNING\n{'9' * 64}    7    STOPPED\n",
        "*' images ls'": f"REF TYPE DIGEST SIZE PLATFORMS LABELS\n{image} application/vnd.oci.image.index.v1+json {digest} 3.1 GiB linux/amd64 -\n",
        "*' containers ls'": f"CONTAINER    IMAGE    RUNTIME\n{identity}    {image}    io.containerd.runc.v2\n{'9' * 64}    {image}    x\n",
    }

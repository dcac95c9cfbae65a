"""What one host says of itself (`backends.probes.agent.facts`), parsed and never trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from backends.errors import CouldNot
from backends.escape import plain
from backends.live.interconnect import Interconnect, parse_interconnect
from backends.probes.agent_link import BOOT, program
from backends.ssh.pool import SshPool

LIMIT = 40.0
MOST = 1000
UNLIMITED = 1 << 62
ABSENT = "absent"
NETWORK = (
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.gcsfuse", "fuse.s3fs", "fuse.juicefs", "weka", "cifs",
)  # fmt: skip


class NoFacts(CouldNot):
    """The host has no python3 that we may run, or answers nonsense."""

    code = "no_facts"


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str
    cuda: str | None
    folder: str


@dataclass(frozen=True, slots=True)
class Image:
    """A container image on a host; `error` where it is not there or cannot be asked."""

    error: str | None = None
    id: str | None = None
    digests: tuple[str, ...] = ()
    cuda: str | None = None
    pytorch: str | None = None
    machine: str | None = None
    require: str | None = None  # NVIDIA_REQUIRE_CUDA: which drivers the container toolkit starts it on


@dataclass(frozen=True, slots=True)
class Way:
    """A folder that a store lies in: is it there, may it be written, which folder that was asked of, and in bytes the size of its file system
    and what is free of it."""

    is_there: bool
    may_write: bool
    asked: str
    total: int | None = None
    free: int | None = None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Sizes in bytes, limits as counts (`UNLIMITED` for none), `environment` from names to keyed hashes; None or empty where unknown."""

    user: str | None
    machine: str | None
    os: str | None
    glibc: tuple[int, ...] | None
    cpus: int | None
    memory: int | None
    shm: int | None
    zone: tuple[int, str] | None
    toolkit: bool | None
    runtimes: tuple[str, ...]
    mounts: tuple[str, ...]  # of network file systems
    links: tuple[str, ...]
    interconnect: Interconnect
    limits: Mapping[str, int]
    settings: Mapping[str, int]
    packages: tuple[Package, ...]
    images: Mapping[str, Image]
    ways: Mapping[str, Way]
    environment: Mapping[str, str]
    files: Mapping[str, str]  # configuration, by path: a keyed hash, or `ABSENT`


async def ask_facts(
    pool: SshPool, host: str, salt: bytes, *, images: Sequence[str] = (), paths: Sequence[str] = (), files: Sequence[str] = ()
) -> HostFacts:
    """`paths` are folders that stores lie in, `files` configuration. Raises `NoFacts`, and what the connection raises."""
    asked = json.dumps({"salt": salt.hex(), "images": list(images), "paths": list(paths), "files": list(files)})
    result = await pool.run(host, ["python3", "-BISuc", BOOT, asked], input=program("host", "packages", "facts"), timeout=LIMIT)
    for line in result.stdout.splitlines():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # a banner
        if isinstance(value, dict) and value.get("cutover") == "facts":
            return parse_facts(value)
    said = plain(result.stderr.strip()[-200:], 200)
    raise NoFacts(
        f"{plain(host)} does not run our look: {said or f'it ended with {result.exit_status}'}", hint="python3 on the host"
    )


def parse_facts(value: Mapping[str, Any]) -> HostFacts:
    """From what the host printed; what does not fit is left out."""
    host = _dict(value.get("host"))
    zone = _list(value.get("zone"))
    return HostFacts(
        user=_text(value.get("user")),
        machine=_text(host.get("machine")),
        os=_text(host.get("os")),
        glibc=version_of(_text(host.get("glibc"))),
        cpus=_whole(host.get("cpus")),
        memory=_whole(value.get("memory")),
        shm=_whole(value.get("shm")),
        zone=(zone[0], plain(zone[1], 60)) if len(zone) == 2 and isinstance(zone[0], int) and isinstance(zone[1], str) else None,
        toolkit=host.get("toolkit") if isinstance(host.get("toolkit"), bool) else None,
        runtimes=tuple(_texts(host.get("runtimes"))),
        mounts=tuple(_network_mounts(host.get("mounts"))),
        links=tuple(_texts(value.get("links"))),
        interconnect=parse_interconnect(value.get("interconnect")),
        limits={plain(k, 40): _limit(v) for k, v in _dict(value.get("limits")).items() if isinstance(v, int)},
        settings=dict(_settings(value.get("settings"))),
        packages=tuple(_packages(value.get("packages"))),
        images={str(k): _image(_dict(v)) for k, v in list(_dict(value.get("images")).items())[:MOST]},
        ways=dict(ways_of(value.get("paths"))),
        files={plain(k, 200): v for k, v in list(_dict(value.get("files")).items())[:MOST] if isinstance(v, str)},
        environment={plain(k, 80): v for k, v in list(_dict(value.get("environment")).items())[:MOST] if isinstance(v, str)},
    )


def version_of(text: str | None) -> tuple[int, ...] | None:
    """The first run of numbers and dots in a text: `glibc 2.35` is (2, 35)."""
    for word in (text or "").replace("+", " ").split():
        parts = word.split(".")
        if all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts):
            return tuple(int(p) for p in parts)
    return None


def _limit(value: int) -> int:
    return UNLIMITED if value < 0 or value > UNLIMITED else value


def _settings(value: Any) -> list[tuple[str, int]]:
    out = []
    for name, words in list(_dict(value).items())[:MOST]:
        if (
            isinstance(words, list)
            and len(words) == 1
            and isinstance(words[0], str)
            and words[0].isascii()
            and words[0].isdigit()
        ):
            out.append((plain(name, 60), int(words[0][:20])))
    return out


def _packages(value: Any) -> list[Package]:
    out = []
    for row in _list(value)[:MOST]:
        if isinstance(row, list) and len(row) == 4 and isinstance(row[0], str) and isinstance(row[1], str):
            cuda = plain(row[2], 20) if isinstance(row[2], str) else None
            out.append(Package(plain(row[0], 40), plain(row[1], 60), cuda, plain(str(row[3]), 200)))
    return out


def _image(value: Mapping[str, Any]) -> Image:
    return Image(
        error=_text(value.get("error"), 200),
        id=_text(value.get("id")),
        digests=tuple(_texts(value.get("digests"))),
        cuda=_text(value.get("cuda"), 20),
        pytorch=_text(value.get("pytorch"), 40),
        machine=_text(value.get("machine"), 20),
        require=_text(value.get("require"), 2000),
    )


def ways_of(value: Any) -> list[tuple[str, Way]]:
    """What `agent.facts.writable` says of each path."""
    out = []
    for path, told in list(_dict(value).items())[:MOST]:
        if isinstance(told, list) and len(told) == 5:
            way = Way(told[0] is True, told[1] is True, plain(str(told[2]), 200), _whole(told[3]), _whole(told[4]))
            out.append((str(path), way))
    return out


def _network_mounts(value: Any) -> list[str]:
    return [plain(str(m[0]), 200) for m in _list(value)[:MOST] if isinstance(m, list) and len(m) == 2 and m[1] in NETWORK]


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [plain(word, 120) for word in _list(value)[:MOST] if isinstance(word, str)]


def _text(value: Any, most: int = 120) -> str | None:
    return plain(value, most) if isinstance(value, str) and value else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= UNLIMITED else None

"""How GPUs are joined on a host and hosts to each other: NVLink, PCIe, InfiniBand and RoCE, NCCL. What the host said, parsed; judged. Pure.

`nvidia-smi topo -m` gives a matrix: NV and a number of links, else the longest way over PCIe (PIX, PXB, PHB, NODE, SYS: its own legend).
`nvidia-smi nvlink -s` gives each link with its speed, or as inactive. Ports of InfiniBand: the kernel's sysfs-class-infiniband.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.escape import plain
from backends.listed import listed
from backends.live.found import Found
from backends.plan.problems import Severity

Finding = Callable[[Severity, str, str, str, str], Found]

MOST = 64
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_GPU = re.compile(r"GPU(\d{1,2})")
_WAY = re.compile(r"NV\d{1,3}|PIX|PXB|PHB|NODE|SYS")
_LINK = re.compile(r"\s*Link (\d{1,2}): (<inactive>|[0-9.]{1,10} GB/s)")
_OF_GPU = re.compile(r"GPU (\d{1,2}): ")
_STATE = re.compile(r"\d{1,2}: ([A-Z_]{1,20})")
_RATE = re.compile(r"([0-9.]{1,8}) Gb/sec")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of an InfiniBand or RoCE device; `gbps` None where it does not say."""

    name: str
    is_active: bool
    gbps: float | None


@dataclass(frozen=True, slots=True)
class Interconnect:
    """`ways` between pairs of GPUs, `links` up by GPU, `nccl` of the system's own libraries; `lost` are variables of NCCL that name interfaces or devices
    which are not there. Empty where nothing is known."""

    ways: Mapping[tuple[int, int], str] = field(default_factory=dict)
    links: Mapping[int, int] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    nccl: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def parse_interconnect(value: object) -> Interconnect:
    """From what the host printed; what does not fit is left out."""
    told: Mapping[str, Any] = value if isinstance(value, dict) else {}
    return Interconnect(
        ways=parse_topology(_text(told.get("topology"))),
        links=parse_links(_text(told.get("links"))),
        ports=tuple(_ports(told.get("ports"))),
        nccl=tuple(plain(v, 40) for v in _texts(told.get("nccl"))),
        lost=tuple(plain(v, 80) for v in _texts(told.get("lost"))),
    )


def parse_topology(text: str) -> dict[tuple[int, int], str]:
    """The ways between GPUs, each pair once, the lower number first."""
    lines = [_ESCAPES.sub("", line).split() for line in text.splitlines()[:200]]
    head = next((line for line in lines if line and _GPU.fullmatch(line[0]) and "X" not in line), [])
    columns = [int(m[1]) if (m := _GPU.fullmatch(word)) else None for word in head]
    out: dict[tuple[int, int], str] = {}
    for line in lines:
        first = _GPU.fullmatch(line[0]) if line else None
        if first is None or line is head or "X" not in line:
            continue
        for column, word in zip(columns, line[1:], strict=False):
            if column is not None and int(first[1]) < column and _WAY.fullmatch(word):
                out[int(first[1]), column] = word
    return out


def parse_links(text: str) -> dict[int, int]:
    """How many NVLinks of each GPU are up; nothing of a GPU that tells of none."""
    out: dict[int, int] = {}
    gpu: int | None = None
    for line in text.splitlines()[:5000]:
        if (head := _OF_GPU.match(line)) is not None:
            gpu = int(head[1])
        elif gpu is not None and (link := _LINK.match(line)) is not None:
            out[gpu] = out.get(gpu, 0) + (link[2] != "<inactive>")
    return out


def judge_links(seen: Interconnect, found: Finding) -> Iterator[Found]:
    """One host by itself."""
    most = max(seen.links.values(), default=0)
    fewer = [f"GPU {gpu}: {up}" for gpu, up in sorted(seen.links.items()) if up < most]
    if fewer:
        yield found(
            "error", "nvlink_down", "has GPUs with fewer NVLinks up than their neighbours", f"{listed(fewer, 8)}; the others {most}",
            "nvidia-smi nvlink -s and -e there; reset the GPU, or have the host exchanged",
        )  # fmt: skip
    if seen.lost:
        yield found(
            "error", "nccl_interface", "is told by a variable of NCCL to use what is not there", listed(seen.lost, 8),
            "the interface's or device's name on that host, or no such variable",
        )  # fmt: skip


def judge_joined(mine: Interconnect, before: Sequence[Interconnect], found: Finding) -> Iterator[Found]:
    """A host of target against all of legacy's that do the same work."""
    by_pcie = {pair: way for pair, way in mine.ways.items() if not way.startswith("NV")}
    if by_pcie and all(b.ways and all(w.startswith("NV") for w in b.ways.values()) for b in before):
        told = listed([f"GPU {a} and {b}: {way}" for (a, b), way in sorted(by_pcie.items())], 4)
        yield found(
            "warning", "topology", "joins GPUs by PCIe that legacy joins by NVLink: collectives within the host are slower", told,
            "instances with SXM cards or bridges, or fewer GPUs a job",
        )  # fmt: skip
    yield from _ports_against(mine, before, found)
    theirs = {v for b in before for v in b.nccl}
    if mine.nccl and all(b.nccl for b in before) and not theirs & set(mine.nccl):
        yield found(
            "warning", "nccl_differs", "has another version of NCCL than legacy", f"{', '.join(mine.nccl)}, legacy {', '.join(sorted(theirs))}",
            "the same version, or measure the collectives anew",
        )  # fmt: skip


def _ports_against(mine: Interconnect, before: Sequence[Interconnect], found: Finding) -> Iterator[Found]:
    down = [port.name for port in mine.ports if not port.is_active]
    idle = min((sum(not p.is_active for p in b.ports) for b in before), default=0)
    if len(down) > idle and all(any(p.is_active for p in b.ports) for b in before):  # else the work is not used to any
        yield found(
            "warning", "interconnect_down", "has ports of InfiniBand or RoCE that are not active", listed(down, 8),
            "ibstat there: the cable, the switch, the subnet manager",
        )  # fmt: skip
    speeds = [max((p.gbps for p in b.ports if p.is_active and p.gbps is not None), default=None) for b in before]
    known = [s for s in speeds if s is not None]
    fastest = max((p.gbps for p in mine.ports if p.is_active and p.gbps is not None), default=None)
    if fastest is not None and known and len(known) == len(before) and fastest < min(known):
        yield found(
            "warning", "interconnect_slow", "has a slower link to other hosts than legacy", f"{fastest:g} Gb/s, legacy {min(known):g} Gb/s",
            "instances with a faster one, where work spans hosts",
        )  # fmt: skip


def _ports(value: object) -> Iterator[Port]:
    for row in value[:MOST] if isinstance(value, list) else ():
        if isinstance(row, list) and len(row) == 3 and all(isinstance(word, str) for word in row):
            state, rate = _STATE.match(row[1]), _RATE.match(row[2])
            if state is not None:
                yield Port(plain(row[0], 60), state[1] == "ACTIVE", _number(rate[1]) if rate is not None else None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [word for word in value[:MOST] if isinstance(word, str)] if isinstance(value, list) else []

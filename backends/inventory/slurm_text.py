"""What Slurm's commands print (22.05 and later), parsed and never trusted.

In forms with separators, not `--json`: that is 4 kB a job, needs a plug-in that not every site has, and changes its shape between versions. What
a person may choose (a job's name) comes last in its record; the separators are made for the one look, so that no name can hold them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

QUEUE_FIELDS = ("%A", "%i", "%P", "%T", "%u", "%N", "%M", "%Z", "%o", "%j")
WIDTHS = {"JobID": 40, "tres-alloc": 400, "tres-per-job": 120, "tres-per-node": 120, "tres-per-task": 120, "NumTasks": 12}
HISTORY_FIELDS = (
    *("JobIDRaw", "Partition", "User", "State", "Start", "ElapsedRaw", "AllocTRES", "MaxRSS", "TRESUsageInMax", "WorkDir"),
    "JobName",
)
_GPU = re.compile(r"(?:^|[,:/])gpu(?::([A-Za-z][A-Za-z0-9._-]*))?[:=](\d{1,6})")
_KEY = re.compile(
    r"(?:^| )(NodeName|NodeAddr|Gres|ActiveFeatures|State|CPUTot|RealMemory|PartitionName|Nodes|PreemptMode|MaxTime)=(\S*)"
)
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class NodeTold:
    """`cards` are the kinds of GPU as the site calls them, `count` of all kinds."""

    name: str
    address: str
    gres: str
    cards: tuple[str, ...]
    count: int
    features: tuple[str, ...]
    cores: str
    memory_mib: str
    state: str


@dataclass(frozen=True, slots=True)
class Job:
    """One that runs or waits. `gpus` over all its nodes, None where nothing tells."""

    ident: str
    is_array: bool
    partition: str
    state: str
    user: str
    nodes: tuple[str, ...]
    seconds: float
    folder: str
    command: str
    name: str
    gpus: int | None = None


@dataclass(slots=True)
class Run:
    """One of the history. `memory` is the fullest task's resident set in bytes, `gpu_memory` that of its GPUs; None where it was not sampled."""

    ident: str
    partition: str
    user: str
    state: str
    start: float | None
    seconds: float
    gpus: int
    folder: str
    name: str
    memory: float | None = None
    gpu_memory: float | None = None


def parse_nodes(text: str) -> list[NodeTold]:
    """Of `scontrol -o show node`."""
    out = []
    for line in text.splitlines():
        words = _words(line)
        if not words.get("NodeName"):
            continue
        cards = _GPU.findall(words.get("Gres", ""))
        out.append(
            NodeTold(
                words["NodeName"],
                words.get("NodeAddr") or words["NodeName"],
                words.get("Gres", ""),
                tuple(dict.fromkeys(card for card, _ in cards if card)),
                sum(int(count) for _, count in cards),
                tuple(f for f in words.get("ActiveFeatures", "").split(",") if f and f != "(null)"),
                words.get("CPUTot", "?"),
                words.get("RealMemory", "?"),
                words.get("State", "?"),
            )
        )
    return out


def parse_partitions(text: str) -> list[str]:
    """In words, of `scontrol -o show partition`."""
    out = []
    for line in text.splitlines():
        words = _words(line)
        if words.get("PartitionName"):
            said = f"{words['PartitionName']}: {words.get('State', '?')}, nodes {words.get('Nodes', '?')}, at most {words.get('MaxTime', '?')}"
            preempts = words.get("PreemptMode", "OFF")
            out.append(said if preempts == "OFF" else f"{said}, its jobs may be preempted ({preempts})")
    return out


def parse_queue(text: str, record: str, unit: str, gpus: dict[str, int]) -> list[Job]:
    """Of `squeue`; what is no record is left out."""
    out = []
    for part in text.split(record):
        cells = part.removesuffix("\n").split(unit, len(QUEUE_FIELDS) - 1)
        if len(cells) != len(QUEUE_FIELDS) or not cells[0].isdigit():
            continue
        ident, shown, partition, state, user, nodes, used, folder, command, name = cells
        script = command.split(" ")[0] if command.startswith("/") else ""
        out.append(
            Job(ident, "_" in shown, partition, state, user, expand(nodes), _seconds(used), folder, script, name, gpus.get(ident))
        )
    return out


def parse_tres(text: str) -> dict[str, int]:
    """GPUs of each job over all its nodes, by its number: what it was given, else what it asked for."""
    out: dict[str, int] = {}
    for line in text.splitlines():
        cells, at = {}, 0
        for name, width in WIDTHS.items():
            cells[name] = line[at : at + width].strip()
            at += width
        if not cells["JobID"].isdigit():
            continue
        nodes = re.search(r"(?:^|,)node=(\d{1,6})", cells["tres-alloc"])
        tasks = int(cells["NumTasks"]) if cells["NumTasks"].isdigit() else 1
        out[cells["JobID"]] = (
            gpus_of(cells["tres-alloc"])
            or gpus_of(cells["tres-per-job"])
            or gpus_of(cells["tres-per-node"]) * (int(nodes[1]) if nodes else 1)
            or gpus_of(cells["tres-per-task"]) * tasks
        )
    return out


def parse_history(text: str, unit: str) -> list[Run]:
    """Of `sacct`: jobs, with the peaks of their steps. A name with a line break goes on in the next line."""
    runs: dict[str, Run] = {}
    last: Run | None = None
    for line in text.split("\n"):
        cells = line.split(unit, len(HISTORY_FIELDS) - 1)
        if len(cells) != len(HISTORY_FIELDS):
            if last is not None and line:
                last.name += "\n" + line
            continue
        ident, partition, user, state, start, elapsed, tres, rss, peaks, folder, name = cells
        owner, _, step = ident.partition(".")
        memory, gpu_memory = _bytes(rss), _bytes(next((p[12:] for p in peaks.split(",") if p.startswith("gres/gpumem=")), ""))
        if step:
            last = None
            if (run := runs.get(owner)) is not None:
                run.memory = _higher((run.memory, memory))
                run.gpu_memory = _higher((run.gpu_memory, gpu_memory))
            continue
        seconds = float(elapsed) if elapsed.isdigit() else 0.0
        last = Run(
            owner, partition, user, state.split(" ")[0], _instant(start), seconds, gpus_of(tres), folder, name, memory, gpu_memory
        )
        runs[owner] = last
    return list(runs.values())


def parse_df(text: str) -> Iterator[tuple[str, int, int]]:
    """(mounted on, bytes of the file system, used) for each line of `df -Pk`."""
    for line in text.splitlines()[1:]:
        found = re.fullmatch(r".*?\s(\d{1,18})\s+(\d{1,18})\s+-?\d{1,18}\s+\d{1,3}%\s+(/.*)", line)
        if found:
            yield found[3], int(found[1]) * 1024, int(found[2]) * 1024


def expand(nodes: str, most: int = 2000) -> tuple[str, ...]:
    """`gpu[01-03,7],login` as names; what is no list of nodes is left out."""
    out: list[str] = []
    for prefix, ranges, suffix in re.findall(r"([A-Za-z0-9._-]+)(?:\[([0-9,-]+)\])?([A-Za-z0-9._-]*),?", nodes):
        if not ranges:
            out.append(prefix + suffix)
        for one in filter(None, ranges.split(",")):
            first, _, last = one.partition("-")
            if not first.isdigit() or not (last or first).isdigit() or len(last or first) > 9:
                continue
            count = range(int(first), min(int(last or first), int(first) + most) + 1)
            out += [f"{prefix}{number:0{len(first)}}{suffix}" for number in count]
    return tuple(out[:most])


def gpus_of(text: str) -> int:
    """Of a list of resources; one that tells the card beside the sum (`gres/gpu=4,gres/gpu:a100=4`) is counted once."""
    found = _GPU.findall(text)
    sums = [int(count) for card, count in found if not card]
    return max(sums) if sums else sum(int(count) for _, count in found)


def _words(line: str) -> dict[str, str]:
    """The first of each key: what people write comes after."""
    out: dict[str, str] = {}
    for key, value in _KEY.findall(line):
        out.setdefault(key, value)
    return out


def _seconds(text: str) -> float:
    """`1-02:03:04`, `02:03:04` or `03:04`."""
    days, _, clock = text.rpartition("-")
    total = 0
    for part in clock.split(":"):
        total = total * 60 + (int(part) if part.isdigit() else 0)
    return float(total + (int(days) * 86400 if days.isdigit() else 0))


def _bytes(text: str) -> float | None:
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGT]?)", text)
    return float(match[1]) * _SIZES[match[2]] if match and float(match[1]) else None


def _higher(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _instant(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None  # Unknown, None

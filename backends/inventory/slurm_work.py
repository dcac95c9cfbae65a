"""What Slurm told, as what a draft is made of: workloads are jobs of one name, user and partition that had GPUs; what is without is counted."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterator, Sequence

from backends.inventory.environment import environment_text
from backends.inventory.image import framework_of_image
from backends.inventory.seen import Legacy, Node, Told, Work
from backends.inventory.slurm import Kind, SlurmSeen
from backends.inventory.slurm_text import Job, NodeTold, Run
from backends.inventory.written import card_name, class_by_words, duration, quoted, size
from backends.listed import counted

MOST = 200  # workloads of a draft
_SPOT = re.compile(r"(?i)(?:^|[-_.])(?:spot|preempt(?:ible|able)?)(?:$|[-_.])")
_ON_DEMAND = re.compile(r"(?i)(?:^|[-_.])on-?demand(?:$|[-_.])")


def legacy_of_slurm(seen: SlurmSeen) -> Legacy:
    with_gpus = [kind for kind in seen.kinds if kind.has_gpus]
    with_gpus.sort(
        key=lambda kind: -sum(r.gpus * r.seconds for r in kind.runs) - sum((j.gpus or 0) * j.seconds for j in kind.jobs)
    )
    kinds = with_gpus[:MOST]
    used = {name for kind in kinds for job in kind.jobs if job.gpus for name in job.nodes}
    kept = [node for node in seen.nodes if node.count or node.name in used]
    login = seen.login
    nodes = [_node(node) for node in kept]
    if login is not None:
        nodes.insert(0, _login(seen))
    return Legacy(
        asked="slurm",
        nodes=tuple(nodes),
        works=tuple(_work(kind, seen) for kind in kinds),
        stores=tuple(_stores(seen, kinds)),
        heads=tuple(_heads(seen, len(with_gpus), len(kept))),
        data=tuple(_data(seen, kinds)),
        nothing="no job with a GPU runs, waits or was told of",
    )


def _login(seen: SlurmSeen) -> Node:
    assert seen.login is not None
    login = seen.login
    notes = ("the login host: Slurm's commands are there; name it first in runs_on of what is stopped by Slurm",)
    return Node(login.name, login.address, login.user, login.port, notes=notes)


def _node(node: NodeTold) -> Node:
    gpus = None
    if node.count:
        card = f"type: {quoted(card_name(node.cards[0]))}, " if node.cards else ""
        named = "the site's own name of the card" if node.cards else "which card is not told"
        gpus = Told(f"{{{card}count: {node.count}}}", f"seen: Gres={node.gres} (scontrol); {named}")
    spot = next((f for f in node.features if _SPOT.search(f)), None)
    kept = next((f for f in node.features if _ON_DEMAND.search(f)), None)
    notes = [f"{node.cores} core{'' if node.cores == '1' else 's'}, {node.memory_mib} MiB, {node.state}"]
    if node.features:
        notes.append(f"features {', '.join(node.features)}")
    if len(node.cards) > 1:
        notes.append("different GPUs in one node: the plan has one type a host")
    if spot is None:
        notes.append(f"spot: not one, by its feature {kept}" if kept else "spot: not known: no feature of the node says")
    return Node(
        node.name,
        node.address,
        gpus=gpus,
        spot=Told("true", f"inferred: the feature {spot} of the node") if spot else None,
        notes=tuple(notes),
    )


def _heads(seen: SlurmSeen, with_gpus: int, kept: int) -> Iterator[str]:
    yield from (f"partition {told}" for told in seen.partitions)
    yield from seen.notes
    yield "drivers and CUDA: not told by Slurm: cutover inventory NODE… tells them"
    if seen.login is not None:
        yield f"looked at from {seen.login.name}: where nodes are reached through it only, give each `via: {seen.login.name}`"
    if with_gpus > MOST:
        yield f"{counted(with_gpus - MOST, 'kind of jobs')} with GPUs left out, those with the fewest GPU hours"
    if with_gpus < len(seen.kinds):
        yield f"{counted(len(seen.kinds) - with_gpus, 'kind of jobs')} without GPUs left out"
    untold = sum(1 for kind in seen.kinds if not kind.runs and all(job.gpus is None for job in kind.jobs))
    if untold:
        yield f"of {untold} of these it is not told whether they have GPUs"
    if kept < len(seen.nodes):
        yield f"{counted(len(seen.nodes) - kept, 'node')} without GPUs left out"


def _stores(seen: SlurmSeen, kinds: Sequence[Kind]) -> Iterator[Told]:
    found: dict[str, str] = {}
    for kind in kinds:
        for url in kind.script.stores if kind.script is not None else ():
            found.setdefault(url + "/", f"seen: in the script of jobs `{kind.name}`")
        for folder in kind.folders:
            if seen.login is not None and folder != "/":
                found.setdefault(
                    f"ssh://{seen.login.name}{folder.rstrip('/')}/", f"seen: WorkDir of jobs `{kind.name}`{_room(seen, folder)}"
                )
    for url, source in found.items():
        yield Told(url, source)


def _data(seen: SlurmSeen, kinds: Sequence[Kind]) -> Iterator[str]:
    if seen.login is None:
        for folder in dict.fromkeys(folder for kind in kinds for folder in kind.folders):
            yield f"WorkDir {folder}{_room(seen, folder)}"
    yield "what jobs read and write beside their WorkDir and the URLs in their scripts, and how it grows: not told by Slurm"


def _room(seen: SlurmSeen, folder: str) -> str:
    if (told := seen.folders.get(folder)) is None:
        return "; its size is not told"
    mounted, total, used = told
    return f"; its file system {mounted}: {size(used)} used of {size(total)} (df)"


def _work(kind: Kind, seen: SlurmSeen) -> Work:
    running = [job for job in kind.jobs if job.state == "RUNNING"]
    counts = [f"{len(running)} running" if running else "", _waiting(kind.jobs, running)]
    counts.append(f"{len(kind.runs)} in {seen.days} days" if kind.runs else "")
    now = max((job.gpus for job in kind.jobs if job.gpus), default=0)
    past = max((run.gpus for run in kind.runs), default=0)
    images = kind.script.images if kind.script is not None else ()
    framework = framework_of_image(images[0], "in its script") if len(images) == 1 else None
    told = f"seen: the largest job's ({'squeue' if now >= past else 'sacct'}); memory: {_gpu_memory(kind.runs)}"
    return Work(
        name=kind.name,
        source=f"seen: jobs `{kind.name}` of {kind.user} in partition {kind.partition}: {', '.join(c for c in counts if c)}",
        kind=_class(kind),
        gpus=Told(f"{{count: {max(now, past)}}}", told),
        fields=((("framework", framework),) if framework is not None else ()) + tuple(_of_history(kind.runs, seen.days)),
        hosts=tuple(dict.fromkeys(host for job in running for host in job.nodes)),
        hosts_source="seen: where it runs in this one look",
        notes=tuple(_notes(kind, running, framework is not None)),
    )


def _waiting(jobs: Sequence[Job], running: Sequence[Job]) -> str:
    waiting = [job for job in jobs if job.state == "PENDING"]
    other = len(jobs) - len(running) - len(waiting)
    arrays = " (an array counts once)" if any(job.is_array for job in waiting) else ""
    return ", ".join(filter(None, (f"{len(waiting)} waiting{arrays}" if waiting else "", f"{other} suspended" if other else "")))


def _class(kind: Kind) -> Told:
    command = next((job.command for job in kind.jobs if job.command), "")
    words = kind.script.words if kind.script is not None else ""
    for text, where in ((kind.name, "name"), (command, "script's name"), (words, "script")):
        if (found := class_by_words(text)) is not None:
            return Told(found[0], f"inferred: `{found[1]}` in its {where}")
    if any(job.is_array for job in kind.jobs):
        return Told("batch", "inferred: an array of jobs")
    return Told("batch", "not known: nothing in its name or script says; realtime, batch, training or pipeline")


def _notes(kind: Kind, running: Sequence[Job], is_image_told: bool) -> Iterator[str]:
    yield f"quiesce: {{slurm: {quoted(kind.partition)}}}  # inferred: its partition; this stops all that is queued there"
    if running:
        yield f"running for {duration(max(job.seconds for job in running))} at the longest"
    if command := next((job.command for job in kind.jobs if job.command), ""):
        yield f"its script: {command}"
    yield from (f"works in {folder}" for folder in kind.folders)
    if kind.script is None:
        yield "image, modules, environment: its script was not read"
        return
    if kind.script.images and not is_image_told:
        yield f"framework: say which; images seen in its script: {', '.join(kind.script.images)}"
    if kind.script.modules:
        yield f"modules: {', '.join(kind.script.modules)}"
    if kind.script.environment:
        yield f"environment that its script sets, names only: {environment_text(kind.script.environment)}"


def _gpu_memory(runs: Sequence[Run]) -> str:
    peak = max((r.gpu_memory for r in runs if r.gpu_memory), default=None)
    return f"{size(peak)} at the peak, over a task's GPUs (sacct)" if peak else "not told by Slurm"


def _of_history(runs: Sequence[Run], days: int) -> Iterator[tuple[str, Told]]:
    memory = [r.memory for r in runs if r.memory]
    if memory:
        told = f"seen: the highest MaxRSS of a task, of {len(memory)} runs in {days} days (sacct)"
        yield "host_memory", Told(size(max(memory)), told)
    ended = [r.seconds for r in runs if r.state == "COMPLETED" and r.seconds > 0]
    if ended:
        told = f"seen: the median of {len(ended)} completed runs in {days} days, {duration(max(ended))} at the longest (sacct)"
        yield "duration", Told(duration(statistics.median(ended)), told)
    starts = sorted(r.start for r in runs if r.start is not None)
    gaps = [b - a for a, b in itertools.pairwise(starts) if b > a]
    if len(gaps) >= 2 and (not ended or statistics.median(gaps) >= statistics.median(ended)):
        told = f"seen: the median between the starts of {len(starts)} runs in {days} days (sacct)"
        yield "every", Told(duration(statistics.median(gaps)), told)

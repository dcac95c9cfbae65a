"""Container images: those that hosts hold, those that they are yet to pull, each against the host it is to run on and against legacy's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from backends.errors import CutoverError
from backends.escape import plain
from backends.live.docker_config import docker_config, login_of
from backends.live.facts import Image, version_of
from backends.live.found import Found
from backends.live.host_judge import Seen, compared_with, runs_there
from backends.live.image_name import image_name
from backends.live.registry import Offered, ask_registry
from backends.plan.document import Path as Place
from backends.plan.models import Plan, Workload
from backends.plan.problems import Severity
from backends.vocabulary import SIDES

Finding = Callable[[Severity, str, str, str, str], Found]

LIMIT = 30.0
AT_ONCE = 8
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "i386": "386", "armv7l": "arm", "ppc64le": "ppc64le"}


def images_of(plan: Plan) -> list[str]:
    """Every image that the plan names, as hosts are asked for them."""
    names = [w.framework.image_on(side) for w in plan.workloads if w.framework is not None for side in SIDES]
    return list(dict.fromkeys(name for name in names if name))


def to_pull(plan: Plan, seen: Sequence[Seen]) -> dict[str, Place]:
    """The images that some host of target lacks, or that no host can be asked for, and their place in the plan."""
    out: dict[str, Place] = {}
    for i, workload in enumerate(plan.workloads):
        name = workload.framework.image_on("target") if workload.framework is not None else None
        if name is None:
            continue
        hosts = [s for s in seen if s.side == "target" and s.host.name in workload.runs_on.target and s.facts is not None]
        if any(held(s, name) is None for s in hosts) or not workload.runs_on.target:
            out.setdefault(name, _place(i, workload))
    return out


def _place(index: int, workload: Workload) -> Place:
    assert workload.framework is not None
    return ("workloads", index, "framework", "target_image" if workload.framework.target_image else "image")


def held(seen: Seen, name: str) -> Image | None:
    """The image where it lies on that host already."""
    image = seen.facts.images.get(name) if seen.facts is not None else None
    return image if image is not None and image.error is None else None


def pulled_by(seen: Seen, offered: Mapping[str, Offered]) -> dict[str, Image]:
    """What the host would get of each image that a registry offers, by the kind of machine that it is."""
    if seen.facts is None:
        return {}
    architecture = ARCHITECTURES.get(seen.facts.machine or "", seen.facts.machine or "")
    found = {name: one.platforms.get(architecture) for name, one in offered.items()}
    return {name: image for name, image in found.items() if image is not None}


async def ask_images(
    plan: Plan, seen: Sequence[Seen], base: Path, seconds: float = LIMIT
) -> tuple[dict[str, Offered], list[Found]]:
    """What registries offer of the images that are yet to be pulled, and those that they do not, within so many seconds. Never raises for it."""
    config = docker_config(plan.docker_config, base)
    turn = asyncio.Semaphore(AT_ONCE)
    until = asyncio.get_running_loop().time() + min(seconds, LIMIT)

    async def ask(text: str, place: Place) -> Offered | Found:
        name = image_name(text)
        if name is None:
            told = "it is no name of an image"
            return Found(
                "error",
                "image_name",
                f"the image {plain(text, 120)} cannot be pulled",
                told,
                "REGISTRY/NAME:TAG",
                place,
                "target",
            )
        try:
            async with asyncio.timeout_at(until), turn:
                login = await login_of(name.registry, config, is_given=plan.docker_config is not None)
                return await ask_registry(name, login)
        except TimeoutError:
            code, told, cure = "registry", f"{name.host} does not tell of it in time", "the network, then again"
        except CutoverError as error:
            code, told, cure = error.code, error.message, error.hint or "the registry, its name, the login"
        return Found("error", code, f"the image {plain(text, 120)} cannot be pulled", told, cure, place, "target")

    wanted = to_pull(plan, seen)
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(ask(name, place), name=f"image {name}") for name, place in wanted.items()}
    results = {name: task.result() for name, task in tasks.items()}
    offered = {name: one for name, one in results.items() if isinstance(one, Offered)}
    return offered, [one for one in results.values() if isinstance(one, Found)]


def judge_images(plan: Plan, seen: Sequence[Seen], offered: Mapping[str, Offered]) -> Iterator[Found]:
    """Every workload's image on every host that it runs on, each difference once. Pure."""
    for host in seen:
        for i, workload in runs_there(plan, host):
            name = workload.framework.image_on(host.side) if workload.framework is not None else None
            if name is not None and host.facts is not None:
                yield from _judge(plan, host, i, workload, name, seen, offered)


def _judge(
    plan: Plan, host: Seen, index: int, workload: Workload, name: str, seen: Sequence[Seen], offered: Mapping[str, Offered]
) -> Iterator[Found]:
    place: Place = ("workloads", index, "framework", "image") if host.side == "legacy" else _place(index, workload)

    def found(severity: Severity, code: str, message: str, evidence: str, cure: str) -> Found:
        return Found(severity, code, message, evidence, cure, place, host.side, host.host.name)

    assert host.facts is not None
    assert workload.framework is not None
    if host.facts.toolkit is False and workload.gpus is not None:
        yield found(
            "error", "container_toolkit", f"lacks NVIDIA's container toolkit: the image of {workload.name} would see no GPU",
            "neither nvidia-ctk nor nvidia-container-runtime is there", "install nvidia-container-toolkit",
        )  # fmt: skip
    there = held(host, name)
    if there is None:
        asked = host.facts.images.get(name)
        why = asked.error if asked is not None and asked.error else "it was not asked for"
        yield found("warning", "image_missing", f"does not hold the image of {workload.name}", why, "pull it before the window")
    image = there or (pulled_by(host, offered).get(name) if host.side == "target" else None)
    machine = host.facts.machine
    wanted = ARCHITECTURES.get(machine or "")
    if image is None:
        if host.side == "target" and name in offered and wanted is not None:
            told = f"{machine}; there is {', '.join(sorted(offered[name].platforms)) or 'none'} for Linux"
            yield found(
                "error", "image_architecture", f"is a kind of machine that the image of {workload.name} is not built for", told,
                "build it for that platform too, or take other instances",
            )  # fmt: skip
        return
    if image.machine is not None and wanted is not None and image.machine != wanted:
        yield found(
            "error", "image_architecture", f"holds an image of {workload.name} that is built for another kind of machine",
            f"{image.machine} on {machine}", "pull it with --platform, or build it for that platform too",
        )  # fmt: skip
    version, packed = version_of(workload.framework.version), version_of(image.pytorch)
    if version and packed and workload.framework.name.lower() in ("pytorch", "torch") and packed[: len(version)] != version:
        verb = "holds" if there is not None else "would pull"
        yield found(
            "error", "image_framework", f"{verb} an image of {workload.name} with another version than {workload.framework.version}",
            f"PYTORCH_VERSION is {image.pytorch}", "the image's tag, or the plan's version",
        )  # fmt: skip
    if host.side == "target":
        yield from _against_legacy(plan, host, workload, image, there is not None, seen, found)


def _against_legacy(
    plan: Plan, host: Seen, workload: Workload, image: Image, is_held: bool, seen: Sequence[Seen], found: Finding
) -> Iterator[Found]:
    name = workload.framework.image if workload.framework is not None else None
    theirs = [one for s in compared_with(plan, host, seen) if name is not None and (one := held(s, name)) is not None]
    if theirs and all(_is_other(image, one) for one in theirs):
        message = f"{'holds' if is_held else 'would pull'} another image under the tag of {workload.name} than legacy"
        yield found(
            "error", "image_differs", message, f"{_id(image)}, legacy {_id(theirs[0])}", "pull it by digest on both sides"
        )


def _is_other(mine: Image, theirs: Image) -> bool:
    """No digest and no id in common, where both tell of one."""
    ours, others = {*mine.digests, mine.id} - {None}, {*theirs.digests, theirs.id} - {None}
    return bool(ours and others) and not ours & others


def _id(image: Image) -> str:
    return (image.digests[0] if image.digests else image.id or "?")[:26]

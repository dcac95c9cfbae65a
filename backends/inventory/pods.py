"""A pod's specification: GPUs it asks for, images, commands, variables, volumes. As an API server gives it, and never trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backends.inventory.environment import hashed
from backends.inventory.untyped import labels, part, parts, quantity, text, texts
from backends.probes.agent.work import STORE

GPUS = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "amd.com/gpu")
_SLICE = re.compile(r"nvidia\.com/mig-[0-9a-z.+]{1,40}")


@dataclass(frozen=True, slots=True)
class Volume:
    """`kind` is `claim`, `host` or `nfs`; `where` the claim's name, the host's path, or server and path. `at` where containers see it."""

    kind: str
    where: str
    at: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PodSpec:
    """`gpus` and `slices` (of MIG) of one pod; `image` is that of the container with GPUs, else of the first. Bytes of memory. `environment` from names to
    hashes of what is secret-like, `given` tells of variables that come from elsewhere, `words` are searched and never shown."""

    gpus: int
    slices: tuple[str, ...]
    image: str
    images: tuple[str, ...]
    words: str
    memory: float | None
    is_limit: bool
    environment: dict[str, str]
    given: tuple[str, ...]
    stores: tuple[str, ...]
    volumes: tuple[Volume, ...]
    ports: tuple[int, ...]
    selector: dict[str, str]


def parse_pod(spec: Any, key: bytes) -> PodSpec:
    """`key` is what values of secret-like variables are hashed under. Init containers come before the others: the larger need counts."""
    containers = list(parts(spec, "containers"))
    first = list(parts(spec, "initContainers"))
    needs = [_needed(one) for one in containers]
    gpus = max(sum(n[0] for n in needs), max((_needed(one)[0] for one in first), default=0))
    holders = [one for one, need in zip(containers, needs, strict=True) if need[0] or need[1]] or containers[:1]
    words = "\0".join(word for one in containers for word in (*texts(one, "command"), *texts(one, "args")))
    variables: dict[str, str] = {}
    given: list[str] = []
    for one in containers:
        variables |= _variables(one, given)
    values = "\0".join((words, *variables.values()))
    limits = [quantity(part(one, "resources", "limits").get("memory")) for one in containers]
    requests = [quantity(part(one, "resources", "requests").get("memory")) for one in containers]
    are_limited = bool(limits) and all(limits)
    memory = sum(filter(None, limits if are_limited else requests))
    return PodSpec(
        gpus=gpus,
        slices=tuple(dict.fromkeys(name for need in needs for name in need[1])),
        image=next((text(one, "image") for one in holders), ""),
        images=tuple(dict.fromkeys(text(one, "image") for one in containers if text(one, "image"))),
        words=words.replace("\0", " "),
        memory=memory or None,
        is_limit=are_limited,
        environment=hashed(variables, key),
        given=tuple(dict.fromkeys(given)),
        stores=tuple(dict.fromkeys(f"{scheme}://{place}" for scheme, place in STORE.findall(values))),
        volumes=tuple(_volumes(spec, containers)),
        ports=tuple(
            dict.fromkeys(
                port["containerPort"]
                for one in containers
                for port in parts(one, "ports")
                if isinstance(port.get("containerPort"), int)
            )
        ),
        selector=labels(spec, "nodeSelector"),
    )


def _needed(container: dict[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Whole GPUs, and names of slices."""
    asked = part(container, "resources", "requests") | part(container, "resources", "limits")
    count = sum(int(quantity(asked.get(name)) or 0) for name in GPUS)
    return count, tuple(name for name in asked if _SLICE.fullmatch(name) and quantity(asked[name]))


def _variables(container: dict[str, Any], given: list[str]) -> dict[str, str]:
    """Those with a value; what comes from a Secret, a ConfigMap or the pod itself is added to `given`, by name."""
    out: dict[str, str] = {}
    for one in parts(container, "env"):
        name = text(one, "name")
        if not name:
            continue
        for kind, what in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if source := part(one, "valueFrom", kind):
                given.append(f"{name} from {what} {text(source, 'name')}/{text(source, 'key')}")
        if "valueFrom" not in one:
            out[name] = text(one, "value")
    for one in parts(container, "envFrom"):
        for kind, what in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            if source := part(one, kind):
                given.append(f"all of {what} {text(source, 'name')}")
    return out


def _volumes(spec: Any, containers: list[dict[str, Any]]) -> Iterator[Volume]:
    mounted: dict[str, list[str]] = {}
    for container in containers:
        for mount in parts(container, "volumeMounts"):
            mounted.setdefault(text(mount, "name"), []).append(text(mount, "mountPath"))
    for one in parts(spec, "volumes"):
        at = tuple(dict.fromkeys(mounted.get(text(one, "name"), ())))
        if claim := text(one, "persistentVolumeClaim", "claimName"):
            yield Volume("claim", claim, at)
        elif path := text(one, "hostPath", "path"):
            yield Volume("host", path, at)
        elif server := text(one, "nfs", "server"):
            yield Volume("nfs", f"{server}:{text(one, 'nfs', 'path')}", at)

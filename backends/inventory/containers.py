"""Containers that run on a host and since when its units are active, as the host told (`backends.probes.agent.running`), parsed and never trusted; and
the framework in an image, from what its container shows, its variables, its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.escape import plain
from backends.inventory.image import FRAMEWORKS, framework_of_image, framework_word
from backends.inventory.seen import Told
from backends.inventory.untyped import labels, part, parts, text, texts
from backends.inventory.written import quoted
from backends.live.facts import Package
from backends.live.image_name import image_name

_ID = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VARIABLES = {
    "torch": ("PYTORCH_VERSION", "NVIDIA_PYTORCH_VERSION"),
    "tensorflow": ("TENSORFLOW_VERSION", "NVIDIA_TENSORFLOW_VERSION"),
    "jax": ("JAX_VERSION",),
    "vllm": ("VLLM_VERSION",),
}
_SERVERS = ("vllm",)  # what has another framework below it


@dataclass(frozen=True, slots=True)
class Container:
    """`name` as its tool calls it, `pod` namespace and name where Kubernetes runs it; `digests` are `REPOSITORY@sha256:…`; `versions` variables of
    the image, `packages` what its files hold, where they were looked at and may be read."""

    id: str
    name: str
    pod: str
    image: str
    digests: tuple[str, ...]
    versions: Mapping[str, str]
    packages: tuple[Package, ...]
    by: str

    @property
    def pulled_as(self) -> str:
        """The image as the plan takes it: by its name, else by its digest; empty where it has neither."""
        if self.image and not _ID.fullmatch(self.image) and image_name(self.image) is not None:
            return self.image
        return next((d for d in self.digests if image_name(d) is not None), "")

    @property
    def digest(self) -> str:
        """Of the image in a registry; empty where it was built here."""
        return next((found[0] for d in self.digests if (found := _DIGEST.search(d)) is not None), "")


@dataclass(frozen=True, slots=True)
class Running:
    """`untold` are tools that are there and do not tell, and why; `units` hours that each has been active."""

    containers: tuple[Container, ...] = ()
    untold: tuple[str, ...] = ()
    units: Mapping[str, float] | None = None


def parse_running(value: Any) -> Running:
    """From what the host printed; what does not fit is left out."""
    units = {
        name: float(hours)
        for name, hours in part(value, "units").items()
        if isinstance(hours, int | float) and not isinstance(hours, bool) and 0 <= hours < 1e6
    }
    return Running(tuple(_containers(value)), tuple(plain(one, 300) for one in texts(value, "untold")), units)


def _containers(value: Any) -> Iterator[Container]:
    for one in parts(value, "containers"):
        if not _ID.fullmatch(text(one, "id")):
            continue
        yield Container(
            text(one, "id"),
            plain(text(one, "name"), 120),
            plain(text(one, "pod"), 200),
            plain(text(one, "image"), 300),
            tuple(plain(d, 300) for d in texts(one, "digests")),
            {name: plain(told, 60) for name, told in labels(one, "versions").items()},
            tuple(_packages(one)),
            plain(text(one, "by"), 20),
        )


def _packages(one: dict[str, Any]) -> Iterator[Package]:
    found = one.get("packages")
    for row in found if isinstance(found, list) else ():
        if isinstance(row, list) and len(row) == 4 and isinstance(row[0], str) and isinstance(row[1], str):
            cuda = plain(row[2], 20) if isinstance(row[2], str) else None
            yield Package(plain(row[0], 40), plain(row[1], 60), cuda, plain(str(row[3]), 200))


def container_text(found: Container) -> str:
    """`chat: vllm/vllm-openai:v0.6.3, digest sha256:…, torch 2.4.1 (docker)`."""
    named = found.name or found.id[:12]
    pod = f" of pod {found.pod}" if found.pod else ""
    digest = f", digest {found.digest}" if found.digest else ", no digest: its image is in no registry that it was pulled from"
    told = "".join(f", {name} {version}" for name, version in found.versions.items())
    return f"container {named}{pod}: {found.image or 'an image without a name'}{digest}{told} ({found.by})"


def framework_of_container(found: Container, host: str) -> Told | None:
    """The plan's `framework`: which one by the image's name where that says, else the only one that is seen in it. None where that stays open."""
    where = (
        f"in container {found.name or found.id[:12]} on {host}, by {found.by}{f', digest {found.digest}' if found.digest else ''}"
    )
    seen = _seen_in(found)
    word = framework_word(found.pulled_as) if found.pulled_as else None
    package = next((p for p, name in FRAMEWORKS.items() if name == word), None)
    if package is None or package not in seen:
        package = next((p for p in _SERVERS if p in seen), None) or (next(iter(seen)) if len(seen) == 1 else None)
    if package is None:
        return framework_of_image(found.pulled_as, where) if found.pulled_as else None
    version, cuda, source = seen[package]
    cuda = cuda or seen.get("torch", ("", "", ""))[1] or found.versions.get("CUDA_VERSION", "")
    fields = [f"name: {FRAMEWORKS[package]}", f"version: {quoted(version)}"]
    fields += [f"cuda: {quoted('.'.join(cuda.split('.')[:2]))}"] if cuda else []
    fields += [f"image: {quoted(found.pulled_as)}"] if found.pulled_as else []
    return Told(f"{{{', '.join(fields)}}}", f"version seen: {source}; image seen: {where}")


def _seen_in(found: Container) -> dict[str, tuple[str, str, str]]:
    """By package: version, CUDA that it was built for, and from what; what its files hold before what its variables say."""
    out: dict[str, tuple[str, str, str]] = {}
    for package in FRAMEWORKS:
        versions = {(p.version.partition("+")[0], p.cuda or "") for p in found.packages if p.name == package}
        variable = next((name for name in _VARIABLES.get(package, ()) if name in found.versions), "")
        if len(versions) == 1:
            [(version, cuda)] = versions
            folder = next(p.folder for p in found.packages if p.name == package)
            out[package] = (version, cuda, f"{package} in {folder} of its files")
        elif not versions and variable:
            out[package] = (found.versions[variable].lstrip("v"), "", f"{variable} of its image")
    return out

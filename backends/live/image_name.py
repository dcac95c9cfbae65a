"""Names of container images, read as docker and podman read them: `registry.example.net:5000/corp/chat:v3@sha256:…`.

The grammar is that of `distribution/reference`: the first part is a registry where it holds a dot or a colon, or is `localhost`; else the image is
Docker Hub's, whose API has another host than its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HUB, HUB_HOST = "docker.io", "registry-1.docker.io"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,45}\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class ImageName:
    """`registry` as people write it (`docker.io`); `reference` is the digest where one is given, else the tag."""

    registry: str
    repository: str
    reference: str

    @property
    def host(self) -> str:
        """Where the registry's API is, with its port where one is given."""
        return HUB_HOST if self.registry == HUB else self.registry

    @property
    def is_pinned(self) -> bool:
        """Does it name the very image, and no tag that may be moved?"""
        return DIGEST.fullmatch(self.reference) is not None


def image_name(text: str) -> ImageName | None:
    """None for what is no name of an image."""
    rest, at, digest = text.partition("@")
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry = HUB if first in (HUB, "index.docker.io", HUB_HOST) else first
    else:
        registry, path = HUB, rest
    repository, colon, tag = path.partition(":")
    if registry == HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not _HOST.fullmatch(registry) or not _PATH.fullmatch(repository) or len(repository) > 255:
        return None
    if (colon and not _TAG.fullmatch(tag)) or (at and not DIGEST.fullmatch(digest)):
        return None
    return ImageName(registry, repository, digest or tag or "latest")

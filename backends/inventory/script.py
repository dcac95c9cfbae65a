"""What a job's script tells: container images, modules, stores and the names of variables that it sets. Nothing else of it is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from backends.inventory.environment import hashed
from backends.probes.agent.work import STORE

MOST = 20
_IMAGES = (
    re.compile(r"--container-image[= ]\s*[\"']?([A-Za-z0-9./:@#_+-]{1,300})"),
    re.compile(
        r"\b(?:singularity|apptainer)\s+(?:exec|run)\b[^\n;|&]{0,500}?\s[\"']?((?:docker|oras)://[A-Za-z0-9./:@_+-]{1,300}|[A-Za-z0-9./_+-]{1,300}\.sif)\b"
    ),
)
_MODULES = re.compile(r"^\s*(?:module|ml)\s+(?:load\s+|add\s+)?([A-Za-z0-9./_+ -]{1,300})$", re.MULTILINE)
_EXPORT = re.compile(r"^\s*export\s+([A-Za-z_][A-Za-z0-9_]{0,79})=(.*)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*#(?!SBATCH).*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """`words` is its text without comments, to be searched and not shown; `environment` from names to hashes of what is secret-like."""

    words: str = field(default="", repr=False)
    images: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def parse_script(text: str, key: bytes) -> Script:
    words = _COMMENT.sub("", text)
    images = dict.fromkeys(found for form in _IMAGES for found in form.findall(words))
    modules = dict.fromkeys(name for line in _MODULES.findall(words) for name in line.split())
    stores = dict.fromkeys(f"{scheme}://{place}" for scheme, place in STORE.findall(words))
    variables = {name: value.strip().strip("\"'") for name, value in _EXPORT.findall(words)}
    return Script(words, tuple(images)[:MOST], tuple(modules)[:MOST], tuple(stores)[:MOST], hashed(variables, key))

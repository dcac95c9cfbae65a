"""How a draft writes what others call things: names that a plan takes, text that YAML reads back, quantities, a class by words of a command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from backends.catalog.errors import UnknownGpu
from backends.catalog.tables import find_gpu
from backends.escape import plain

_SERVES = ("vllm", "tritonserver", "text-generation", "sglang", "uvicorn", "gunicorn", "torchserve", "ollama", "llama-server")
_TRAINS = ("torchrun", "torch.distributed", "deepspeed", "accelerate", "train", "pretrain", "finetune", "megatron", "horovod")
_PIPELINES = ("airflow", "prefect", "dagster", "kubeflow", "luigi")
_WORDS = (("realtime", _SERVES), ("training", _TRAINS), ("pipeline", _PIPELINES))
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NO_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def class_by_words(text: str) -> tuple[str, str] | None:
    """The class that a word of a name or a command tells, and the word: `train` does, `constraint` does not."""
    low = text.lower()
    for kind, words in _WORDS:
        for word in words:
            if re.search(rf"(?<![a-z]){re.escape(word)}", low):
                return kind, word
    return None


def card_name(name: str) -> str:
    """The catalogue's name where it knows the card, else as its tool calls it."""
    try:
        return find_gpu(name).name
    except UnknownGpu:
        return plain(name, 80)


def plan_name(text: str) -> str:
    """What the plan takes for a name."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64]
    return kept or "unnamed"


def plan_names(texts: Iterable[str]) -> list[str]:
    """The same for several, each of its own: the second of a name is `name-2`."""
    taken: set[str] = set()
    out = []
    for text in texts:
        name = first = plan_name(text)
        number = 1
        while name in taken:
            number += 1
            name = f"{first[:57]}-{number}"
        taken.add(name)
        out.append(name)
    return out


def quoted(text: str) -> str:
    """As YAML reads it: bare where it is plainly a word, else a JSON string, which YAML reads too; what is odd in it is escaped for good."""
    if _BARE.fullmatch(text) and text.lower() not in _NO_WORDS:
        return text
    return json.dumps(plain(text), ensure_ascii=False)


def duration(seconds: float) -> str:
    """As a plan takes it, to three figures; never less than a second."""
    for unit_seconds, unit in _UNITS:
        if seconds >= unit_seconds:
            return f"{float(f'{seconds / unit_seconds:.3g}'):.15g}{unit}"
    return f"{max(1, round(seconds))}s"


def size(count: float) -> str:
    """Bytes as a plan takes them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"

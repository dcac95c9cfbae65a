"""What a look at legacy found, whatever was asked: hosts by SSH, Slurm or Kubernetes. Each value of the plan with its source; nothing of it is escaped yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """A value of the plan, as YAML takes it, and from what."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Node:
    """A host of the plan. `gpus` is the flow mapping that the plan takes; `heads` are comments above it, `notes` below."""

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    gpus: Told | None = None
    spot: Told | None = None
    region: Told | None = None
    heads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """Processes, jobs or pods that are one workload; `fields` as (name, value): framework, host_memory, duration, every."""

    name: str
    source: str
    kind: Told
    gpus: Told | None = None
    fields: tuple[tuple[str, Told], ...] = ()
    hosts: tuple[str, ...] = ()
    hosts_source: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Legacy:
    """`heads`, `data` and `entries` are comments: about all of it, about stored data, about how clients come in. `stores` has URLs as values."""

    asked: str  # what was asked for: `HOST`, `slurm`, `kubernetes`
    nodes: tuple[Node, ...]
    works: tuple[Work, ...]
    stores: tuple[Told, ...] = ()
    provider: Told | None = None
    region: Told | None = None
    heads: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    nothing: str = "nothing with a GPU was seen in this one look"

"""A round's fleet from the plan: which hosts, and what they are told of the two stores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.plan.models import Plan
from backends.plan.models import Store as StoreSpec
from backends.plan.rules.workers import can_help
from backends.stores.plan_secret import plan_secret
from backends.transfer.workers.fleet import Fleet, Worker

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool

_SECRETS = ("access_key", "secret_key", "session_token")


def fleet_of(plan: Plan, pool: SshPool | None, base: Path, source: str, target: str) -> Fleet | None:
    """The plan's workers for a round from one store to the other; None where they cannot help."""
    if pool is None or not can_help(plan, source, target):
        return None
    stores = partial(told_stores, plan, base, source, target)
    program, ours = plan.transfer.worker_program, version("gpu-cutover")
    return Fleet([Worker(host, pool, program, ours, stores) for host in plan.transfer.workers])


async def told_stores(plan: Plan, base: Path, source: str, target: str, anew: bool) -> Mapping[str, Any]:
    """Both stores with their secrets resolved, `anew` where a store refused the last. Where the plan gives no keys the worker finds its
    own, as this machine finds its. Raises `StoreDenied` and `StoreUnreachable`."""
    sides = {"source": source, "target": target}
    return {
        side: {"name": name, "spec": await asyncio.to_thread(_told, name, plan.stores[name], base, anew)}
        for side, name in sides.items()
    }


def _told(name: str, spec: StoreSpec, base: Path, anew: bool) -> dict[str, Any]:
    told = spec.model_dump(mode="json", exclude_none=True, by_alias=True)
    for field in _SECRETS:
        if field in told:
            told[field] = plan_secret(name, field, told[field], base=base, anew=anew)
    return told

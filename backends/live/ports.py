"""Can the hosts themselves come to the stores that their work reads and writes? A firewall is seen from where it stands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from backends.escape import plain
from backends.live.found import Found
from backends.live.host_judge import Seen, runs_there
from backends.plan.models import Dataset, Plan, Store
from backends.probes.endpoints import EndpointSeen, look_from
from backends.ssh.pool import SshPool
from backends.stores.open import parse_url
from backends.vocabulary import SideName

TIMEOUT = 5.0


def endpoint_of(name: str, spec: Store) -> str | None:
    """Where a store that speaks HTTP is; None for trees, and where only its account would say."""
    if spec.endpoint:
        parts = urlsplit(spec.endpoint)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/" if parts.scheme in ("http", "https") else None
    url = parse_url(name, spec.url)
    if url.scheme == "s3":
        return f"https://s3.{spec.region or 'us-east-1'}.amazonaws.com/"
    if url.scheme == "gs":
        return "https://storage.googleapis.com/"
    if url.scheme == "az":
        return f"https://{spec.account or url.place}.blob.core.windows.net/"
    return None


def store_of(dataset: Dataset, side: SideName) -> str:
    """The store where a workload of that side finds the dataset."""
    return dataset.from_ if side == "legacy" else dataset.to


def wanted(plan: Plan, seen: Seen) -> dict[str, str]:
    """The endpoints that a host has to come to, and the store that each is of."""
    out: dict[str, str] = {}
    datasets = {d.name: d for d in plan.datasets}
    for _, workload in runs_there(plan, seen):
        for name in dict.fromkeys((*workload.datasets, *workload.writes)):
            dataset = datasets.get(name)
            store = store_of(dataset, seen.side) if dataset is not None else ""
            if store in plan.stores and (url := endpoint_of(store, plan.stores[store])) is not None:
                out.setdefault(url, store)
    return out


async def try_ports(plan: Plan, seen: Seen, pool: SshPool) -> list[Found]:
    """From the host, one after another. Never raises for what is found."""
    urls = wanted(plan, seen)
    if not urls:
        return []
    found = await look_from(pool, seen.host.name, list(urls), TIMEOUT)
    return [one for told in found for one in _judge(seen, urls[told.url], told)]


def _judge(seen: Seen, store: str, told: EndpointSeen) -> Iterator[Found]:
    name, path = seen.host.name, ("stores", store)
    if told.status is None and not told.ok:  # any answer at all is a way that is open
        evidence = f"{plain(told.url, 200)}: {told.error}"
        yield Found(
            "error",
            "port",
            f"does not come to the store {store}",
            evidence,
            "firewall, security group, route, name or proxy",
            path,
            seen.side,
            name,
        )
    warning = told.warning(time.time())
    if warning is not None:
        yield Found(
            "warning",
            "certificate",
            f"sees a certificate of the store {store} that ends soon",
            warning,
            "renew it",
            path,
            seen.side,
            name,
        )

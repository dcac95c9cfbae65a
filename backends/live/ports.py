"""Can the hosts themselves come to the stores, endpoints and other hosts that their work needs? A firewall is seen from where it stands."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from backends.escape import plain
from backends.live.found import Found
from backends.live.host_judge import Seen, runs_there
from backends.plan.document import Path
from backends.plan.models import Dataset, Host, Plan, Store, Workload
from backends.plan.references import parse_references, vault_name
from backends.probes.endpoints import EndpointSeen, look_from
from backends.probes.hosts import LOCAL
from backends.ssh.pool import SshPool
from backends.stores.open import parse_url
from backends.vocabulary import SideName

TIMEOUT = 5.0
SSH_PORT = 22
PEERS = 8  # other hosts of a workload that each one asks for


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


@dataclass(frozen=True, slots=True)
class Way:
    """Somewhere that a host has to come to. `what` goes on after `does not come to`; `is_peer`: another host of the same work."""

    url: str
    what: str
    path: Path
    is_peer: bool = False


def wanted(plan: Plan, seen: Seen) -> list[Way]:
    """The stores that its work is in, what its work names, and for a host of target the others that do the same work; each URL once."""
    out: dict[str, Way] = {}
    datasets = {d.name: d for d in plan.datasets}
    for i, workload in runs_there(plan, seen):
        for name in dict.fromkeys((*workload.datasets, *workload.writes)):
            dataset = datasets.get(name)
            store = store_of(dataset, seen.side) if dataset is not None else ""
            if store in plan.stores and (url := endpoint_of(store, plan.stores[store])) is not None:
                out.setdefault(url, Way(url, f"the store {store}", ("stores", store)))
        if seen.side != "target":
            continue
        for k, secret in enumerate(plan.secrets):
            for url in manager_urls(secret.to, plan.target.region):
                out.setdefault(url, Way(url, f"the manager of the secret {secret.name}", ("secrets", k, "to")))
        for j, given in enumerate(workload.reaches):
            url = _at_address(given, plan)
            out.setdefault(url, Way(url, plain(given, 120), ("workloads", i, "reaches", j)))
        for host in _neighbours(plan, workload, seen):
            url = f"tcp://{_bracketed(host.address)}:{host.port or SSH_PORT}"
            what = f"other hosts of {workload.name}, which spans them"
            out.setdefault(url, Way(url, what, ("workloads", i, "runs_on", "target"), is_peer=True))
    return list(out.values())


def manager_urls(text: str, region: str | None) -> list[str]:
    """Where the managers are that references in a text are kept by; nothing of files, variables, and of AWS without a region."""
    out = []
    for reference in parse_references(text):
        if reference.kind == "aws-secret":
            arn = reference.name.split(":")
            where = arn[3] if len(arn) > 6 else os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or region
            given = os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER")
            out += [given] if given else [f"https://secretsmanager.{where}.amazonaws.com/"] if where else []
        elif reference.kind == "gcp-secret":
            out.append(os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or "https://secretmanager.googleapis.com/")
        elif reference.kind in ("azure-secret", "azure-keyvault"):
            out.append(f"{vault_name(reference).vault}/")
    return out


def _at_address(url: str, plan: Plan) -> str:
    """A host of the plan in a URL, by its address."""
    parts = urlsplit(url)
    addresses = {host.name.lower(): host.address for host in plan.target.hosts}
    address = addresses.get(parts.hostname or "")
    if address is None:
        return url
    port = f":{parts.port}" if parts.port is not None else ""
    return parts._replace(netloc=f"{_bracketed(address)}{port}").geturl()


def _neighbours(plan: Plan, workload: Workload, seen: Seen) -> list[Host]:
    """Those after it in the plan's order, round and round, at most `PEERS`: of two hundred hosts not each asks for each."""
    names = list(workload.runs_on.target)
    at = names.index(seen.host.name)
    hosts = {host.name: host for host in plan.target.hosts}
    after = [*names[at + 1 :], *names[:at]][:PEERS]
    return [hosts[name] for name in after if name in hosts and hosts[name].address != LOCAL]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


async def try_ports(plan: Plan, seen: Seen, pool: SshPool) -> list[Found]:
    """From the host. Never raises for what is found. A host without python3 is told of elsewhere."""
    ways = {way.url: way for way in wanted(plan, seen)}
    if not ways or seen.facts is None:
        return []
    found = await look_from(pool, seen.host.name, list(ways), TIMEOUT)
    return [one for told in found for one in judge_way(seen, ways[told.url], told)]


_WHY = {
    "refused": ("port_refused", "it is refused", "what serves there and on which port; else a firewall that rejects"),
    "dropped": (
        "port_dropped",
        "nothing comes back",
        "a firewall, security group or network list that drops it: let that host through",
    ),
    "no_way": ("port_no_way", "there is no way", "routes, peering or VPN of that host's network; else a firewall that says so"),
    "no_name": ("port_no_name", "its name is not known there", "DNS of that host, or the name"),
}


def judge_way(seen: Seen, way: Way, told: EndpointSeen) -> Iterator[Found]:
    """What one connection from a host shows. Any answer at all is a way that is open; of a peer a refusal is one too, since it came from there. Pure."""
    name = seen.host.name
    evidence = f"{plain(told.url, 200)}: {told.error}"
    is_open = told.ok or told.status is not None or (told.kind == "wrong" and way.path[0] == "workloads")
    if way.is_peer:
        if told.kind in ("dropped", "no_way"):
            code, why, cure = _WHY[told.kind]
            cure = f"{cure}; NCCL and launchers choose ports of their own, all between those hosts"
            yield Found("warning", code, f"does not come to {way.what}: {why}", evidence, cure, way.path, seen.side, name)
        return
    if not is_open:
        code, why, cure = _WHY.get(
            told.kind or "", ("port", "it does not answer as it should", "its certificate, a proxy between, what serves there")
        )
        yield Found("error", code, f"does not come to {way.what}: {why}", evidence, cure, way.path, seen.side, name)
    warning = told.warning(time.time())
    if warning is not None:
        message = f"sees a certificate of {way.what} that ends soon"
        yield Found("warning", "certificate", message, warning, "renew it", way.path, seen.side, name)

"""A whole Kubernetes cluster as what a draft is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backends.inventory.kubernetes import KubernetesSeen
from backends.inventory.kubernetes_node import node_of, provider_of
from backends.inventory.kubernetes_ways import Ways, claims_of, gateways_of
from backends.inventory.kubernetes_work import Group, groups_of, work_of
from backends.inventory.seen import Legacy, Node, Told
from backends.inventory.written import quoted
from backends.listed import counted

MOST = 500  # workloads of a draft
_NAMED = 20


def legacy_of_kubernetes(seen: KubernetesSeen, context: str) -> Legacy:
    groups = groups_of(seen)
    with_gpus = [group for group in groups if group.has_gpus]
    kept = [group for group in with_gpus if not group.is_over][:MOST]
    ways = Ways(seen)
    used = {host for group in kept for host in group.hosts}
    found = seen.lists.get("nodes", [])
    nodes = [node for node in map(node_of, found) if node.gpus is not None or node.name in used]
    told = {node.name for node in nodes}
    nodes += [Node(name, name, notes=("seen: pods run there; nodes are not told",)) for name in sorted(used - told)]
    providers = {provider_of(one) for one in found}
    provider = next(iter(providers)) if len(providers) == 1 else ""
    regions = {node.region.value for node in nodes if node.region is not None}
    return Legacy(
        asked="kubernetes",
        nodes=tuple(nodes),
        works=tuple(work_of(group, seen, ways) for group in kept),
        stores=tuple(_stores(kept)),
        provider=Told(quoted(provider), "inferred: the providerID of its nodes") if provider else None,
        region=Told(regions.pop(), "seen: one label of all its nodes") if len(regions) == 1 else None,
        heads=tuple(_heads(seen, context, groups, len(found) - len(nodes))),
        data=tuple(_data(seen, kept)),
        entries=(*ways.entries, *gateways_of(seen)),
    )


def _heads(seen: KubernetesSeen, context: str, groups: Sequence[Group], left: int) -> Iterator[str]:
    yield f"context {context}, {f'namespace {seen.namespace}' if seen.namespace is not None else 'all namespaces'}"
    yield from seen.notes
    yield "memory peaks of GPUs: not told by Kubernetes: cutover inventory NODE… tells what they hold"
    without = [group.full_name for group in groups if not group.has_gpus]
    if without:
        more = ", …" if len(without) > _NAMED else ""
        yield f"{counted(len(without), 'workload')} without GPUs left out: {', '.join(without[:_NAMED])}{more}"
    over = sum(1 for group in groups if group.has_gpus and group.is_over)
    if over:
        yield f"{over} Jobs or pods with GPUs that have ended are left out"
    if len(groups) - len(without) - over > MOST:
        yield f"{len(groups) - len(without) - over - MOST} more workloads with GPUs are left out"
    if left > 0:
        yield f"{counted(left, 'node')} without GPUs left out"


def _stores(groups: Sequence[Group]) -> Iterator[Told]:
    found: dict[str, str] = {}
    for group in groups:
        for spec, _ in group.specs:
            for url in spec.stores:
                found.setdefault(url + "/", f"seen: in the command or the environment of {group.full_name}")
            for volume in spec.volumes:
                if volume.kind == "host" and volume.where.strip("/") and volume.where.startswith("/"):
                    for host in group.hosts:
                        url = f"ssh://{host}/{volume.where.strip('/')}/"
                        found.setdefault(url, f"seen: hostPath of {group.full_name}; its size is not told")
    for url, source in found.items():
        yield Told(url, source)


def _data(seen: KubernetesSeen, groups: Sequence[Group]) -> Iterator[str]:
    claims: dict[tuple[str, str], list[str]] = {}
    shares: dict[str, list[str]] = {}
    for group in groups:
        for claim in group.claims:
            claims.setdefault((group.root[0], claim), []).append(group.name)
        for volume in dict.fromkeys(v for spec, _ in group.specs for v in spec.volumes):
            if volume.kind == "nfs":
                shares.setdefault(volume.where, []).append(group.name)
    for where, names in shares.items():
        yield f"nfs {where}: size not told; of {', '.join(names)}"
    yield from claims_of(seen, {claim: ", ".join(names) for claim, names in claims.items()})
    yield "how data grows: not told by Kubernetes"

"""Names: each given once, and each that is referred to exists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from backends.escape import plain
from backends.plan.document import Path
from backends.plan.models import Plan
from backends.plan.nearest import name_hint, nearest_name
from backends.plan.problems import Findings


@dataclass(frozen=True, slots=True)
class Names:
    """Every name the file declares, also in parts that are wrong otherwise, so that one mistake is not told twice."""

    legacy_hosts: frozenset[str]
    target_hosts: frozenset[str]
    stores: frozenset[str]
    datasets: frozenset[str]
    workloads: frozenset[str]
    measures: frozenset[str]

    @property
    def hosts(self) -> frozenset[str]:
        return self.legacy_hosts | self.target_hosts

    @classmethod
    def declared_in(cls, values: dict[str, Any]) -> Names:
        stores = values.get("stores")
        return cls(
            legacy_hosts=_side_hosts(values.get("legacy")),
            target_hosts=_side_hosts(values.get("target")),
            stores=frozenset(stores if isinstance(stores, dict) else ()),
            datasets=_names_in(values.get("datasets")),
            workloads=_names_in(values.get("workloads")),
            measures=_names_in(values.get("measures")),
        )


def _side_hosts(side: Any) -> frozenset[str]:
    return _names_in(side.get("hosts")) if isinstance(side, dict) else frozenset()


def _names_in(items: Any) -> frozenset[str]:
    if not isinstance(items, tuple):
        return frozenset()
    names = (item.get("name") for item in items if isinstance(item, dict))
    return frozenset(name for name in names if isinstance(name, str))


def check_names(plan: Plan, names: Names, findings: Findings) -> None:
    _check_unique(plan, findings)
    _check_sides(plan, names, findings)
    _check_data(plan, names, findings)
    _check_judged(plan, names, findings)
    _check_ssh_hosts(plan, names, findings)


def _check_unique(plan: Plan, findings: Findings) -> None:
    hosts: list[tuple[Path, str]] = []
    for side in ("legacy", "target"):
        hosts += [((side, "hosts", i, "name"), h.name) for i, h in enumerate(plan.side(side).hosts)]
    _each_once("host", hosts, findings)
    _each_once("dataset", (((("datasets"), i, "name"), d.name) for i, d in enumerate(plan.datasets)), findings)
    _each_once("workload", ((("workloads", i, "name"), w.name) for i, w in enumerate(plan.workloads)), findings)
    _each_once("route", ((("routes", i, "name"), r.name) for i, r in enumerate(plan.routes)), findings)
    items = [(("checklist", p.value, i, "name"), c.name) for p, listed in plan.checklist.items() for i, c in enumerate(listed)]
    _each_once("checklist item", items, findings)
    _each_once("measure", ((("measures", i, "name"), m.name) for i, m in enumerate(plan.measures)), findings)


def _each_once(what: str, named: Iterable[tuple[Path, str]], findings: Findings) -> None:
    seen: dict[str, Path] = {}
    for path, name in named:
        if name in seen:
            first = findings.places.find(seen[name])
            message = f"found the {what} `{name}` a second time, the first is {first.field} on line {first.line}"
            findings.error(path, "duplicate_name", message, "give each its own name")
        else:
            seen[name] = path


def refer(path: Path, name: str, known: Iterable[str], what: str, findings: Findings) -> bool:
    """Is `name` one of `known`? Adds the problem where it is not; `what` is the plural of the thing."""
    known = frozenset(known)
    if name in known:
        return True
    one = what.removesuffix("s")
    found = f"found `{plain(name, 80)}`, expected the name of a {one} of the plan"
    findings.error(path, f"unknown_{one}", found, name_hint(name, known, what))
    return False


def _check_sides(plan: Plan, names: Names, findings: Findings) -> None:
    for side in ("legacy", "target"):
        for i, host in enumerate(plan.side(side).hosts):
            if host.via == host.name:
                message = f"found the host `{host.name}` reached by way of itself"
                findings.error((side, "hosts", i, "via"), "via_itself", message, "name another host, or leave it out")
            elif host.via is not None:
                _check_ssh_host((side, "hosts", i, "via"), host.via, names, findings)
    for i, workload in enumerate(plan.workloads):
        for side, hosts in (("legacy", workload.runs_on.legacy), ("target", workload.runs_on.target)):
            for j, host_name in enumerate(hosts):
                _check_side_host(("workloads", i, "runs_on", side, j), host_name, side, names, findings)


def _check_side_host(path: Path, name: str, side: str, names: Names, findings: Findings) -> None:
    here, there = names.legacy_hosts, names.target_hosts
    other = "target" if side == "legacy" else "legacy"
    if side == "target":
        here, there = there, here
    if name in there and name not in here:
        message = f"found `{name}`, a host of {other}, expected a host of {side}"
        findings.error(path, "host_of_other_side", message, name_hint(name, here, f"hosts of {side}"))
    elif name not in here:
        refer(path, name, here, "hosts", findings)


def _check_ssh_host(path: Path, name: str, names: Names, findings: Findings) -> None:
    """A host of the plan, or an alias of the ssh_config, which nobody can tell without reading it."""
    if name in names.hosts:
        return
    near = nearest_name(name, names.hosts)
    message = f"`{plain(name, 80)}` is no host of the plan: taken as an alias of the ssh_config"
    findings.note(
        path, "ssh_alias", message, f"did you mean {near}?" if near else "check --live tries it; or name a host of the plan"
    )


def _check_data(plan: Plan, names: Names, findings: Findings) -> None:
    for i, dataset in enumerate(plan.datasets):
        refer(("datasets", i, "from"), dataset.from_, names.stores, "stores", findings)
        refer(("datasets", i, "to"), dataset.to, names.stores, "stores", findings)
        if dataset.hub is not None:
            refer(("datasets", i, "hub"), dataset.hub, names.stores, "stores", findings)
    for i, workload in enumerate(plan.workloads):
        for field, datasets in (("datasets", workload.datasets), ("writes", workload.writes)):
            for j, name in enumerate(datasets):
                refer(("workloads", i, field, j), name, names.datasets, "datasets", findings)
    for i, name in enumerate(plan.archive):
        refer(("archive", i), name, names.datasets, "datasets", findings)
    for i, backup in enumerate(plan.backups):
        refer(("backups", i, "dataset"), backup.dataset, names.datasets, "datasets", findings)
    for i, name in enumerate(plan.transfer.workers):
        _check_ssh_host(("transfer", "workers", i), name, names, findings)


def _check_judged(plan: Plan, names: Names, findings: Findings) -> None:
    for i, route in enumerate(plan.routes):
        refer(("routes", i, "workload"), route.workload, names.workloads, "workloads", findings)
    for i, measure in enumerate(plan.measures):
        refer(("measures", i, "workload"), measure.workload, names.workloads, "workloads", findings)
    for i, trigger in enumerate(plan.triggers):
        refer(("triggers", i, "measure"), trigger.measure, names.measures, "measures", findings)
    for phase, gates in plan.gates.items():
        for i, gate in enumerate(gates):
            path: Path = ("gates", phase.value, i)
            if gate.measure is not None:
                refer((*path, "measure"), gate.measure, names.measures, "measures", findings)
            if gate.dataset is not None:
                refer((*path, "dataset"), gate.dataset, names.datasets, "datasets", findings)


def _check_ssh_hosts(plan: Plan, names: Names, findings: Findings) -> None:
    urls: list[tuple[Path, str]] = [(("stores", name, "url"), store.url) for name, store in plan.stores.items()]
    for i, measure in enumerate(plan.measures):
        for side, source in (("legacy", measure.legacy), ("target", measure.target)):
            if source.file is not None:
                urls.append((("measures", i, side, "file"), source.file))
    for path, url in urls:
        host = ssh_host(url)
        if host:
            _check_ssh_host(path, host, names, findings)


def ssh_host(url: str) -> str | None:
    """The host of an `ssh://` URL as it is written, None for others."""
    if not url.startswith("ssh://"):
        return None
    try:
        host = urlsplit(url).netloc
    except ValueError:
        return None
    return host.rpartition("@")[2].partition(":")[0]

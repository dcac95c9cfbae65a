"""The draft: a plan that `check` reads, every inferred field with a comment that says from what. What one look cannot show is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from backends.escape import plain
from backends.inventory.seen import Legacy, Node, Told, Work
from backends.inventory.written import plan_names, quoted

_PLACE = re.compile(r"(?:s3|gs|az|ssh)://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._/@+=,-]*")
_LONGEST = 1500  # of a comment


def draft(seen: Legacy, *, name: str, provider: str | None) -> str:
    """The plan's text. Foreign text is quoted, or escaped in comments: none of it can end one."""
    return "\n".join(_lines(seen, name, provider)) + "\n"


def work_names(seen: Legacy) -> list[str]:
    """What the draft calls the workloads, in their order."""
    return plan_names(work.name for work in seen.works)


def _lines(seen: Legacy, name: str, provider: str | None) -> Iterator[str]:
    yield f"# A draft from `cutover inventory {seen.asked}`: each inferred field says from what. Go through it, then cutover check."
    yield from _comments("", seen.heads)
    yield "version: 1"
    yield f"name: {name}"
    yield "legacy:"
    told = Told(quoted(provider), "as given") if provider else seen.provider
    yield _field("  ", "provider", told or Told("unknown", "not known: nothing there tells"))
    if seen.region is not None:
        yield _field("  ", "region", seen.region)
    names = dict(zip((n.name for n in seen.nodes), plan_names(n.name for n in seen.nodes), strict=True))
    yield "  hosts:" if seen.nodes else "  # hosts: none was told"
    for node in seen.nodes:
        yield from _node(node, names[node.name])
    yield "target:"
    yield "  provider: unknown  # not known: where it goes"
    yield from _stores(seen)
    yield "workloads:" if seen.works else f"# workloads: {plain(seen.nothing, 200)}"
    for work, own in zip(seen.works, work_names(seen), strict=True):
        yield from _work(work, own, names)
    yield "# routes: how clients come in:" if seen.entries else "# routes: how clients come to the endpoints above is not seen"
    yield from _comments("  ", seen.entries)


def _node(node: Node, name: str) -> Iterator[str]:
    yield from _comments("    ", node.heads)
    renamed = f"  # seen as {plain(node.name, 200)}" if name != node.name else ""
    yield f"    - name: {quoted(name)}{renamed}"
    yield f"      address: {quoted(node.address)}"
    if node.user:
        yield f"      user: {quoted(node.user)}"
    if node.port:
        yield f"      port: {node.port}"
    for field, told in (("gpus", node.gpus), ("spot", node.spot), ("region", node.region)):
        if told is not None:
            yield _field("      ", field, told)
    yield from _comments("      ", node.notes)


def _stores(seen: Legacy) -> Iterator[str]:
    stores = [told for told in seen.stores if _PLACE.fullmatch(told.value)]
    odd = [told for told in seen.stores if not _PLACE.fullmatch(told.value)]
    yield "stores:" if stores else "# stores: no mounted data and no bucket was seen"
    own = plan_names(told.value.partition("://")[2].strip("/").replace("/", "-") for told in stores)
    for name, told in zip(own, stores, strict=True):
        yield f"  {quoted(name)}: {{url: {quoted(told.value)}}}  # {plain(told.source, 300)}"
    yield from _comments("  ", [f"a place that the plan does not take as it is: {told.value}: {told.source}" for told in odd])
    yield from _comments("  ", seen.data)
    if stores:
        yield "# datasets: which of these move, and to which store of target: {name: …, from: one of the above, to: …}"


def _work(work: Work, name: str, hosts: dict[str, str]) -> Iterator[str]:
    yield f"  - name: {quoted(name)}  # {plain(work.source, 300)}"
    yield _field("    ", "class", work.kind)
    if work.gpus is not None:
        yield _field("    ", "gpus", work.gpus)
    for field, told in work.fields:
        yield _field("    ", field, told)
    on = [hosts[host] for host in work.hosts if host in hosts]
    if on:
        source = f"  # {plain(work.hosts_source, 200)}" if work.hosts_source else ""
        yield f"    runs_on: {{legacy: [{', '.join(quoted(h) for h in on)}]}}{source}"
    else:
        yield "    # runs_on: it does not run now"
    yield from _comments("    ", work.notes)
    missing = [field for field in ("duration", "every") if field not in dict(work.fields)]
    yield f"    # {', '.join((*missing, 'compliance', 'locality'))}: not known: not seen in one look"


def _field(indent: str, name: str, told: Told) -> str:
    return f"{indent}{name}: {told.value}  # {plain(told.source, 300)}"


def _comments(indent: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        yield f"{indent}# {plain(text, _LONGEST)}"

"""What is replaced by what: the plan's own rules, and those that follow from its stores and hosts; and what must not be left."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from backends.plan.models import Plan, ReconfigureRule

_DEVICE = re.compile(r"\b(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True, slots=True)
class Needle:
    """A text that belongs to legacy. `kind`: store, host, region, provider, endpoint, device."""

    kind: str
    text: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Found:
    """Where a needle stands in a text: which, and what was found."""

    kind: str
    text: str
    at: int


class Mapping:
    """Applies all rules to one value; the plan's own come first, then longer texts before shorter ones."""

    def __init__(self, plan: Plan) -> None:
        spec = plan.reconfigure
        self.rules: tuple[ReconfigureRule, ...] = (*(spec.rules if spec else ()), *derived_rules(plan))
        self._keep = tuple(spec.keep) if spec else ()
        self.needles = needles_of(plan)

    def change(self, key: str, value: str) -> str:
        """The value on target. `key` is where it stands: names joined by dots, a variable's name, an option's."""
        for rule in self.rules:
            if rule.key is not None and not any(fnmatch.fnmatchcase(name, rule.key) for name in (key, key.rpartition(".")[2])):
                continue
            if rule.replace is not None:
                value = _literal(rule.replace).sub(lambda _, text=rule.with_: text, value)  # type: ignore[misc]
            elif rule.match is not None:
                value = re.sub(rule.match, rule.with_, value)
            elif rule.key is not None:
                value = rule.with_
        return value

    def left(self, text: str) -> list[Found]:
        """What of legacy stands in a text still; what the plan keeps is passed over."""
        spans = [(m.start(), m.end()) for kept in self._keep for m in re.finditer(re.escape(kept), text)]
        found: list[Found] = []
        for needle in self.needles:
            for match in needle.pattern.finditer(text):
                if not any(a <= match.start() and match.end() <= b for a, b in spans):
                    found.append(Found(needle.kind, match[0], match.start()))
        inner = [(f.at, f.at + len(f.text)) for f in found]
        # A host inside a URL that is told of already is one thing to mend, not two.
        return sorted((f for f in found if not _is_inside(f, inner)), key=lambda f: f.at)


def _is_inside(found: Found, spans: Sequence[tuple[int, int]]) -> bool:
    mine = (found.at, found.at + len(found.text))
    return any(span != mine and span[0] <= mine[0] and mine[1] <= span[1] for span in spans)


def _literal(text: str) -> re.Pattern[str]:
    """The text where it stands as a whole word or with its own end, such as `/`."""
    start = r"(?<![A-Za-z0-9._-])" if text[:1].isalnum() else ""
    end = r"(?![A-Za-z0-9_-]|\.[A-Za-z0-9])" if text[-1:].isalnum() else ""
    return re.compile(start + re.escape(text) + end)


def derived_rules(plan: Plan) -> list[ReconfigureRule]:
    """Of each dataset its store's URL, its bucket and its endpoint; of workloads that run on as many hosts there as here, each host's address and name."""
    pairs: dict[str, str] = {}
    for dataset in plan.datasets:
        old, new = plan.stores.get(dataset.from_), plan.stores.get(dataset.to)
        if old is not None and new is not None:
            pairs.setdefault(_url(old.url), _url(new.url))
            if (bucket := _bucket(old.url)) and (there := _bucket(new.url)):
                pairs.setdefault(bucket, there)
            if old.endpoint and new.endpoint:
                pairs.setdefault(old.endpoint.rstrip("/"), new.endpoint.rstrip("/"))
    hosts = {h.name: h for side in (plan.legacy, plan.target) for h in side.hosts}
    taken: dict[str, str | None] = {}
    for workload in plan.workloads:
        legacy, target = workload.runs_on.legacy, workload.runs_on.target
        for i, name in enumerate(legacy):
            other = target[i] if len(legacy) == len(target) else None
            taken[name] = other if taken.get(name, other) == other else None
    for name, other in taken.items():
        if other is not None and name in hosts and other in hosts:
            pairs.setdefault(hosts[name].address, hosts[other].address)
            pairs.setdefault(name, other)
    order = sorted(pairs.items(), key=lambda pair: -len(pair[0]))
    return [ReconfigureRule.model_validate({"replace": old, "with": new}) for old, new in order if old and old != new]


def _bucket(url: str) -> str:
    """Of an object store; empty for a tree."""
    scheme, _, rest = url.partition("://")
    return rest.partition("/")[0] if scheme in ("s3", "gs", "az") else ""


def _url(url: str) -> str:
    """As configurations have it: files by their path, without the last slash, which stays where it stands."""
    return url.removeprefix("file://").rstrip("/")


def needles_of(plan: Plan) -> tuple[Needle, ...]:
    """All that is legacy's and not target's as well."""
    found: dict[str, str] = {}
    target_texts = {h.address for h in plan.target.hosts} | {h.name for h in plan.target.hosts} | {plan.target.region or ""}
    to = {_url(plan.stores[d.to].url) for d in plan.datasets if d.to in plan.stores}
    for dataset in plan.datasets:
        store = plan.stores.get(dataset.from_)
        if store is None:
            continue
        found[_url(store.url)] = "store"
        bucket = _bucket(store.url)
        if bucket and not any(bucket in other for other in to):
            found[bucket] = "store"
        if store.endpoint:
            found[store.endpoint.partition("://")[2].rstrip("/")] = "endpoint"
    for host in plan.legacy.hosts:
        found[host.address] = found[host.name] = "host"
    if plan.legacy.region and plan.legacy.region != plan.target.region:
        found[plan.legacy.region] = "region"
    for rule in plan.reconfigure.rules if plan.reconfigure else ():
        if rule.replace is not None:
            found.setdefault(rule.replace, "rule")
    texts = [(text, kind) for text, kind in found.items() if len(text) > 2 and text not in target_texts | to | {"local"}]
    needles = [Needle(kind, text, _literal(text)) for text, kind in texts]
    return (*needles, Needle("device", "GPU-…", _DEVICE))

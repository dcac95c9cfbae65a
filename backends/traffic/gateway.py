"""Weights of a Kubernetes gateway: two backendRefs of one rule of an HTTPRoute (gateway.networking.k8s.io/v1), by the API server's HTTP.

A weight w on the target is written as 100 - w and w; what others wrote is read as their share of the sum (a backendRef without a weight has 1).
The whole list of rules is written back as it was read but for the two weights, under the resourceVersion that it was read with. What the
gateway's controller says in the status is the nearest to the data plane that the API gives; controllers that write none are not asked.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from backends.escape import plain
from backends.kubernetes.client import KubernetesClient, Object, object_path
from backends.kubernetes.errors import KubernetesError
from backends.plan.queues import GatewayRoute as GatewaySpec
from backends.traffic.base import Confirmation, ForeignChange, Observed, PlainRoute, RouteError

_API = ("apis/gateway.networking.k8s.io/v1", "httproutes")


class GatewayRoute(PlainRoute):
    """Weight at a gateway."""

    kind = "gateway"

    def __init__(self, name: str, spec: GatewaySpec, *, base: Path) -> None:
        self.name = name
        self._spec = spec
        self._client = KubernetesClient(spec.kubeconfig, spec.context, base)

    async def read(self) -> Observed:
        return self._observed(await self._get())

    async def set(self, weight: int, expected: int | None) -> None:
        def decide(found: Object) -> Object | None:
            now = self._observed(found)
            if expected is not None and not now.is_at(expected) and not now.is_at(weight):
                raise ForeignChange(self.name, expected, now.weight, now.foreign)
            rules = copy.deepcopy(found["spec"]["rules"])
            legacy, target = self._refs(rules)
            if (_weight(legacy), _weight(target)) == (100 - weight, weight):
                return None
            legacy["weight"], target["weight"] = 100 - weight, weight
            return {"spec": {"rules": rules}}

        try:
            written = await self._client.change(await self._path(), decide)
        except KubernetesError as error:
            raise RouteError(f"route {self.name}: {error.message}", where=error.where, hint=error.hint) from error
        now = self._observed(written)
        if not now.is_at(weight):
            raise RouteError(f"route {self.name}: asked for {weight}, the API server answered {now.detail}")

    async def confirm(self, weight: int) -> Confirmation:
        found = await self._get()
        observed = self._observed(found)
        programmed, told = programmed_by(found)
        return Confirmation(observed.is_at(weight), programmed, None, f"{observed.detail}; {told}")

    async def close(self) -> None:
        await self._client.close()

    async def _get(self) -> Object:
        try:
            return await self._client.get(await self._path())
        except KubernetesError as error:
            raise RouteError(f"route {self.name}: {error.message}", where=error.where, hint=error.hint) from error

    async def _path(self) -> str:
        return object_path(*_API, self._spec.namespace or await self._client.namespace(), self._spec.name)

    def _observed(self, found: Object) -> Observed:
        spec = found.get("spec")
        legacy, target = (_weight(ref) for ref in self._refs(spec.get("rules") if isinstance(spec, dict) else None))
        if legacy + target == 0:
            raise RouteError(f"route {self.name}: both backends have weight 0: nobody is served", hint="give one a weight")
        share = 100 * target / (legacy + target)
        detail = f"{self._spec.legacy} {legacy}, {self._spec.target} {target}"
        return Observed(round(share), detail, "" if share == round(share) else f"has weights {detail}")

    def _refs(self, rules: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two backendRefs. Raises `RouteError` where they are not there, or somebody else's takes part."""
        place = f"rule {self._spec.rule} of HTTPRoute {self._spec.name}"
        try:
            refs = rules[self._spec.rule]["backendRefs"]
            named = {ref["name"]: ref for ref in refs}
            legacy, target = named[self._spec.legacy], named[self._spec.target]
        except (KeyError, IndexError, TypeError) as error:
            raise RouteError(
                f"route {self.name}: {place} has no backendRefs {self._spec.legacy} and {self._spec.target}",
                hint="add both to the rule, target with weight 0",
            ) from error
        others = [name for name, ref in named.items() if name not in (self._spec.legacy, self._spec.target) and _weight(ref)]
        if others or len(named) != len(refs):
            names = plain(", ".join(map(str, others)) or "one of them twice", 200)
            raise RouteError(f"route {self.name}: {place} has other backends with a weight: {names}", hint="weight 0 for them")
        return legacy, target


def programmed_by(found: Object) -> tuple[bool | None, str]:
    """Whether every gateway that the route is attached to says that it has taken this generation in; None where none says anything."""
    status, meta = found.get("status"), found.get("metadata")
    parents = status.get("parents") if isinstance(status, dict) else None
    generation = meta.get("generation") if isinstance(meta, dict) else None
    if not isinstance(parents, list) or not parents:
        return None, "no gateway says what it has taken in"
    late = 0
    for parent in parents:
        conditions = parent.get("conditions") if isinstance(parent, dict) else None
        good = {
            one.get("type")
            for one in (conditions if isinstance(conditions, list) else ())
            if isinstance(one, dict) and one.get("status") == "True" and one.get("observedGeneration") == generation
        }
        late += not {"Accepted", "ResolvedRefs"} <= good
    if late:
        return False, f"{late} of {len(parents)} gateways have not taken it in"
    return True, f"{len(parents)} gateways have taken it in"


def _weight(ref: dict[str, Any]) -> int:
    weight = ref.get("weight", 1)
    if not isinstance(weight, int) or isinstance(weight, bool) or weight < 0:
        raise RouteError(f"a backendRef has the weight {plain(str(weight), 40)}")
    return weight

"""A workload of Kubernetes (apps/v1, batch/v1): a Deployment or StatefulSet scaled to 0 and back, a Job or CronJob suspended and resumed.

A Deployment's `status.replicas` no longer counts a pod that is ending (API reference, DeploymentStatus), and such a pod may still write: so
what is idle is told by the pods of its selector. How many replicas come back is what was pinned before it was stopped. An autoscaler leaves
what has 0 replicas alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.errors import CouldNot
from backends.escape import plain
from backends.kubernetes.client import KubernetesClient, Object, object_path
from backends.plan.ways import KubernetesObject, Way
from backends.vocabulary import SideName
from backends.workloads.base import NoWay, Outcome, RunState, Standing, StillRunning, WorkloadError
from backends.workloads.waiting import until_idle, wait_idle

_APIS = {
    "deployment": ("apis/apps/v1", "deployments"),
    "statefulset": ("apis/apps/v1", "statefulsets"),
    "job": ("apis/batch/v1", "jobs"),
    "cronjob": ("apis/batch/v1", "cronjobs"),
}
_ENDED = ("Succeeded", "Failed")
_OPERATORS = {"In": "{key} in ({values})", "NotIn": "{key} notin ({values})", "Exists": "{key}", "DoesNotExist": "!{key}"}


def selector_text(selector: object) -> str:
    """A label selector as the API's query has it. Raises ValueError on one that selects all, or that is none."""
    if not isinstance(selector, dict):
        raise ValueError("no selector")
    labels = selector.get("matchLabels") or {}
    parts = [f"{key}={value}" for key, value in labels.items()]
    for one in selector.get("matchExpressions") or ():
        parts.append(_OPERATORS[one["operator"]].format(key=one["key"], values=",".join(one.get("values") or ())))
    if not parts:
        raise ValueError("an empty selector")
    return ",".join(parts)


class KubernetesSide:
    """One workload on one side, as an object of a cluster."""

    def __init__(self, name: str, side: SideName, way: Way, spec: KubernetesObject, client: KubernetesClient) -> None:
        self._name, self._side, self._way, self._spec, self._client = name, side, way, spec, client
        self._is_scaled = spec.kind in ("deployment", "statefulset")

    async def quiesce(self) -> Outcome:
        await self._write({"replicas": 0} if self._is_scaled else {"suspend": True})
        seen = await wait_idle(self.look, self._way.timeout)
        if not seen.is_idle:
            raise StillRunning(
                f"workload {self._name} on {self._side} is not quiesced after {self._way.timeout:g} s: {seen.text}",
                where=f"workloads.{self._name}.quiesce.kubernetes",
                hint="a longer `timeout`: a pod gets its terminationGracePeriodSeconds to end",
            )
        return Outcome(f"{self._name} quiesced on {self._side}: {seen.detail}", seen)

    async def resume(self, pinned: Mapping[str, Any]) -> Outcome:
        if not self._is_scaled:
            await self._write({"suspend": False})
        elif (wanted := pinned.get("replicas", self._spec.replicas)) is not None:
            await self._write({"replicas": int(wanted)}, only_from=0)
        elif _replicas(await self._get()) == 0:
            raise WorkloadError(
                f"workload {self._name} on {self._side}: {self._text} has 0 replicas, and nothing says how many it is to have",
                where=f"workloads.{self._name}.quiesce.kubernetes.replicas",
                hint="give `replicas`",
            )
        seen = await self.look()
        return Outcome(f"{self._name} resumed on {self._side}: {seen.detail}", seen)

    async def stop_new_work(self) -> Outcome:
        if self._spec.kind != "cronjob":
            raise NoWay(
                f"workload {self._name} on {self._side}: a {self._spec.kind} cannot be told to take nothing new, only to stop",
                where=f"workloads.{self._name}.quiesce.kubernetes",
                hint="quiesce it, or use command with `drain` and `idle`",
            )
        await self._write({"suspend": True})
        seen = await self.look()
        return Outcome(f"{self._name} takes no new work on {self._side}: {seen.detail}", seen)

    async def drain(self) -> Outcome:
        return await until_idle(self.stop_new_work, self.look, self._name, self._side, self._way.timeout)

    async def look(self) -> Standing:
        try:
            found = await self._get()
            return await self._scaled(found) if self._is_scaled else await self._suspended(found)
        except CouldNot as error:
            return Standing("unknown", error.message)

    async def pin(self) -> dict[str, Any]:
        """The replicas; nothing where it is stopped already, so that what was pinned before stays."""
        if not self._is_scaled:
            return {}
        replicas = _replicas(await self._get())
        return {"replicas": replicas} if replicas > 0 else {}

    @property
    def _text(self) -> str:
        return f"{self._spec.kind} {self._spec.name}"

    async def _scaled(self, found: Object) -> Standing:
        replicas, pods = _replicas(found), await self._pods(found)
        ready = _count(_part(found, "status").get("readyReplicas"))
        state: RunState = "running" if replicas else "draining" if pods else "quiesced"
        is_seen = _count(_part(found, "status").get("observedGeneration")) >= _count(_part(found, "metadata").get("generation"))
        detail = f"{self._text}: {replicas} replicas, {ready} ready, {pods} pods"
        return Standing(state, detail, not replicas and not pods, is_seen and ready >= replicas)

    async def _suspended(self, found: Object) -> Standing:
        active = _part(found, "status").get("active")
        running = len(active) if isinstance(active, list) else _count(active)
        if self._spec.kind == "job":
            running = max(running, await self._pods(found))
        is_suspended = _part(found, "spec").get("suspend") is True
        if self._spec.kind == "job" and (ended := _ended(found)):
            state: RunState = "draining" if running else "quiesced"
            return Standing(state, f"{self._text}: {ended}, {running} running", not running, False)
        state = "running" if not is_suspended else "draining" if running else "quiesced"
        return Standing(state, f"{self._text}: {'suspended' if is_suspended else 'active'}, {running} running", not running)

    async def _pods(self, found: Object) -> int:
        """Pods that have not ended, those that are ending too."""
        try:
            selector = selector_text(_part(found, "spec").get("selector"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorkloadError(f"{self._text}: its selector cannot be read, so its pods cannot be counted") from error
        path = object_path("api/v1", "pods", await self._namespace())
        items = (await self._client.get(path, {"labelSelector": selector})).get("items")
        if not isinstance(items, list):
            raise WorkloadError(f"{self._text}: the list of its pods is none")
        return sum(_part(pod, "status").get("phase") not in _ENDED for pod in items if isinstance(pod, dict))

    async def _write(self, spec: dict[str, Any], *, only_from: int | None = None) -> None:
        """Set fields of its spec. `only_from`: replicas that are others already are left alone."""

        def decide(found: Object) -> Object | None:
            now = _part(found, "spec")
            if only_from is not None and _replicas(found) != only_from:
                return None
            return None if all(now.get(key) == value for key, value in spec.items()) else {"spec": spec}

        await self._client.change(await self._path(), decide)

    async def _get(self) -> Object:
        return await self._client.get(await self._path())

    async def _path(self) -> str:
        return object_path(*_APIS[self._spec.kind], await self._namespace(), self._spec.name)

    async def _namespace(self) -> str:
        return self._spec.namespace or await self._client.namespace()


def _part(found: Object, name: str) -> Object:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _replicas(found: Object) -> int:
    """Of the spec; the API server fills 1 in where none is written."""
    value = _part(found, "spec").get("replicas", 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WorkloadError(f"the API server says {plain(str(value), 40)} replicas")
    return value


def _ended(found: Object) -> str:
    """`complete` or `failed` of a job that is over, else nothing."""
    conditions = _part(found, "status").get("conditions")
    for one in conditions if isinstance(conditions, list) else ():
        if isinstance(one, dict) and one.get("status") == "True" and one.get("type") in ("Complete", "Failed"):
            return str(one["type"]).lower()
    return ""

"""What an API server told, as what a draft is made of: a workload is what pods with GPUs belong to in the end (a Deployment, a CronJob, a PyTorchJob…)."""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backends.inventory.cron import Rhythm, rhythm_of
from backends.inventory.environment import environment_text
from backends.inventory.image import framework_of_image
from backends.inventory.kubernetes import KINDS, KubernetesSeen
from backends.inventory.kubernetes_ways import Ways
from backends.inventory.pods import PodSpec, parse_pod
from backends.inventory.seen import Told, Work
from backends.inventory.untyped import part, parts, quantity, text, whole
from backends.inventory.written import class_by_words, duration, size
from backends.listed import counted

_TRAINS = ("PyTorchJob", "MPIJob", "TFJob", "XGBoostJob", "PaddleJob", "JAXJob", "TrainJob", "RayJob")
_SERVES = ("InferenceService", "RayService", "SeldonDeployment")
_PIPES = ("Workflow", "CronWorkflow", "PipelineRun", "TaskRun")
_SCALED = {"Deployment": "deployment", "StatefulSet": "statefulset", "Job": "job", "CronJob": "cronjob"}
_REPLICA_SPECS = {"PyTorchJob": "pytorchReplicaSpecs", "MPIJob": "mpiReplicaSpecs", "TFJob": "tfReplicaSpecs"}
_HOPS = 10

Root = tuple[str, str, str]  # namespace, kind, name


@dataclass
class Group:
    """A workload: its own object where it was listed, its pods, jobs that it made, and the specification of its pods with how many there are to be."""

    root: Root
    found: dict[str, Any] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    specs: list[tuple[PodSpec, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.root[2]

    @property
    def full_name(self) -> str:
        namespace, kind, name = self.root
        return f"{namespace}/{kind}/{name}"

    @property
    def running(self) -> list[dict[str, Any]]:
        return [pod for pod in self.pods if text(pod, "status", "phase") not in ("Succeeded", "Failed")]

    @property
    def has_gpus(self) -> bool:
        return any(spec.gpus or spec.slices for spec, _ in self.specs)

    @property
    def is_over(self) -> bool:
        """A Job that has ended, or pods of their own that have."""
        if self.root[1] == "Job":
            ends = [c for c in parts(self.found, "status", "conditions") if c.get("type") in ("Complete", "Failed")]
            return any(c.get("status") == "True" for c in ends) and not self.running
        return self.root[1] == "Pod" and not self.running

    @property
    def claims(self) -> tuple[str, ...]:
        """PersistentVolumeClaims, those that a StatefulSet made for each of its pods too."""
        told = [volume.where for spec, _ in self.specs for volume in spec.volumes if volume.kind == "claim"]
        told += [text(one, "persistentVolumeClaim", "claimName") for pod in self.running for one in parts(pod, "spec", "volumes")]
        return tuple(dict.fromkeys(filter(None, told)))

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (text(pod, "spec", "nodeName") for pod in self.running))))


def groups_of(seen: KubernetesSeen) -> list[Group]:
    """All of them, those without GPUs too."""
    key = secrets.token_bytes(16)
    owners: dict[Root, Root] = {}
    objects: dict[Root, dict[str, Any]] = {}
    for plural, kind in KINDS.items():
        for found in seen.lists.get(plural, ()):
            own = (text(found, "metadata", "namespace"), kind, text(found, "metadata", "name"))
            objects[own] = found
            owner = next((o for o in parts(found, "metadata", "ownerReferences") if o.get("controller") is True), None)
            if owner is not None:
                owners[own] = (own[0], text(owner, "kind"), text(owner, "name"))
    groups: dict[Root, Group] = {}
    for own, found in objects.items():
        root = own
        for _ in range(_HOPS):
            root = owners.get(root, root)
        if own[1] == "ReplicaSet" and own == root:
            continue  # what no Deployment made: its pods stand for it
        group = groups.setdefault(root, Group(root, objects.get(root, {})))
        if own[1] == "Pod":
            group.pods.append(found)
        elif own[1] == "Job" and own != root:
            group.jobs.append(found)
    for group in groups.values():
        group.specs = list(_specs(group, key))
    return list(groups.values())


def _specs(group: Group, key: bytes) -> Iterator[tuple[PodSpec, int]]:
    """By its object where it has a template, else by its pods."""
    spec, kind = part(group.found, "spec"), group.root[1]
    if kind in _REPLICA_SPECS:
        for one in part(spec, _REPLICA_SPECS[kind]).values():
            count = whole(one, "replicas")
            yield parse_pod(part(one, "template", "spec"), key), 1 if count is None else count
    elif kind == "CronJob":
        job = part(spec, "jobTemplate", "spec")
        yield parse_pod(part(job, "template", "spec"), key), whole(job, "parallelism") or 1
    elif kind == "DaemonSet":
        yield parse_pod(part(spec, "template", "spec"), key), whole(group.found, "status", "desiredNumberScheduled") or 0
    elif kind == "Job":
        yield parse_pod(part(spec, "template", "spec"), key), whole(spec, "parallelism") or 1
    elif part(spec, "template", "spec"):
        count = whole(spec, "replicas")
        yield parse_pod(part(spec, "template", "spec"), key), 1 if count is None else count
    else:
        for pod in group.running or group.pods:
            yield parse_pod(part(pod, "spec"), key), 1


def work_of(group: Group, seen: KubernetesSeen, ways: Ways) -> Work:
    spec = next(spec for spec, _ in group.specs if spec.gpus or spec.slices)
    count = sum(one.gpus * copies for one, copies in group.specs)
    sums = " + ".join(f"{copies} x {one.gpus}" for one, copies in group.specs if one.gpus)
    gpus = Told(f"{{count: {count}}}", f"seen: {sums} by its specification; memory: not told by Kubernetes") if count else None
    services = ways.services(group.root[0], _labels(group))
    framework = framework_of_image(spec.image, "in its specification")
    fields = [("framework", framework)] if framework is not None else []
    if spec.memory:
        what = "limit" if spec.is_limit else "request, it has no limit"
        fields.append(
            ("host_memory", Told(size(spec.memory), f"seen: of one pod, its memory {what}; several may be on one host"))
        )
    fields += _times(group)
    return Work(
        name=group.name,
        source=f"seen: {group.full_name}, {counted(len(group.running), 'pod')} now",
        kind=_class(group, bool(services)),
        gpus=gpus,
        fields=tuple(fields),
        hosts=group.hosts,
        hosts_source="seen: where its pods are in this one look",
        notes=tuple(_notes(group, spec, seen, services, count, framework is not None)),
    )


def _labels(group: Group) -> dict[str, str]:
    """Of its pods: those of the template where it has one."""
    for found, path in (
        (group.found, ("spec", "template", "metadata", "labels")),
        (group.found, ("spec", "jobTemplate", "spec", "template", "metadata", "labels")),
        *((pod, ("metadata", "labels")) for pod in group.pods[:1]),
    ):
        if own := part(found, *path):
            return {key: value for key, value in own.items() if isinstance(value, str)}
    return {}


def _class(group: Group, is_served: bool) -> Told:
    kind = group.root[1]
    for name, kinds in (("training", _TRAINS), ("realtime", _SERVES), ("pipeline", _PIPES)):
        if kind in kinds:
            return Told(name, f"inferred: it is a {kind}")
    images = " ".join(image for spec, _ in group.specs for image in spec.images)
    for where, words in (("command", " ".join(s.words for s, _ in group.specs)), ("name", group.name), ("image", images)):
        if (found := class_by_words(words)) is not None:
            return Told(found[0], f"inferred: `{found[1]}` in its {where}")
    if kind in ("Job", "CronJob"):
        return Told("batch", f"inferred: it is a {kind}")
    if is_served:
        return Told("realtime", "inferred: a Service leads to it")
    return Told(
        "batch", f"not known: a {kind}, and nothing in its command, name or image says; realtime, batch, training or pipeline"
    )


def _times(group: Group) -> Iterator[tuple[str, Told]]:
    """Duration of what has ended, frequency of what comes round. A plan takes no duration that is longer: a note tells it."""
    rhythm, took = _rhythm(group), _took(group)
    if took and (rhythm is None or statistics.median(took) <= rhythm.most):
        told = f"seen: the median of {len(took)} completed runs, {duration(max(took))} at the longest"
        yield "duration", Told(duration(statistics.median(took)), told)
    if rhythm is not None:
        span = "" if rhythm.least == rhythm.most else f", from {duration(rhythm.least)} to {duration(rhythm.most)} between two"
        yield "every", Told(duration(rhythm.most), f"seen: its schedule `{text(group.found, 'spec', 'schedule')}`{span}")


def _rhythm(group: Group) -> Rhythm | None:
    return rhythm_of(text(group.found, "spec", "schedule")) if group.root[1] == "CronJob" else None


def _took(group: Group) -> list[float]:
    jobs = group.jobs if group.root[1] == "CronJob" else [group.found]
    spans = [(_instant(text(job, "status", "startTime")), _instant(text(job, "status", "completionTime"))) for job in jobs]
    return [end - start for start, end in spans if start is not None and end is not None and end > start]


def _notes(
    group: Group, spec: PodSpec, seen: KubernetesSeen, services: Sequence[str], count: int, is_framework_told: bool
) -> Iterator[str]:
    namespace, kind, name = group.root
    if kind in _SCALED:
        replicas = f", replicas: {whole(group.found, 'spec', 'replicas')}" if whole(group.found, "spec", "replicas") else ""
        way = f"kind: {_SCALED[kind]}, name: {name}, namespace: {namespace}{replicas}"
        yield f"quiesce: {{kubernetes: {{{way}}}}}  # inferred: where it writes, this stops it"
    else:
        yield f"quiesce: a {kind} is not scaled or suspended by us: where it writes, give a command"
    if not count:
        yield f"gpus: slices only ({', '.join(spec.slices)}), no whole one"
    elif spec.slices:
        yield f"slices of MIG beside whole GPUs: {', '.join(spec.slices)}"
    rhythm, took = _rhythm(group), _took(group)
    if rhythm is not None and took and statistics.median(took) > rhythm.most:
        yield f"its runs take {duration(statistics.median(took))}, longer than from one to the next"
    if part(group.found, "spec").get("suspend") is True:
        yield "it is suspended"
    if not is_framework_told:
        yield f"framework: say which; image {spec.image or 'unknown'}"
    if len(spec.images) > 1:
        yield f"its other images: {', '.join(image for image in spec.images if image != spec.image)}"
    if used := _used(group, seen):
        yield f"memory that the fullest pod held in this one look, no peak: {size(used)} (metrics.k8s.io)"
    for service in services:
        yield f"endpoints: {service}"
    if not services and spec.ports:
        yield f"endpoints: ports {', '.join(map(str, spec.ports))}, and no Service leads there"
    for volume in dict.fromkeys(v for one, _ in group.specs for v in one.volumes):
        what = {"claim": "PersistentVolumeClaim", "host": "hostPath", "nfs": "nfs"}[volume.kind]
        yield f"reads or writes {what} {volume.where} at {', '.join(volume.at) or 'no container'}"
    variables = {name: told for one, _ in group.specs for name, told in one.environment.items()}
    if variables:
        yield f"environment, names only: {environment_text(variables)}"
    given = list(dict.fromkeys(told for one, _ in group.specs for told in one.given))
    if given:
        yield f"environment from elsewhere: {', '.join(given)}"
    if spec.selector:
        yield f"nodeSelector {', '.join(f'{k}={v}' for k, v in spec.selector.items())}"


def _used(group: Group, seen: KubernetesSeen) -> float | None:
    own = {(group.root[0], text(pod, "metadata", "name")) for pod in group.running}
    held = [
        sum(quantity(part(one, "usage").get("memory")) or 0 for one in parts(found, "containers"))
        for found in seen.metrics
        if (text(found, "metadata", "namespace"), text(found, "metadata", "name")) in own
    ]
    return max(held, default=0) or None


def _instant(told: str) -> float | None:
    try:
        return datetime.fromisoformat(told).timestamp()
    except ValueError:
        return None

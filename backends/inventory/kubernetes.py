"""A Kubernetes cluster looked at by its API server: lists only, nothing is changed, no Secret and no ConfigMap is asked for.

What a cluster does not have (another API group) answers 404 and is empty; what we may not read answers 403 and is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backends.inventory.untyped import parts, text
from backends.kubernetes.client import KubernetesClient, Object, object_path
from backends.kubernetes.errors import ApiDenied, KubernetesError, ObjectMissing

PAGE = 500
MOST = 20_000  # objects of a kind
_CORE, _APPS, _BATCH = "api/v1", "apis/apps/v1", "apis/batch/v1"
# plural: the API, whether it lies in namespaces
LISTS = {
    "pods": (_CORE, True),
    "nodes": (_CORE, False),
    "deployments": (_APPS, True),
    "replicasets": (_APPS, True),
    "statefulsets": (_APPS, True),
    "daemonsets": (_APPS, True),
    "jobs": (_BATCH, True),
    "cronjobs": (_BATCH, True),
    "pytorchjobs": ("apis/kubeflow.org/v1", True),
    "mpijobs": ("apis/kubeflow.org/v2beta1", True),
    "tfjobs": ("apis/kubeflow.org/v1", True),
    "services": (_CORE, True),
    "ingresses": ("apis/networking.k8s.io/v1", True),
    "httproutes": ("apis/gateway.networking.k8s.io/v1", True),
    "gateways": ("apis/gateway.networking.k8s.io/v1", True),
    "persistentvolumeclaims": (_CORE, True),
    "persistentvolumes": (_CORE, False),
}
METRICS = "apis/metrics.k8s.io/v1beta1"
# Lists leave the kind of their items out.
KINDS = {
    "pods": "Pod", "deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet",
    "jobs": "Job", "cronjobs": "CronJob", "pytorchjobs": "PyTorchJob", "mpijobs": "MPIJob", "tfjobs": "TFJob",
}  # fmt: skip


@dataclass
class KubernetesSeen:
    """`lists` by plural, `metrics` those of pods; `notes` say what was not told. `namespace` is None for all of them."""

    namespace: str | None
    lists: dict[str, list[Object]]
    metrics: list[Object] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def look_at_kubernetes(client: KubernetesClient, namespace: str | None) -> KubernetesSeen:
    """All namespaces where `namespace` is None; where that is not allowed the context's own, which is told.

    Raises `KubernetesError` where the pods are not told.
    """
    notes: list[str] = []
    if namespace is None:
        try:
            pods = await _list(client, _CORE, "pods", None)
        except ApiDenied as error:
            namespace = await client.namespace()
            notes.append(f"all namespaces: not allowed, so only {namespace} was looked at: {error.message}")
    if namespace is not None:
        pods = await _list(client, _CORE, "pods", namespace)
    seen = KubernetesSeen(namespace, {"pods": pods}, notes=notes)
    for plural, (api, is_namespaced) in LISTS.items():  # one by one: a refusal makes the client read its credentials anew
        if plural == "pods":
            continue
        seen.lists[plural] = []
        try:
            seen.lists[plural] = await _list(client, api, plural, namespace if is_namespaced else None)
        except ObjectMissing:
            continue
        except KubernetesError as error:
            seen.notes.append(f"{plural}: not told: {error.message}")
    try:
        seen.metrics = await _list(client, METRICS, "pods", namespace)
    except KubernetesError:
        seen.notes.append("memory in use: not told: no metrics.k8s.io there that we may read")
    seen.notes += [
        f"{plural}: more than {MOST}: the rest is not in it" for plural, found in seen.lists.items() if len(found) >= MOST
    ]
    return seen


async def _list(client: KubernetesClient, api: str, plural: str, namespace: str | None) -> list[Object]:
    """All pages of a list, to `MOST`."""
    path = object_path(api, plural, namespace) if namespace is not None else f"/{api}/{plural}"
    out: list[Object] = []
    params = {"limit": str(PAGE)}
    while len(out) < MOST:
        answer: Any = await client.get(path, params)
        out += parts(answer, "items")
        if not (further := text(answer, "metadata", "continue")):
            break
        params["continue"] = further
    return out[:MOST]

"""A Kubernetes API server looked at: what its objects say is in the draft with its source, and what we may not read is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.inventory import kubernetes as looked
from backends.inventory.draft import draft
from backends.inventory.kubernetes import KINDS, LISTS, KubernetesSeen, look_at_kubernetes
from backends.inventory.kubernetes_legacy import legacy_of_kubernetes
from backends.kubernetes.client import KubernetesClient
from backends.kubernetes.errors import ApiDenied
from backends.plan.load import parse_plan
from backends.plan.models import Plan
from tests.peers.kubernetes import ApiServer, kubernetes

A100 = {
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/cuda.driver-version.full": "550.54.14",
    "nvidia.com/cuda.runtime-version.full": "12.4",
    "topology.kubernetes.io/region": "europe-west4",
}


def node(name: str, gpus: int, provider: str = "gce://p/z/i", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": provider},
        "status": {
            "capacity": {"cpu": "96", "memory": "1000Gi", **({"nvidia.com/gpu": str(gpus)} if gpus else {})},
            "addresses": [{"type": "InternalIP", "address": "10.1.0.1"}],
        },
    }


def pod_spec(gpus: int, image: str = "corp/app:1", *command: str, **more: Any) -> dict[str, Any]:
    need = {"limits": {"nvidia.com/gpu": str(gpus), "memory": "64Gi"}} if gpus else {}
    container = {"name": "main", "image": image, "command": list(command), "resources": need}
    return {"containers": [container | more.pop("container", {})], **more}


def template(spec: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": spec}


class Cluster:
    """An API server with objects in several namespaces, and those kinds that a draft is made of."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.server.is_asleep = True  # no controller makes pods of its own
        for plural, (api, is_namespaced) in LISTS.items():
            if plural not in ("tfjobs", "mpijobs"):  # kinds that this cluster lacks
                server.resources[f"{api.removeprefix('apis/').removeprefix('api/')}/{plural}"] = {"namespaced": is_namespaced}

    def put(
        self, plural: str, name: str, namespace: str | None = "ml", owner: tuple[str, str] | None = None, **parts: Any
    ) -> None:
        meta: dict[str, Any] = {"name": name, **parts.pop("metadata", {})}
        if namespace is not None:
            meta["namespace"] = namespace
        if owner is not None:
            meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
        api = LISTS[plural][0].removeprefix("apis/").removeprefix("api/")
        self.server.objects[f"{api}/{plural}", namespace, name] = {"metadata": meta, **parts}

    def put_pod(self, name: str, owner: tuple[str, str], spec: dict[str, Any], on: str, namespace: str = "ml") -> None:
        self.put("pods", name, namespace, owner, spec=spec | {"nodeName": on}, status={"phase": "Running"})


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with kubernetes(tmp_path) as server:
        yield Cluster(server)


async def drafted(folder: Path, namespace: str | None = None) -> tuple[str, Plan]:
    """The draft, and the plan that it is: nothing to say of it but that stores are not used yet."""
    client = KubernetesClient(str(folder / "kubeconfig"), None, folder)
    try:
        seen = await look_at_kubernetes(client, namespace)
    finally:
        await client.close()
    text = draft(legacy_of_kubernetes(seen, "test"), name="move", provider=None)
    checked = parse_plan(text, Path("draft.yaml"))
    assert {p.code for p in checked.problems} <= {"unused_store"}, (text, checked.problems)
    assert checked.plan is not None
    return text, checked.plan


async def test_a_served_deployment_is_in_the_draft_with_all_that_belongs_to_it(cluster: Cluster, tmp_path: Path) -> None:
    container = {
        "env": [
            {"name": "MODEL", "value": "s3://models-old/llama"},
            {"name": "HF_TOKEN", "value": "hunter2-hunter2"},
            {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "flags"}}],
        "volumeMounts": [{"name": "w", "mountPath": "/weights"}, {"name": "scratch", "mountPath": "/scratch"}],
        "ports": [{"containerPort": 8000}],
    }
    volumes = [
        {"name": "w", "persistentVolumeClaim": {"claimName": "weights"}},
        {"name": "scratch", "hostPath": {"path": "/mnt/scratch"}},
    ]
    spec = pod_spec(2, "vllm/vllm-openai:v0.6.3", "serve", container=container, volumes=volumes)
    cluster.put("nodes", "gpu-a", None, **node("gpu-a", 8, **A100, **{"cloud.google.com/gke-spot": "true"}))
    cluster.put("nodes", "cpu-a", None, **node("cpu-a", 0))
    cluster.put("deployments", "chat", spec={"replicas": 3, "template": template(spec, app="chat")})
    cluster.put("replicasets", "chat-7f", owner=("Deployment", "chat"), spec={"replicas": 3, "template": template(spec)})
    cluster.put_pod("chat-7f-1", ("ReplicaSet", "chat-7f"), spec, "gpu-a")
    cluster.put("deployments", "web", spec={"replicas": 2, "template": template(pod_spec(0), app="web")})
    cluster.put("services", "chat", spec={"selector": {"app": "chat"}, "type": "LoadBalancer", "ports": [{"port": 80}]},
                status={"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}})  # fmt: skip
    cluster.put("services", "chat", "other", spec={"selector": {"app": "chat"}, "ports": [{"port": 81}]})
    path = {"path": "/v1", "backend": {"service": {"name": "chat"}}}
    cluster.put("ingresses", "front", spec={"rules": [{"host": "chat.example.net", "http": {"paths": [path]}}]})
    route = {"hostnames": ["api.example.net"], "parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "chat"}]}]}
    cluster.put("httproutes", "api", spec=route)
    cluster.put("persistentvolumeclaims", "weights", spec={"volumeName": "pv1", "accessModes": ["ReadOnlyMany"], "storageClassName": "fast"},
                status={"capacity": {"storage": "500Gi"}})  # fmt: skip
    cluster.put("persistentvolumes", "pv1", None, spec={"nfs": {"server": "10.9.9.9", "path": "/export/weights"}})
    text, plan = await drafted(tmp_path)
    assert (plan.legacy.provider, plan.legacy.region) == ("gcp", "europe-west4")
    [host] = plan.legacy.hosts
    assert host.gpus is not None
    assert (host.name, host.address, host.gpus.type, host.gpus.count, host.spot) == (
        *("gpu-a", "10.1.0.1", "A100-SXM4-80GB", 8, True),
    )  # fmt: skip
    [work] = plan.workloads
    assert (work.name, work.class_, work.runs_on.legacy, work.host_memory) == ("chat", "realtime", ("gpu-a",), 68_700_000_000)
    assert work.gpus is not None
    assert work.gpus.count == 6
    assert work.framework is not None
    assert (work.framework.name, work.framework.version, work.framework.image) == ("vllm", "0.6.3", "vllm/vllm-openai:v0.6.3")
    assert {s.url for s in plan.stores.values()} == {"s3://models-old/", "ssh://gpu-a/mnt/scratch/"}
    for told in (
        "driver 550.54.14, CUDA 12.4",
        "seen: the label cloud.google.com/gke-spot=true of the node",
        "seen: 3 x 2 by its specification",
        "1 workload without GPUs left out: ml/Deployment/web",
        "# quiesce: {kubernetes: {kind: deployment, name: chat, namespace: ml, replicas: 3}}",
        "Service ml/chat (LoadBalancer, port 80); Ingress ml/front (chat.example.net/v1); HTTPRoute ml/api of Gateway edge (api.example.net)",
        "load balancer 192.0.2.7",
        "PersistentVolumeClaim ml/weights: size 500Gi, ReadOnlyMany, class fast, nfs 10.9.9.9:/export/weights; of chat",
        "HF_TOKEN (hash ",
        "DB_PASSWORD from Secret db/password, all of ConfigMap flags",
        "memory in use: not told",
    ):
        assert told in text, told
    assert "hunter2" not in text
    assert "other/chat" not in text  # its Service selects pods of its own namespace only


async def test_each_kind_is_a_workload_with_its_class_count_and_rhythm(cluster: Cluster, tmp_path: Path) -> None:
    cluster.put("nodes", "a", None, **node("a", 8, "aws:///z/i", **{"karpenter.sh/capacity-type": "on-demand"}))
    cluster.put("statefulsets", "embed", spec={"replicas": 2, "template": template(pod_spec(1), app="embed")})
    cluster.put("daemonsets", "index", spec={"template": template(pod_spec(1))}, status={"desiredNumberScheduled": 5})
    cron = {"schedule": "0 2 * * 1-5", "jobTemplate": {"spec": {"parallelism": 2, "template": template(pod_spec(4))}}}
    cluster.put("cronjobs", "score", spec=cron)
    for i, end in enumerate(("02:40", "03:00", "03:20")):
        times = {"startTime": "2026-11-27T02:00:00Z", "completionTime": f"2026-11-27T{end}:00Z"}
        cluster.put("jobs", f"score-{i}", owner=("CronJob", "score"), spec={"template": template(pod_spec(4))}, status=times)
    cluster.put(
        "jobs",
        "once",
        spec={"parallelism": 3, "suspend": True, "template": template(pod_spec(1, "corp/app:1", "torchrun", "x.py"))},
    )
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    cluster.put("jobs", "done", spec={"template": template(pod_spec(1))}, status=ended)
    replicas = {
        "Master": {"replicas": 1, "template": template(pod_spec(8))},
        "Worker": {"replicas": 3, "template": template(pod_spec(8))},
    }
    cluster.put("pytorchjobs", "llm", spec={"pytorchReplicaSpecs": replicas})
    cluster.put_pod("ray-head", ("RayCluster", "ray"), pod_spec(2), "a", "other")
    cluster.put_pod("ray-worker", ("RayCluster", "ray"), pod_spec(2), "a", "other")
    text, plan = await drafted(tmp_path)
    found = {w.name: (w.class_, w.gpus.count if w.gpus else 0, w.runs_on.legacy) for w in plan.workloads}
    assert found == {
        "embed": ("batch", 2, ()),
        "index": ("batch", 5, ()),
        "score": ("batch", 8, ()),
        "once": ("training", 3, ()),
        "llm": ("training", 32, ()),
        "ray": ("batch", 4, ("a",)),
    }
    score = next(w for w in plan.workloads if w.name == "score")
    assert (score.duration, score.every) == (3600.0, 3 * 86400.0)
    for told in (
        "# inferred: it is a CronJob",
        "# seen: its schedule `0 2 * * 1-5`, from 1d to 3d between two",
        "# inferred: it is a PyTorchJob",
        "# inferred: `torchrun` in its command",
        "# it is suspended",
        "spot: not one, by its label karpenter.sh/capacity-type=on-demand",
        "# not known: a RayCluster, and nothing in its command",
        "seen: 1 x 8 + 3 x 8 by its specification",
        "# 1 Jobs or pods with GPUs that have ended are left out",
    ):
        assert told in text, told
    assert plan.legacy.provider == "aws"


async def test_long_lists_are_read_page_by_page(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looked, "PAGE", 3)
    for i in range(8):
        cluster.put("deployments", f"d{i}", spec={"replicas": 1, "template": template(pod_spec(1))})
    _, plan = await drafted(tmp_path)
    assert len(plan.workloads) == 8


async def test_where_only_a_namespace_may_be_read_it_is_told(cluster: Cluster, tmp_path: Path) -> None:
    cluster.server.denied |= {(plural, None) for plural in LISTS} | {("services", "ml")}
    for namespace in ("ml", "other"):
        cluster.put_pod(f"p-{namespace}", ("TrainJob", f"t-{namespace}"), pod_spec(1), "gpu-a", namespace)
    text, plan = await drafted(tmp_path)
    assert [(w.name, w.runs_on.legacy) for w in plan.workloads] == [("t-ml", ("gpu-a",))]
    assert "all namespaces: not allowed, so only ml was looked at" in text
    assert "services: not told: GET /api/v1/namespaces/ml/services" in text
    assert "nodes: not told" in text
    assert "pods run there; nodes are not told" in text


async def test_no_secret_and_no_config_map_is_ever_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    for plural in ("secrets", "configmaps"):
        cluster.server.resources[f"v1/{plural}"] = {"namespaced": True}
    await drafted(tmp_path)
    assert {plural for plural, _ in cluster.server.listed}.isdisjoint({"secrets", "configmaps"})


async def test_who_may_not_list_pods_is_told_so(cluster: Cluster, tmp_path: Path) -> None:
    cluster.server.denied |= {("pods", None), ("pods", "ml")}
    with pytest.raises(ApiDenied, match="pods is forbidden"):
        await drafted(tmp_path)


NASTY = st.text(max_size=30) | st.sampled_from(["a\nb: c", "x # y", "\u2028", "}{", "'", '"', "\x85", "\ud800", "- a", "&x", "*"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NASTY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "spec", "metadata", "items", "labels"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(name=NASTY, image=NASTY, env=NASTY, path=NASTY, kind=NASTY, label=NASTY)
def test_whatever_objects_are_called_the_draft_stays_a_plan(
    name: str, image: str, env: str, path: str, kind: str, label: str
) -> None:
    spec = pod_spec(1, image, env, container={"env": [{"name": env, "value": f"s3://{path}"}]})
    spec["volumes"] = [{"name": "h", "hostPath": {"path": path}}]
    pods = [{"metadata": {"name": name, "namespace": name, "ownerReferences": [{"controller": True, "kind": kind, "name": name}]},
             "spec": spec | {"nodeName": label}, "status": {"phase": "Running"}}]  # fmt: skip
    nodes = [node(label, 2, name, **{"nvidia.com/gpu.product": label, "topology.kubernetes.io/region": label})]
    nodes[0]["status"]["addresses"][0]["address"] = name or "x"
    services = [
        {
            "metadata": {"name": name, "namespace": name, "annotations": {"external-dns.alpha.kubernetes.io/hostname": name}},
            "spec": {},
        }
    ]
    seen = KubernetesSeen(None, {"pods": pods, "nodes": nodes, "services": services})
    text = draft(legacy_of_kubernetes(seen, name), name="move", provider=None)
    checked = parse_plan(text, Path("draft.yaml"))
    assert [p for p in checked.problems if p.severity == "error"] == [], text
    assert checked.plan is not None
    assert len(checked.plan.workloads) == 1
    assert set(checked.plan.model_fields_set) <= {"version", "name", "legacy", "target", "stores", "workloads"}


@given(
    st.sampled_from([*KINDS, "nodes", "services", "ingresses", "httproutes", "gateways", "persistentvolumeclaims"]),
    JSON,
    JSON,
    JSON,
)
def test_no_object_ends_in_an_exception(plural: str, spec: Any, status: Any, meta: Any) -> None:
    found = json.loads(json.dumps({"metadata": meta, "spec": spec, "status": status}))
    draft(legacy_of_kubernetes(KubernetesSeen(None, {plural: [found]}, [found]), "c"), name="move", provider=None)

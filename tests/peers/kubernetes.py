"""A Kubernetes API server over HTTP: kmock's emulator, and on top what it lacks and what these tests are about: resourceVersion conflicts,
tokens, label selectors, and controllers that make pods of replicas."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kmock

TOKEN = "token-of-the-tests"
DEPLOYMENTS, PODS, JOBS, CRONJOBS = "apps/v1/deployments", "v1/pods", "batch/v1/jobs", "batch/v1/cronjobs"
HTTPROUTES = "gateway.networking.k8s.io/v1/httproutes"
NAMESPACE = "ml"


class ApiServer(kmock.KubernetesEmulator):
    """What it holds is set by `put` and read by `find`."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 100
        self.interfering = 0  # how many writes are preceded by somebody else's
        self.are_pods_stuck = False  # they do not end
        self.is_asleep = False  # controllers see nothing
        self.token = TOKEN
        self.pods: set[str] = set()
        self.denied: set[tuple[str, str | None]] = set()  # (plural, namespace; None: of all) that may not be listed
        self.listed: list[tuple[str, str | None]] = []
        for text in (DEPLOYMENTS, PODS, JOBS, CRONJOBS, HTTPROUTES):
            self.resources[text] = {"namespaced": True}

    def put(self, resource: str, name: str, **parts: Any) -> None:
        """Have an object, as somebody else made it."""
        self.version += 1
        meta = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{self.version}", "generation": 1}
        self.objects[resource, NAMESPACE, name] = {"metadata": meta | {"resourceVersion": str(self.version)}, **parts}
        self.control()

    def find(self, resource: str, name: str) -> Any:
        return self.objects[resource, NAMESPACE, name].last.raw

    def edit(self, resource: str, name: str, **parts: Any) -> None:
        """Change an object as somebody else would."""
        self.version += 1
        version = {"metadata": {"resourceVersion": str(self.version)}}
        self.objects[resource, NAMESPACE, name].patch(version | parts)

    def deployment(self, name: str, replicas: int) -> None:
        self.put(DEPLOYMENTS, name, spec={"replicas": replicas, "selector": {"matchLabels": {"app": name}}})

    def control(self) -> None:
        """What controllers do: pods and status follow the replicas of each deployment."""
        if self.is_asleep:
            return
        for key in list(self.objects):
            if key[0].plural != "deployments":
                continue
            found = self.objects[key].last.raw
            wanted, app = found["spec"]["replicas"], key[2]
            self._have_pods(app, wanted)
            status = {"replicas": wanted, "readyReplicas": wanted, "observedGeneration": found["metadata"]["generation"]}
            self.objects[key].patch({"status": status})

    def _have_pods(self, app: str, wanted: int) -> None:
        for number in range(10):
            name = f"{app}-{number}"
            is_there = name in self.pods
            if number < wanted and not is_there:
                self.pods.add(name)
                labels = {"name": name, "namespace": NAMESPACE, "labels": {"app": app}}
                self.objects[PODS, NAMESPACE, name] = {"metadata": labels, "status": {"phase": "Running"}}
            elif number >= wanted and is_there and not self.are_pods_stuck:
                self.pods.discard(name)
                del self.objects[PODS, NAMESPACE, name]

    async def _handle(self, request: Any) -> Any:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise kmock.KubernetesError(status=401, reason="Unauthorized", message="Unauthorized")
        if request.action == kmock.action.UPDATE and request.name is not None:
            self._check_version(request)
        answer = await super()._handle(request)
        self.control()
        return answer

    def _check_version(self, request: Any) -> None:
        key = (request.resource, request.namespace, request.name)
        if key not in self.objects:
            return
        if self.interfering > 0:
            self.interfering -= 1
            self.version += 1
            self.objects[key].patch({"metadata": {"resourceVersion": str(self.version)}})
        meta, given = self.objects[key].last.raw["metadata"], request.data.get("metadata", {})
        if any(given.get(name, meta[name]) != meta[name] for name in ("resourceVersion", "uid")):
            raise kmock.KubernetesError(status=409, reason="Conflict", message="the object has been modified; please apply anew")
        self.version += 1
        request.data["metadata"] = given | {"resourceVersion": str(self.version), "generation": meta["generation"] + 1}

    async def _serve_list(self, request: Any) -> Any:
        asked = (request.resource.plural, request.namespace)
        self.listed.append(asked)
        if asked in self.denied:
            raise kmock.KubernetesError(status=403, reason="Forbidden", message=f"{asked[0]} is forbidden")
        answer: Any = await super()._serve_list(request)
        wanted = dict(part.split("=") for part in request.params.get("labelSelector", "").split(",") if part)
        items = [one for one in answer["items"] if wanted.items() <= one["metadata"].get("labels", {}).items()]
        first, most = int(request.params.get("continue", 0)), int(request.params.get("limit", len(items)))
        more = {"metadata": {"continue": str(first + most)}} if len(items) > first + most else {}
        return answer | {"items": items[first : first + most]} | more


@contextlib.asynccontextmanager
async def kubernetes(folder: Path) -> AsyncIterator[ApiServer]:
    """The API server while it runs; `folder/kubeconfig` reaches it, with the namespace `ml`."""
    async with ApiServer() as server, kmock.Server(server) as running:
        write_kubeconfig(folder / "kubeconfig", str(running.url).rstrip("/"))
        yield server


def write_kubeconfig(path: Path, url: str, **user: Any) -> None:
    """A kubeconfig with one context, `test`; `user` are fields of its user instead of the token."""
    config = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "one", "user": "me", "namespace": NAMESPACE}}],
        "clusters": [{"name": "one", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": user or {"token": TOKEN}}],
    }
    path.write_text(json.dumps(config))
    path.chmod(0o600)

"""Workloads of Kubernetes, over the API server's HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.kubernetes.client import KubernetesClient
from backends.kubernetes.errors import ApiDenied, KubeconfigError, KubernetesError, ObjectChanged
from backends.kubernetes.kubeconfig import load_cluster
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from backends.workloads.base import NoWay, StillRunning, WorkloadControl, WorkloadError
from backends.workloads.kubernetes import selector_text
from tests.backends.workloads.conftest import control
from tests.peers.kubernetes import CRONJOBS, DEPLOYMENTS, JOBS, ApiServer, kubernetes, write_kubeconfig


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with kubernetes(tmp_path) as running:
        yield running


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[list[WorkloadControl]]:
    made: list[WorkloadControl] = []
    yield made
    for one in made:
        await one.close()


class Maker:
    """Opens workloads of the cluster, and closes them at the end."""

    def __init__(self, base: Path, made: list[WorkloadControl]) -> None:
        self._base, self._made = base, made

    def __call__(self, kind: str = "deployment", timeout: str = "10s", **more: Any) -> WorkloadControl:
        spec = {"kubeconfig": "kubeconfig", "kind": kind, "name": "train"} | more
        self._made.append(control(SshPool(SshSettings(), ()), self._base, kubernetes=spec, timeout=timeout))
        return self._made[-1]


@pytest.fixture
def make(tmp_path: Path, opened: list[WorkloadControl]) -> Maker:
    return Maker(tmp_path, opened)


async def test_what_resume_restores_is_what_was_pinned(api: ApiServer, make: Maker) -> None:
    api.deployment("train", 3)
    train = make(replicas=1)
    pinned = await train.pin("legacy")
    assert pinned == {"replicas": 3}
    stopped = await train.quiesce("legacy")
    assert stopped.text == "pretrain quiesced on legacy: deployment train: 0 replicas, 0 ready, 0 pods"
    assert (await train.look("legacy")).state == "quiesced"
    assert await train.pin("legacy") == {}  # the zero is ours: what was pinned before stays
    await train.resume("legacy", pinned)
    seen = await train.look("legacy")
    assert (seen.state, seen.is_ready) == ("running", True)
    assert api.find(DEPLOYMENTS, "train")["spec"]["replicas"] == 3


async def test_what_never_ran_starts_with_the_plans_replicas_or_not_at_all(api: ApiServer, make: Maker) -> None:
    api.deployment("train", 0)
    with pytest.raises(WorkloadError, match="nothing says how many"):
        await make().resume("target", {})
    await make(replicas=2).resume("target", {})
    assert api.find(DEPLOYMENTS, "train")["spec"]["replicas"] == 2


async def test_replicas_that_somebody_gave_it_in_between_are_left_alone(api: ApiServer, make: Maker) -> None:
    api.deployment("train", 5)
    await make().resume("legacy", {"replicas": 3})
    assert api.find(DEPLOYMENTS, "train")["spec"]["replicas"] == 5


async def test_a_pod_that_is_still_ending_is_a_writer(api: ApiServer, make: Maker) -> None:
    api.deployment("train", 2)
    api.are_pods_stuck = True
    with pytest.raises(StillRunning, match="0 replicas, 0 ready, 2 pods"):
        await make(timeout="600ms").quiesce("legacy")
    assert (await make().look("legacy")).state == "draining"


async def test_replicas_that_no_controller_has_seen_are_not_ready(api: ApiServer, make: Maker) -> None:
    api.deployment("train", 0)
    api.is_asleep = True
    started = await make(replicas=1).resume("legacy", {})
    assert (started.standing.state, started.standing.is_ready) == ("running", False)


async def test_a_conflict_is_read_again_and_nothing_overwritten(api: ApiServer, make: Maker) -> None:
    api.deployment("train", 2)
    api.interfering = 3
    await make().quiesce("legacy")
    assert api.find(DEPLOYMENTS, "train")["spec"]["replicas"] == 0
    api.deployment("train", 2)
    api.interfering = 100
    with pytest.raises(ObjectChanged, match="others changed it 5 times"):
        await make().quiesce("legacy")
    assert api.find(DEPLOYMENTS, "train")["spec"]["replicas"] == 2


async def test_an_object_that_was_made_anew_is_not_the_one_that_was_read(api: ApiServer, tmp_path: Path) -> None:
    api.deployment("train", 2)
    client = KubernetesClient("kubeconfig", None, tmp_path)

    def decide(found: dict[str, Any]) -> dict[str, Any] | None:
        if found["spec"]["replicas"] == 2:
            api.deployment("train", 4)
            return {"spec": {"replicas": 0}}
        return None

    try:
        kept = await client.change("/apis/apps/v1/namespaces/ml/deployments/train", decide)
    finally:
        await client.close()
    assert kept["spec"]["replicas"] == 4


async def test_a_job_is_suspended_and_goes_on(api: ApiServer, make: Maker) -> None:
    api.put(JOBS, "train", spec={"suspend": False, "selector": {"matchLabels": {"job": "train"}}}, status={"active": 0})
    job = make("job")
    assert (await job.quiesce("legacy")).text == "pretrain quiesced on legacy: job train: suspended, 0 running"
    await job.resume("legacy", {})
    assert (await job.look("legacy")).state == "running"
    api.edit(JOBS, "train", status={"conditions": [{"type": "Complete", "status": "True"}]})
    seen = await job.look("legacy")
    assert (seen.state, seen.detail) == ("quiesced", "job train: complete, 0 running")


async def test_a_cron_job_that_runs_is_awaited(api: ApiServer, make: Maker) -> None:
    api.put(CRONJOBS, "train", spec={"suspend": False}, status={"active": [{"name": "train-1"}]})
    with pytest.raises(StillRunning, match="takes no new work"):
        await make("cronjob", timeout="600ms").drain("legacy")
    api.edit(CRONJOBS, "train", status={"active": []})
    assert (await make("cronjob").drain("legacy")).text.endswith("nothing of it runs any more")


async def test_new_work_of_a_deployment_cannot_be_stopped_alone(api: ApiServer, make: Maker) -> None:
    api.deployment("train", 1)
    with pytest.raises(NoWay):
        await make().stop_new_work("legacy")


async def test_what_is_not_there_and_what_is_not_allowed_is_unknown_and_told(api: ApiServer, make: Maker) -> None:
    assert (await make().look("legacy")).state == "unknown"
    api.deployment("train", 1)
    api.token = "another"
    with pytest.raises(ApiDenied) as raised:
        await make().quiesce("legacy")
    assert "answered 401" in raised.value.message
    assert "token-of" not in str(raised.value) + raised.value.hint


async def test_a_server_that_is_gone_is_told(tmp_path: Path, make: Maker) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    with pytest.raises(KubernetesError, match=r"cannot ask http://127\.0\.0\.1:1"):
        await make().quiesce("legacy")


@pytest.mark.parametrize(
    ("url", "user", "said"),
    [
        ("https://k.example", {"exec": {"command": "aws"}}, "has `exec`, which is not supported"),
        ("https://k.example", {"auth-provider": {"name": "gcp"}}, "has `auth-provider`"),
        ("https://k.example", {"username": "me", "password": "secret-word"}, "has `username`"),
        ("http://k.example", {"token": "secret-word"}, "is plain http"),
        ("https://k.example", {"client-certificate-data": "!", "token": "secret-word"}, "client-certificate cannot be read"),
        ("https://k.example", {"client-certificate-data": "YQ==", "client-key-data": "YQ=="}, "certificates cannot be used"),
        ("ftp://k.example", {"token": "secret-word"}, "names no server"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_says_why_and_no_secret(
    tmp_path: Path, url: str, user: dict[str, Any], said: str
) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", url, **user)
    with pytest.raises(KubeconfigError, match=said) as raised:
        load_cluster(tmp_path / "kubeconfig", None)
    assert "secret-word" not in str(raised.value) + raised.value.hint


def test_a_context_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", "https://k.example")
    with pytest.raises(KubeconfigError) as raised:
        load_cluster(tmp_path / "kubeconfig", "other")
    assert raised.value.hint == "it has test"


@given(st.binary(max_size=200))
def test_no_file_whatever_its_bytes_is_more_than_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("kube") / "kubeconfig"
    path.write_bytes(data)
    with pytest.raises(KubeconfigError):
        load_cluster(path, None)


def test_selectors_are_those_of_the_api() -> None:
    rules = [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"}]
    assert selector_text({"matchLabels": {"app": "x"}, "matchExpressions": rules}) == "app=x,tier in (a,b),!old"
    with pytest.raises(ValueError, match="empty"):
        selector_text({})

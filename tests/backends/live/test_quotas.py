"""What target's authorities grant, asked of a real Slurm, of an API server, of Service Quotas' own protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.children import Children
from backends.live.found import Found
from backends.live.quotas import judge_associations, judge_kubernetes, judge_partition, quantity, try_quota
from backends.plan.load import check_plan, load_plan
from backends.plan.models import Plan
from backends.plan.quotas import Quota, SlurmQuota
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from tests.peers.kubernetes import NAMESPACE, kubernetes
from tests.peers.service_quotas import service_quotas
from tests.peers.slurm import Slurm, slurm

QUOTAS = "v1/resourcequotas"
GPU = "requests.nvidia.com/gpu"


def plan_of(folder: Path, quota: str) -> Plan:
    write(folder, quota)
    checked = load_plan(folder / "plan.yaml")
    assert checked.plan is not None
    return checked.plan


def write(folder: Path, quota: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(
        f"version: 1\nname: move\nlegacy: {{provider: old}}\ntarget: {{provider: new}}\nquotas: [{{name: gpus, {quota}}}]\n"
    )
    return path


async def tried(plan: Plan, folder: Path, env: dict[str, str] | None = None) -> list[Found]:
    async with SshPool(SshSettings(), []) as pool:
        return await try_quota(plan, 0, pool, Children(env=env), folder)


def told(found: list[Found]) -> list[tuple[str, str, str]]:
    return [(f.severity, f.code, f.evidence) for f in found]


async def test_a_namespace_that_grants_too_little_or_has_too_little_left_is_told(tmp_path: Path) -> None:
    async with kubernetes(tmp_path) as server:
        server.resources[QUOTAS] = {"namespaced": True}

        async def asked(need: int) -> list[tuple[str, str, str]]:
            quota = f"kubernetes: {{kubeconfig: kubeconfig}}, needs: {{{GPU}: {need}, requests.memory: 500000000000}}"
            return told(await tried(plan_of(tmp_path, quota), tmp_path))

        assert await asked(1000) == []  # no quota, no limit
        hard = {GPU: "16", "requests.memory": "1Ti", "pods": "10"}
        server.put(QUOTAS, "team", spec={"hard": hard}, status={"hard": hard, "used": {GPU: "10", "requests.memory": "1Gi"}})
        assert await asked(6) == []
        assert await asked(8) == [("warning", "quota_used", "ResourceQuota team grants 16, 10 are in use, 8 are needed")]
        assert await asked(32) == [("error", "quota", "ResourceQuota team grants 16, 32 are needed")]
        server.token = "another"
        [(severity, code, evidence)] = await asked(6)
        assert (severity, code) == ("error", "quota_unknown")
        assert "answered 401" in evidence
        assert NAMESPACE in evidence


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slurm]:
    async with slurm(tmp_path_factory.mktemp("slurm")) as server:
        yield server


@pytest.mark.asyncio(loop_scope="module")
async def test_a_partition_of_a_real_slurm_is_held_against_what_is_needed(cluster: Slurm, tmp_path: Path) -> None:
    async def asked(partition: str, needs: str) -> list[tuple[str, str, str]]:
        plan = plan_of(tmp_path, f"slurm: {{partition: {partition}}}, needs: {{{needs}}}")
        return told(await tried(plan, tmp_path, cluster.env))

    assert await asked("old", "nodes: 1, cpus: 1, hours: 1000") == []
    assert await asked("old", "nodes: 4, gpus: 8") == [
        ("error", "quota", "partition old gives 1, 4 are needed"),
        ("error", "quota", "partition old gives 0, 8 are needed"),
    ]
    await cluster.run("scontrol", "update", "PartitionName=old", "MaxTime=1-12:30:00")
    try:
        assert await asked("old", "hours: 48") == [("error", "quota", "partition old gives 36.5, 48 are needed")]
    finally:
        await cluster.run("scontrol", "update", "PartitionName=old", "MaxTime=UNLIMITED")
    assert await asked("new", "nodes: 1") == [("warning", "quota_closed", "partition new is DRAIN")]
    [(severity, code, evidence)] = await asked("none", "nodes: 1")
    assert (severity, code) == ("error", "quota_unknown")
    assert "none" in evidence


# As sacctmgr 22.05 with slurmdbd printed it: ml below root, vision below ml, its user ops.
ASSOCIATIONS = """root|||||
root||root|||
ml|root||gres/gpu=8,node=4||1-00:00:00
vision|ml||cpu=64||1-00:00:00
vision||ops||gres/gpu=4|1-00:00:00
"""


@pytest.mark.parametrize(
    ("account", "user", "needs", "told_"),
    [
        ("vision", None, {"gpus": 8, "nodes": 4, "cpus": 64, "hours": 24}, []),
        ("vision", None, {"gpus": 16}, ["account ml is allowed 8, 16 are needed"]),
        (
            "vision",
            "ops",
            {"gpus": 6, "cpus": 128},
            ["user ops in account vision is allowed 4, 6 are needed", "account vision is allowed 64, 128 are needed"],
        ),
        ("ml", None, {"hours": 48, "cpus": 999}, ["account ml is allowed 24, 48 are needed"]),
        ("root", None, {"gpus": 999}, []),
        ("none", None, {"gpus": 1}, ["sacctmgr shows no account none"]),
        ("ml", "ops", {"gpus": 1}, ["sacctmgr shows no user ops in account ml"]),
    ],
)
def test_what_binds_an_account_binds_those_below_it(
    account: str, user: str | None, needs: dict[str, float], told_: list[str]
) -> None:
    quota = Quota(name="q", slurm=SlurmQuota(partition="p", account=account, user=user), needs=needs)
    assert [f.evidence for f in judge_associations(quota, 0, ASSOCIATIONS)] == told_


@given(st.text(alphabet="ab|=\n,1gres/pu", max_size=200))
def test_whatever_sacctmgr_prints_is_judged(text: str) -> None:
    quota = Quota(name="q", slurm=SlurmQuota(partition="p", account="a", user="b"), needs={"gpus": 1.0})
    assert all(f.code == "quota" for f in judge_associations(quota, 0, text))
    ring = "a|b||gres/gpu=0||\nb|a||||\n"
    assert len(list(judge_associations(quota, 0, ring))) == 2


async def test_service_quotas_are_asked_and_its_default_where_the_account_has_no_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    async with service_quotas() as server:
        plan = plan_of(
            tmp_path,
            f"aws: {{region: us-east-1, endpoint: '{server.endpoint}'}}, needs: {{L-417A185B: 192, L-DB2E81BA: 64}}",
        )
        server.applied["ec2", "L-417A185B"] = 96.0
        server.defaults["ec2", "L-DB2E81BA"] = 64.0
        assert told(await tried(plan, tmp_path)) == [("error", "quota", "the account is granted 96, 192 are needed")]
        assert server.asked == ["GetServiceQuota", "GetServiceQuota", "GetAWSDefaultServiceQuota"]
        server.applied["ec2", "L-417A185B"] = 192.0
        assert await tried(plan, tmp_path) == []
        server.is_denied = True
        [found] = await tried(plan, tmp_path)
        assert found.code == "quota_unknown"
        assert "AccessDeniedException" in found.evidence
        assert "s3cret" not in repr(found)
    [found] = await tried(plan, tmp_path)
    assert found.code == "quota_unknown"


@pytest.mark.parametrize(
    ("quota", "code", "field"),
    [
        ("needs: {nodes: 1}", "quota_kind", "quotas[0]"),
        ("slurm: {partition: p}, aws: {}, needs: {nodes: 1}", "quota_kind", "quotas[0]"),
        ("slurm: {partition: p}, needs: {}", "quota_needs", "quotas[0].needs"),
        ("slurm: {partition: p}, needs: {node: 1}", "quota_thing", "quotas[0].needs.node"),
        ("slurm: {partition: p, user: u}, needs: {nodes: 1}", "quota_user", "quotas[0].slurm.user"),
        ("slurm: {partition: p, host: h}, needs: {nodes: 1}", "unknown_host", "quotas[0].slurm.host"),
        ("aws: {}, needs: {vcpus: 1}", "quota_thing", "quotas[0].needs.vcpus"),
        ("aws: {endpoint: x}, needs: {L-417A185B: 1}", "quota_endpoint", "quotas[0].aws.endpoint"),
    ],
)
def test_a_quota_that_cannot_be_asked_is_an_error_of_the_plan(tmp_path: Path, quota: str, code: str, field: str) -> None:
    [error] = [p for p in check_plan(write(tmp_path, quota)).problems if p.severity == "error"]
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16.0),
        ("500m", 0.5),
        ("64Gi", 64 * 2.0**30),
        ("1e3", 1000.0),
        ("2.5k", 2500.0),
        ("-1", None),
        ("many", None),
        (None, None),
        (16, None),
    ],
)
def test_a_quantity_of_kubernetes_is_read(text: object, value: float | None) -> None:
    assert quantity(text) == (pytest.approx(value) if value is not None else None)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.sampled_from(["status", "metadata", "hard", "used", GPU]), c),
    )
)
def test_whatever_an_api_server_answers_is_judged_or_passed_over(value: object) -> None:
    quota = Quota(name="q", slurm=SlurmQuota(partition="p"), needs={GPU: 1.0, "nodes": 1.0})
    assert all(
        f.code.startswith("quota") for f in judge_kubernetes(quota, 0, [value, {"status": {"hard": {GPU: value}, "used": value}}])
    )


@given(st.text(max_size=200))
def test_whatever_scontrol_prints_is_judged_or_refused(text: str) -> None:
    quota = Quota(name="q", slurm=SlurmQuota(partition="p"), needs={"nodes": 1.0, "gpus": 1.0, "hours": 1.0})
    assert all(f.code.startswith("quota") for f in judge_partition(quota, 0, f"PartitionName=p {text}"))

"""A real Slurm looked at over a real sshd: nodes, jobs and their scripts are in the draft, and what Slurm does not tell is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backends.inventory.draft import draft
from backends.inventory.slurm import SlurmSeen, look_at_slurm
from backends.inventory.slurm_work import legacy_of_slurm
from backends.plan.load import parse_plan
from backends.plan.models import Plan
from backends.slurm.partition import SlurmError
from backends.ssh.pool import SshPool
from tests.peers.openssh import openssh
from tests.peers.slurm import Slurm, slurm

SCRIPT = """#!/bin/bash
# vllm is named in a comment only
module load cuda/12.4 nccl
export HF_TOKEN=hunter2-hunter2
export OUT=s3://corp-out/models
srun --container-image=nvcr.io#nvidia/pytorch:24.05-py3 torchrun train.py &
sleep 300
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slurm]:
    async with slurm(tmp_path_factory.mktemp("slurm"), gpus=4, features="spot,a100") as running:
        yield running


async def submit(cluster: Slurm, *argv: str, partition: str = "old") -> str:
    common = ("--parsable", "--output=/dev/null", f"--partition={partition}")
    return (await cluster.run("sbatch", *common, *argv)).strip()


async def looked_at(cluster: Slurm, folder: Path) -> SlurmSeen:
    async with openssh(folder / "sshd", env=cluster.env) as server, SshPool(server.settings, [server.host("login")]) as pool:
        return await look_at_slurm(pool, server.host("login"))


def read(text: str) -> Plan:
    """The draft as a plan; beside stores that nothing uses yet there must be nothing to say of it."""
    checked = parse_plan(text, Path("draft.yaml"))
    assert {p.code for p in checked.problems} <= {"unused_store"}, checked.problems
    assert checked.plan is not None
    return checked.plan


async def test_what_runs_and_what_waits_is_in_the_draft_with_its_source(cluster: Slurm, tmp_path: Path) -> None:
    script = tmp_path / "nightly.sh"
    script.write_text(SCRIPT)
    job = await submit(cluster, "--job-name=nightly", "--gres=gpu:2", f"--chdir={tmp_path}", str(script))
    await cluster.until_job(job, "RUNNING")
    await submit(cluster, "--job-name=x\ny # }", "--gres=gpu:4", "--array=0-2", "--wrap=sleep 300")
    await submit(cluster, "--job-name=no gpu", "--wrap=sleep 300")
    try:
        seen = await looked_at(cluster, tmp_path)
    finally:
        await cluster.reset()
    text = draft(legacy_of_slurm(seen), name="move", provider="onprem")
    plan = read(text)
    login, node = plan.legacy.hosts
    assert (login.name, login.gpus) == ("login", None)
    assert node.gpus is not None
    assert (node.address, node.gpus.type, node.gpus.count, node.spot) == ("127.0.0.1", "a100", 4, True)
    work = {w.name: w for w in plan.workloads}
    assert {(w.name, w.class_, w.gpus and w.gpus.count, w.runs_on.legacy) for w in work.values()} == {
        ("nightly", "training", 2, (node.name,)),
        ("x-y", "batch", 4, ()),
    }
    framework = work["nightly"].framework
    assert framework is not None
    assert (framework.name, framework.version, framework.image) == ("pytorch", None, "nvcr.io#nvidia/pytorch:24.05-py3")
    assert {s.url for s in plan.stores.values()} >= {"s3://corp-out/", f"ssh://login{tmp_path}/"}
    for told in (
        "inferred: `torchrun` in its script",
        "spot: true  # inferred: the feature spot of the node",
        "modules: cuda/12.4, nccl",
        "HF_TOKEN (hash ",
        "1 waiting (an array counts once)",
        "1 kind of jobs without GPUs left out",
        "durations and frequency: not known, no accounting tells",
        "seen: WorkDir of jobs `nightly`; its file system ",
        r"jobs `x\ny # }` of root",
    ):
        assert told in text
    assert "hunter2" not in text


async def test_where_slurm_does_not_answer_it_is_told_with_a_cure(tmp_path: Path) -> None:
    nowhere = tmp_path / "slurm.conf"
    nowhere.write_text(
        "ClusterName=none\nSlurmctldHost=nowhere(127.0.0.1)\nSlurmctldPort=1\nMessageTimeout=1\nNodeName=nowhere\n"
    )
    env = {"SLURM_CONF": str(nowhere), "PATH": "/nothing"}
    async with openssh(tmp_path / "sshd", env=env) as server, SshPool(server.settings, [server.host("login")]) as pool:
        with pytest.raises(SlurmError, match=r"scontrol -o. on login ended with 127") as caught:
            await look_at_slurm(pool, server.host("login"))
    assert "cutover inventory slurm USER@HOST" in caught.value.hint


@pytest.mark.slow
async def test_with_accounting_each_job_counts_once_with_its_peak_duration_and_rhythm(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    async with slurm(tmp_path / "cluster", gpus=4, has_accounting=True) as cluster:
        fill = "import time; held = bytearray(200 << 20); time.sleep(4)"
        for _ in range(4):
            job = await submit(cluster, "--job-name=nightly", "--gres=gpu:1", f'--wrap=python3 -c "{fill}"')
            between = await submit(cluster, "--job-name=between", "--wrap=sleep 1")
            for done in (job, between):
                await cluster.until_job(done, "COMPLETED")
        running = await submit(cluster, "--job-name=a|b\nc", "--gres=gpu:2", "--wrap=sleep 300")
        await cluster.until_job(running, "RUNNING")
        asked = ("sacct", "--allusers", "--noheader", "--allocations", "--parsable2", "--format=JobIDRaw,State")
        async with asyncio.timeout(60):  # the daemon of the accounting is told by and by
            while not {"8|COMPLETED", f"{running}|RUNNING"} <= set((await cluster.run(*asked)).split()):
                pass
        seen = await looked_at(cluster, tmp_path)
    text = draft(legacy_of_slurm(seen), name="move", provider="onprem")
    work = {w.name: w for w in read(text).workloads}
    assert set(work) == {"nightly", "a-b-c"}
    assert "of root in partition old: 4 in 30 days" in text
    assert "of root in partition old: 1 running, 1 in 30 days" in text
    nightly = work["nightly"]
    assert nightly.duration is not None
    assert nightly.every is not None
    assert 3 <= nightly.duration <= nightly.every < 60
    assert nightly.host_memory is not None
    assert 200e6 < nightly.host_memory < 2e9, text
    assert nightly.gpus is not None
    assert nightly.gpus.count == 1

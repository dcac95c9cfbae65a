"""Workloads that are partitions of a real Slurm, over a real sshd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.slurm.partition import STATES, parse_partition
from backends.ssh.pool import SshPool
from backends.workloads.base import StillRunning, WorkloadError
from backends.workloads.slurm import parse_jobs
from tests.backends.workloads.conftest import control
from tests.peers.openssh import openssh
from tests.peers.slurm import Slurm, slurm

SLEEPS = "sleep 300"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slurm]:
    async with slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
async def pool(cluster: Slurm, tmp_path: Path) -> AsyncIterator[SshPool]:
    async with openssh(tmp_path / "sshd", env=cluster.env) as server, SshPool(server.settings, [server.host()]) as opened:
        yield opened
    await cluster.reset()


async def test_an_idle_partition_is_closed_and_opened_again(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    queue = control(pool, tmp_path, slurm="old")
    assert (await queue.look("legacy")).text == "running (partition old UP, nothing of it runs)"
    stopped = await queue.quiesce("legacy")
    assert stopped.text == "pretrain quiesced on legacy: partition old is INACTIVE, nothing of it runs"
    assert (await queue.look("legacy")).state == "quiesced"
    assert "Required partition not available" in (await cluster.attempt("sbatch", "--partition=old", "--wrap=true"))[1]
    await queue.quiesce("legacy")
    await queue.resume("legacy", {})
    assert (await queue.look("legacy")).state == "running"
    assert await cluster.state("old") == "UP"


async def test_with_hold_jobs_are_taken_and_none_starts(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    queue = control(pool, tmp_path, slurm={"partition": "old", "queue": "hold"})
    await queue.quiesce("legacy")
    job = await cluster.submit("old", "true")
    assert await cluster.state("old") == "DOWN"
    assert (await queue.look("legacy")).state == "quiesced"  # it waits, and nothing starts it
    await queue.resume("legacy", {})
    await cluster.until_job(job, "COMPLETED")


async def test_a_running_job_is_awaited_and_not_killed(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    job = await cluster.submit("old", SLEEPS, "train")
    await cluster.until_job(job, "RUNNING")
    queue = control(pool, tmp_path, slurm="old", timeout="1s")
    with pytest.raises(
        StillRunning, match=rf"not quiesced: draining \(partition old INACTIVE, 1 jobs: {job} train \(running\)\)"
    ):
        await queue.quiesce("legacy")
    await cluster.until_job(job, "RUNNING")


async def test_a_job_is_told_to_write_its_checkpoint_only_where_the_plan_says_so(
    cluster: Slurm, pool: SshPool, tmp_path: Path
) -> None:
    script = f"trap 'echo saved > {tmp_path}/checkpoint; exit 0' USR1; while :; do sleep 0.2; done"
    job = await cluster.submit("old", script, "train")
    await cluster.until_job(job, "RUNNING")
    queue = control(pool, tmp_path, slurm={"partition": "old", "signal": "USR1", "grace": "30s"}, timeout="500ms")
    stopped = await queue.quiesce("legacy")
    assert stopped.signalled == (job,)
    assert f"{job} told to end by USR1 after 0.5 s, nothing of it runs" in stopped.text
    assert (tmp_path / "checkpoint").read_text() == "saved\n"


async def test_jobs_of_others_in_the_partition_are_not_ours(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    job = await cluster.submit("old", SLEEPS, "someone|else's")
    await cluster.until_job(job, "RUNNING")
    assert (await control(pool, tmp_path, slurm={"partition": "old", "jobs": ["train"]}).quiesce("legacy")).standing.is_idle
    seen = await control(pool, tmp_path, slurm={"partition": "old", "jobs": ["someone|else's"]}).look("legacy")
    assert seen.is_idle is False


async def test_a_queue_that_drains_finishes_what_was_submitted_before(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    for number in range(3):
        await cluster.submit("old", f"sleep 0.3; touch {tmp_path}/done-{number}")
    drained = await control(pool, tmp_path, slurm="old").drain("legacy")
    assert drained.text.endswith("nothing of it runs any more")
    assert await cluster.state("old") == "DRAIN"
    assert len(list(tmp_path.glob("done-*"))) == 3


async def test_a_partition_that_is_not_there_is_told(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    queue = control(pool, tmp_path, slurm="nowhere")
    assert (await queue.look("legacy")).state == "unknown"
    with pytest.raises(WorkloadError) as raised:
        await queue.quiesce("legacy")
    assert "see sinfo there" in raised.value.hint


async def test_a_controller_that_is_gone_is_unknown(pool: SshPool, tmp_path: Path) -> None:
    (tmp_path / "none.conf").write_text("ClusterName=none\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\nNodeName=x\n")
    async with (
        openssh(tmp_path / "other", env={"SLURM_CONF": str(tmp_path / "none.conf")}) as server,
        SshPool(server.settings, [server.host()]) as other,
    ):
        seen = await control(other, tmp_path, slurm="old", timeout="3s").look("legacy")
    assert (seen.state, seen.is_idle) == ("unknown", None)


@given(st.text(), st.sampled_from(STATES))
def test_only_the_partitions_own_answer_says_its_state(text: str, state: str) -> None:
    assert parse_partition(f"PartitionName=old AllowGroups=ALL State={state} TotalCPUs=1\n", "old") == state
    if "PartitionName=old" not in text:
        with pytest.raises(ValueError, match="no state of partition old"):
            parse_partition(text, "old")


@given(
    st.from_regex(r"[0-9]+(_[0-9]+|_\[1-9%2\])?", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1),
)
def test_a_jobs_name_may_hold_anything(number: str, name: str) -> None:
    (job,) = parse_jobs(f"{number}|RUNNING|{name}\n")
    assert (job.id, job.state, job.name) == (number, "RUNNING", name)


@given(st.text(min_size=1).filter(lambda text: "|" not in text and text.strip()))
def test_an_odd_answer_of_squeue_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no job"):
        parse_jobs(text)

"""The agent on a host: over a real sshd, with a scripted NVML behind the real ctypes calls."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backends.probes.agent.host import job_of
from backends.probes.agent_link import PARTS, agent_argv, program
from backends.probes.fleet import GpuFleet
from backends.probes.reading import AgentReading, machine_alarms
from backends.snapshot import HostView
from backends.ssh.pool import SshPool
from tests.peers.fake_nvml import GIB, FakeNvml, fake_nvml
from tests.peers.nvidia_smi import FakeSmi, row
from tests.peers.openssh import OpenSsh, openssh

AGENT = Path(__file__).parents[3] / "backends" / "probes" / "agent"


@pytest.fixture
def nvml(tmp_path: Path) -> FakeNvml:
    return fake_nvml(tmp_path / "nvml")


@pytest.fixture
async def sshd(tmp_path: Path, nvml: FakeNvml, smi: FakeSmi) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd", env=nvml.env | smi.env) as server:
        yield server


@contextlib.asynccontextmanager
async def following(pool: SshPool, sshd: OpenSsh, **more: object) -> AsyncIterator[GpuFleet]:
    fleet = GpuFleet(pool, [("legacy", sshd.host())], period=0.2, **more)  # type: ignore[arg-type]
    task = asyncio.create_task(fleet.run())
    try:
        yield fleet
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(fleet: GpuFleet, seen: Callable[[HostView], bool]) -> HostView:
    """The host's whole view once it looks so; the last one stands in the error."""
    view = fleet.view("box", time.time())
    try:
        async with asyncio.timeout(40):
            while view is None or not seen(view):
                await asyncio.sleep(0.02)
                view = fleet.view("box", time.time())
    except TimeoutError:
        raise AssertionError(f"never seen: {view}") from None
    return view


def has_gpus(view: HostView) -> bool:
    return view.source == "agent" and len(view.gpus) == 2 and view.gpus[0].detail is not None


async def test_every_value_of_nvml_arrives(pool: SshPool, sshd: OpenSsh, nvml: FakeNvml, smi: FakeSmi) -> None:
    nvml.set(g0_compute=f"{os.getpid()}:{GIB}", g0_pages0=2, g0_pages1=1, g0_enc=7)
    nvml.set(g1_mig=1, g1_maxmig=7, g111_uuid="MIG-2", g111_name="H100 MIG 1g.10gb", g111_total=10 * GIB, g111_used=GIB)
    async with following(pool, sshd) as fleet:
        view = await until(fleet, has_gpus)
        assert (view.driver, view.cuda, view.health, view.error) == ("570.124.06", "12.8", "live", None)
        gpu = view.gpus[0]
        shown = (gpu.name, gpu.utilization, gpu.memory_used, gpu.memory_total, gpu.power_w, gpu.power_limit_w, gpu.temperature_c)
        assert shown == ("NVIDIA H100 80GB HBM3", 0.55, 40 * GIB, 85_520_809_984, 412.345, 700.0, 61.0)
        detail = gpu.detail
        assert detail is not None
        assert (detail.memory_utilization, detail.memory_temperature_c, detail.clock_mhz, detail.clock_max_mhz) == (
            0.21,
            72,
            1755,
            1980,
        )
        assert (detail.throttled, detail.ecc_corrected, detail.remapped_rows, detail.retired_pages) == (("power cap",), 3, 1, 3)
        other = view.gpus[1].detail
        assert other is not None
        assert [(mig.uuid, mig.name, mig.memory_used, mig.memory_total) for mig in other.mig] == [
            ("MIG-2", "H100 MIG 1g.10gb", GIB, 10 * GIB)
        ]
        assert (other.mig_mode, detail.mig, detail.encoder) == (True, (), 0.07)
        assert (detail.pcie_sent, detail.pcie_generation, detail.pcie_width) == (1_024_000.0, 5, 16)
        assert (detail.persistence, detail.compute_mode, detail.mig_mode, detail.fan) == (True, "default", False, None)
        assert detail.processes is not None
        [process] = detail.processes
        assert (process.pid, process.memory, process.user) == (os.getpid(), GIB, "root" if os.getuid() == 0 else process.user)
        assert "python" in (process.command or "")
        nvml.set(g0_util=90, g0_field138=(1 << 20) + 1_000_000)
        view = await until(fleet, lambda v: v.gpus[0].utilization == 0.9 and bool((d := v.gpus[0].detail) and d.nvlink_sent))
    assert not smi.calls, "nvidia-smi is not asked where NVML answers"


async def test_the_machine_itself_is_seen_with_its_clock_and_disks(pool: SshPool, sshd: OpenSsh, tmp_path: Path) -> None:
    paths = {"box": (str(tmp_path), "/no/such/path")}
    async with following(pool, sshd, paths=paths) as fleet:
        view = await until(
            fleet, lambda v: v.machine is not None and v.machine.clock_offset is not None and v.machine.cpu is not None
        )
    machine = view.machine
    assert machine is not None
    assert machine.kernel == os.uname().release
    assert machine.cpus == os.cpu_count()
    assert abs(machine.clock_offset or 9) < 0.2, "both clocks are the same one"
    assert machine.memory_total is not None
    assert machine.memory_total > (machine.memory_used or 0) > 0
    disks = {disk.path: disk for disk in machine.disks}
    assert disks[str(tmp_path)].free
    assert disks["/no/such/path"].error == "No such file or directory"
    assert any("/no/such/path" in alarm for alarm in view.alarms)


async def test_a_gpu_that_is_lost_is_an_alarm_and_comes_back(pool: SshPool, sshd: OpenSsh, nvml: FakeNvml) -> None:
    async with following(pool, sshd) as fleet:
        await until(fleet, has_gpus)
        nvml.set(g1_xid=79, g1_lost=1)
        view = await until(fleet, lambda v: bool(v.gpus[1].alarm))
        assert view.gpus[1].alarm == (
            "lost after Xid 79, the GPU has fallen off the bus: drain the host and reboot it; if it comes back, the GPU is broken"
        )
        assert view.gpus[1].utilization is None, "never 0"
        assert view.gpus[0].alarm is None
        nvml.set(g1_xid=None, g1_lost=None)
        await until(fleet, lambda v: v.gpus[1].utilization == 0.55)


@pytest.mark.parametrize(
    ("cgroup", "job"),
    [
        ("0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n", "slurm 4711"),
        ("4:memory:/slurm/uid_1000/job_17/step_batch\n0::/init.scope\n", "slurm 17"),
        (
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0d1e2f3a_1111_2222_3333_444455556666.slice"
            "/cri-containerd-9f.scope\n",
            "pod 0d1e2f3a-1111-2222-3333-444455556666",
        ),
        (
            "11:devices:/kubepods/besteffort/pod0d1e2f3a-1111-2222-3333-444455556666/9f\n",
            "pod 0d1e2f3a-1111-2222-3333-444455556666",
        ),
        (
            "0::/kubepods.slice/kubepods-pod0123456789abcdef0123456789abcdef.slice/x.scope\n",
            "pod 0123456789abcdef0123456789abcdef",
        ),
        ("0::/kubepods.slice/kubepods-burstable.slice\n", None),
        ("0::/system.slice/docker-0123456789abcdef0123.scope\n", "container 0123456789ab"),
        ("0::/system.slice/vllm.service\n", "unit vllm.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        ("0::/job_x/../\x1b[2J\n", None),
        ("", None),
    ],
)
def test_the_job_of_a_process_is_read_from_its_cgroup(cgroup: str, job: str | None) -> None:
    assert job_of(cgroup) == job


async def test_an_error_of_the_program_is_no_alarm_of_the_gpu(pool: SshPool, sshd: OpenSsh, nvml: FakeNvml) -> None:
    nvml.set(g0_xid=31, g1_ecc2=2)
    async with following(pool, sshd) as fleet:
        view = await until(fleet, lambda v: has_gpus(v) and v.gpus[0].detail is not None and v.gpus[0].detail.xid == 31)
    assert view.gpus[0].alarm is None
    assert (view.gpus[1].alarm or "").startswith("2 uncorrected ECC errors")


async def test_of_very_many_processes_the_largest_are_told(pool: SshPool, sshd: OpenSsh, nvml: FakeNvml) -> None:
    nvml.set(g0_compute=",".join(f"{900_000 + n}:{n + 1}" for n in range(100)))
    async with following(pool, sshd) as fleet:
        view = await until(fleet, has_gpus)
    detail = view.gpus[0].detail
    assert detail is not None
    assert detail.processes is not None
    assert [process.memory for process in detail.processes] == list(range(100, 84, -1))


async def test_what_a_device_does_not_give_is_none(pool: SshPool, sshd: OpenSsh, nvml: FakeNvml) -> None:
    nvml.set(g0_util="!3", g0_mw=None, g0_used=None, g0_reserved=None, g0_temp0="!999", g0_compute=None, g0_graphics=None)
    async with following(pool, sshd) as fleet:
        view = await until(fleet, has_gpus)
    gpu = view.gpus[0]
    assert (gpu.utilization, gpu.power_w, gpu.memory_used, gpu.temperature_c) == (None, None, None, None)
    assert gpu.detail is not None
    assert gpu.detail.processes is None


async def test_a_driver_that_mismatches_falls_back_and_is_told(
    pool: SshPool, sshd: OpenSsh, nvml: FakeNvml, smi: FakeSmi
) -> None:
    nvml.set(init=18)
    smi.say("Failed to initialize NVML: Driver/library version mismatch", status=18)
    async with following(pool, sshd) as fleet:
        view = await until(fleet, lambda v: v.error is not None and v.machine is not None)
        assert "driver and library differ" in (view.error or "")
        assert view.health == "live"
        smi.say(row(0, "41"))
        view = await until(fleet, lambda v: v.source == "nvidia-smi" and v.gpus[0].utilization == 0.41)
        assert view.machine is not None, "the machine is still seen by the agent"


async def test_the_agent_ends_with_its_channel(pool: SshPool, sshd: OpenSsh, nvml: FakeNvml) -> None:
    nvml.set(g0_compute="1:1")
    async with following(pool, sshd) as fleet:
        await until(fleet, has_gpus)
        mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_agent(pid, nvml)]
        assert len(mine) == 1
    async with asyncio.timeout(20):
        while Path(f"/proc/{mine[0]}").exists():  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.02)


def _is_agent(pid: str, nvml: FakeNvml) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return b"zlib.decompress" in words and words.startswith(b"python3") and str(nvml.script).encode() in environ


def test_the_agent_is_python_3_6_and_standard_library_only() -> None:
    import sys

    for part in (*PARTS, "ask", "facts", "work", "around", "growth", "peaks"):
        tree = ast.parse((AGENT / f"{part}.py").read_text(), feature_version=(3, 6))
        names = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        foreign = {name.partition(".")[0] for name in names if not name.startswith("backends.probes.agent.")}
        assert foreign <= set(sys.stdlib_module_names)
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)]
        for node in ast.walk(tree):  # what 3.6 would work out when it defines a function
            if isinstance(node, ast.FunctionDef):
                notes = [node.returns, *(a.annotation for a in [*node.args.args, *node.args.kwonlyargs])]
                assert not [n for n in notes if isinstance(n, (ast.Subscript, ast.BinOp))], node.name


def test_the_agent_costs_little(nvml: FakeNvml) -> None:
    """One per cent of a core and 25 MB are the bar; here its memory, and that it writes only what changed."""
    child = subprocess.Popen(
        agent_argv(0.05, ["/"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=nvml.env | {"PATH": os.environ["PATH"]}
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(program())
        child.stdin.flush()
        lines = [json.loads(child.stdout.readline()) for _ in range(12)]
        memory = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * resource.getpagesize()
    finally:
        child.stdin.close()
        child.wait(10)
        child.stdout.close()
    assert lines[0]["cutover"] == 1
    assert child.returncode == 0, "the end of its input is its end"
    assert memory < 25e6
    quiet = [line for line in lines[2:] if line["p"].get("g0") == {}]
    assert len(quiet) >= 8, "a GPU that has not changed costs no bytes"


def test_the_agent_writes_nothing_to_the_hosts_disk(nvml: FakeNvml, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = nvml.env | {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    with subprocess.Popen(
        agent_argv(0.05, ["/"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=home,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),  # not a byte into any file
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(program())
        child.stdin.flush()
        lines = [json.loads(child.stdout.readline()) for _ in range(4)]
        child.stdin.close()
        child.wait(10)
    assert lines[0]["cutover"] == 1
    assert "g0" in lines[1]["p"]
    assert child.returncode == 0
    assert list(home.rglob("*")) == []


def test_a_line_that_was_cut_is_not_taken_for_figures() -> None:
    reading = AgentReading()
    assert reading.take("Welcome to Ubuntu", 0) == "noise"
    assert reading.take('{"p":{"g0":{"util":5}}}', 0) == "noise", "nothing counts before the hello"
    assert reading.take('{"cutover":1,"facts":{},"error":null,"driver":"570"}', 0) == "hello"
    assert reading.take('{"t":1,"n":1,"p":{"g0":{"util":5}},"whole":1}', 0) == "sample"
    assert reading.take('{"t":2,"n":2,"p":{"g0":{"ut', 0) == "broken"


@pytest.mark.parametrize("value", ['"9"', "true", "-1", "1e400", "[]", '{"a":1}', "101", "null"])
def test_rubbish_in_place_of_a_number_is_none(value: str) -> None:
    reading = AgentReading()
    reading.take('{"cutover":1,"facts":[],"error":[1,2,3]}', 0)
    line = f'{{"t":1,"n":1,"p":{{"g0":{{"util":{value},"mw":{value},"rows":{value},"procs":{value},"uuid":{value}}},"h":{{"mem":{value}}}}}}}'
    reading.take(line, 0)
    for sample, detail in reading.samples():
        assert sample.utilization is None
        assert detail.remapped_rows is None
    assert reading.machine().memory_total is None


def test_names_with_escapes_do_not_reach_the_terminal() -> None:
    reading = AgentReading()
    reading.take('{"cutover":1,"facts":{"os":"a\\u001b[2Jb"},"error":null}', 0)
    reading.take('{"t":1,"n":1,"p":{"g0":{"name":"x\\u001b]0;y","procs":[{"pid":1,"cmd":"\\u001b[31m"}]}},"whole":1}', 0)
    [(sample, detail)] = reading.samples()
    assert detail.processes is not None
    shown = f"{sample.name}{detail.processes[0].command}{reading.machine().os}"
    assert "\x1b" not in shown


def test_a_clock_that_jumps_back_gives_no_rate_and_one_ahead_is_an_alarm() -> None:
    reading = AgentReading()
    reading.take('{"cutover":1,"facts":{},"error":null}', 0)

    def rate(at: float, counter: int) -> float | None:
        reading.take(f'{{"t":{at},"n":1,"p":{{"g0":{{"nvtx":{counter},"nvrx":{counter}}}}}}}', 0)
        return reading.samples()[0][1].nvlink_sent

    assert [rate(100, 1000), rate(101, 2000), rate(41, 3000), rate(42, 4000), rate(43, 10)] == [None, 1024e3, None, 1024e3, None]
    reading.take('{"ping":"100.0","t":160.2}', 100.2)
    assert machine_alarms(reading.machine()) == ("clock 60.1 s ahead of ours: start chrony or systemd-timesyncd there",)


def test_the_clock_is_told_by_the_fastest_answer() -> None:
    reading = AgentReading()
    reading.take('{"cutover":1,"facts":{},"error":null}', 0)
    reading.take('{"ping":"100.0","t":105.5}', 101.0)
    reading.take('{"ping":"200.0","t":205.01}', 200.02)
    assert reading.clock == pytest.approx((5.0, 0.01))

"""Containers that run on a host are in the draft with image, digest and framework, from what each is known; nothing is started for it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.inventory.containers import Container, container_text, framework_of_container, parse_running
from backends.live.facts import Package
from backends.plan.load import parse_plan
from backends.plan.models import Framework
from backends.probes.agent.running import versions
from backends.probes.agent.work import container_of
from backends.probes.agent_link import BOOT, program
from tests.backends.inventory.test_draft import drafted, host, process
from tests.peers.container import contained, crictl_says, ctr_says, docker_says, install, podman_says, tool
from tests.peers.systemd import user_systemd

ID = "a" * 64
DIGEST = "sha256:" + "d" * 64
REPOSITORY = "registry.example.net/corp/chat"


async def told(folder: Path, **asked: Any) -> Any:
    """What the program prints, run as a host runs it; `folder` has its tools."""
    return await told_with({"PATH": f"{folder}:{os.environ['PATH']}"}, **asked)


async def told_with(env: dict[str, str], **asked: Any) -> Any:
    child = await asyncio.create_subprocess_exec(
        *("python3", "-BISuc", BOOT, json.dumps({"wanted": [], "units": []} | asked)),
        env=os.environ | env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(program("host", "packages", "running")), 30)
    assert child.returncode == 0, err.decode()
    return json.loads(out)


@pytest.mark.parametrize("by", ["docker", "podman", "nerdctl", "crictl", "ctr"])
async def test_each_runtimes_tool_tells_image_digest_and_versions_and_no_other_variable(by: str, tmp_path: Path) -> None:
    image, digest = f"{REPOSITORY}:v3", f"{REPOSITORY}@{DIGEST}"
    given_ = ("PYTORCH_VERSION=2.4.1", "API_TOKEN=hunter2-hunter2", "CUDA_VERSION=hunter2")
    answers = {
        "docker": lambda: docker_says(ID, 7, image, [digest], *given_),
        "nerdctl": lambda: docker_says(ID, 7, image, [digest], *given_),
        "podman": lambda: podman_says(ID, 7, image, [digest], *given_),
        "crictl": lambda: crictl_says(ID, 7, image, digest, *given_),
        "ctr": lambda: ctr_says(ID, 7, image, DIGEST),
    }
    tool(tmp_path / "bin", by, answers[by]())
    out = await told(tmp_path / "bin")
    [one] = [c for c in parse_running(out).containers if c.id == ID]
    assert (one.image, one.pulled_as, one.digest, one.by) == (image, image, DIGEST, by)
    assert one.versions == ({} if by == "ctr" else {"PYTORCH_VERSION": "2.4.1"})
    assert one.pod == ("ml/chat-7f-1" if by == "crictl" else "")
    assert "hunter2" not in json.dumps(out)


async def test_a_container_that_two_tools_know_is_one_and_a_tool_that_does_not_tell_is_named(tmp_path: Path) -> None:
    tool(tmp_path / "bin", "docker", docker_says(ID, 7, "corp/chat:v3", []))
    tool(tmp_path / "bin", "ctr", ctr_says(ID, 7, "corp/chat:v3", DIGEST))
    tool(tmp_path / "bin", "crictl", {})
    tool(tmp_path / "bin", "nerdctl", {"*": "[]x"})
    running = parse_running(await told(tmp_path / "bin"))
    assert [(c.id, c.by) for c in running.containers] == [(ID, "docker")]
    assert {t for t in running.untold if not t.startswith("podman")} == {
        "crictl: crictl: permission denied",
        "nerdctl: it says what is no list of containers",
    }


async def test_what_a_running_container_holds_is_seen_in_its_own_files_and_not_in_the_hosts(tmp_path: Path) -> None:
    root = tmp_path / "root"
    install(root, "torch", "2.4.1+cu124", "12.4")
    outside = tmp_path / "outside/lib/python3.11/site-packages"
    (outside / "vllm-0.1.dist-info").mkdir(parents=True)
    (root / "opt").mkdir()
    (root / "opt/link").symlink_to(tmp_path / "outside")
    async with contained(root, 0xE8) as one:
        tool(tmp_path / "bin", "docker", docker_says(one.id, one.pid, "corp/app:1", []))
        [asked] = parse_running(await told(tmp_path / "bin", wanted=[one.id])).containers
        [unasked] = parse_running(await told(tmp_path / "bin")).containers
        assert container_of(Path(f"/proc/{one.pid}/cgroup").read_text()) == one.id
    folder = "/usr/local/lib/python3.11/site-packages"
    assert asked.packages == (Package("torch", "2.4.1+cu124", "12.4", folder),)
    assert unasked.packages == ()


async def test_a_unit_is_active_since_it_was_started(tmp_path: Path) -> None:
    async with user_systemd(tmp_path) as manager:
        manager.add("busy.service", "[Service]\nExecStart=/bin/sleep 100\n")
        assert await manager.ctl("start", "busy.service") == (0, "")
        hours = await told_with(manager.env, units=["busy.service", "none.service", "-x.service"])
    assert set(hours["units"]) == {"busy.service"}
    assert 0 <= hours["units"]["busy.service"] < 0.1


@pytest.mark.parametrize(
    ("cgroup", "found"),
    [
        (f"0::/system.slice/docker-{ID}.scope\n", ID),
        (f"12:pids:/docker/{ID}\n0::/\n", ID),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", ID),
        (f"0::/kubepods.slice/kubepods-pod12.slice/cri-containerd-{ID}.scope\n", ID),
        (f"0::/kubepods/burstable/podx/{ID}\n", ID),
        ("0::/user.slice/session-1.scope\n", None),
        (f"0::/x/{'a' * 65}\n", None),
    ],
)
def test_a_cgroup_names_its_container_however_the_runtime_writes_it(cgroup: str, found: str | None) -> None:
    assert container_of(cgroup) == found


TORCH = Package("torch", "2.4.1+cu124", "12.4", "/opt/conda/lib/python3.11/site-packages")
VLLM = Package("vllm", "0.6.3", None, "/usr/local/lib/python3.12/dist-packages")
TENSORFLOW = Package("tensorflow", "2.17.0", None, "/usr/local/lib/python3.12/dist-packages")


@pytest.mark.parametrize(
    ("image", "packages", "variables", "value", "source"),
    [
        ("corp/app:1", (TORCH,), {}, ("pytorch", "2.4.1", "12.4", "corp/app:1"), "torch in /opt/conda"),
        ("corp/app:1", (TORCH, VLLM), {}, ("vllm", "0.6.3", "12.4", "corp/app:1"), "vllm in /usr/local"),
        ("corp/pytorch:1", (TORCH, TENSORFLOW), {}, ("pytorch", "2.4.1", "12.4", "corp/pytorch:1"), "torch in /opt/conda"),
        ("corp/app:1", (TORCH, TENSORFLOW), {}, None, ""),
        ("corp/app:1", (), {"PYTORCH_VERSION": "2.5.0", "CUDA_VERSION": "12.6.2"}, ("pytorch", "2.5.0", "12.6", "corp/app:1"), "PYTORCH_VERSION of its image"),
        ("vllm/vllm-openai:v0.6.3", (), {}, ("vllm", "0.6.3", None, "vllm/vllm-openai:v0.6.3"), "image seen"),
        ("corp/app:1", (), {}, None, ""),
        ("f" * 64, (TORCH,), {}, ("pytorch", "2.4.1", "12.4", f"{REPOSITORY}@{DIGEST}"), "torch in /opt/conda"),
    ],
)  # fmt: skip
def test_the_framework_of_an_image_is_what_is_seen_in_it_and_never_a_guess(
    image: str, packages: tuple[Package, ...], variables: dict[str, str], value: tuple[str, ...] | None, source: str
) -> None:
    one = Container(ID, "chat", "", image, (f"{REPOSITORY}@{DIGEST}",), variables, packages, "docker")
    found = framework_of_container(one, "a-1")
    if value is None:
        assert found is None
        return
    assert found is not None
    text = f"version: 1\nname: m\nlegacy: {{provider: a}}\ntarget: {{provider: b}}\nworkloads: [{{name: w, class: batch, framework: {found.value}}}]\n"
    plan = parse_plan(text, Path("plan.yaml")).plan
    assert plan is not None
    framework = plan.workloads[0].framework
    assert isinstance(framework, Framework)
    assert (framework.name, framework.version, framework.cuda, framework.image) == value
    assert source in found.source
    assert "container chat on a-1, by docker" in found.source
    assert DIGEST in found.source


def running(**more: Any) -> dict[str, Any]:
    one = {"id": ID, "name": "chat", "image": "corp/app:1", "digests": [f"corp/app@{DIGEST}"], "versions": {}, "by": "docker"}
    return {
        "containers": [one | {"packages": [["torch", "2.4.1", "12.4", "/opt"]]} | more],
        "untold": ["podman: no"],
        "units": {},
    }


def test_what_runs_in_a_container_is_named_by_it_and_its_image_is_in_the_draft() -> None:
    text = drafted(host("a-1", process(container=ID, job="unit docker.service", hours=30.0), running=running()))
    plan = parse_plan(text, Path("draft.yaml")).plan
    assert plan is not None
    [work] = plan.workloads
    assert (work.name, work.duration) == ("chat", 30 * 3600)
    assert work.framework is not None
    assert (work.framework.name, work.framework.version, work.framework.image) == ("pytorch", "2.4.1", "corp/app:1")
    for line in (
        "duration: 1.25d  # seen: its process 7 on a-1 has run for that long (/proc) by now; it is not over: at least this",
        f"# container chat: corp/app:1, digest {DIGEST} (docker)",
        "# containers: podman: no: not told",
    ):
        assert line in text, line
    assert "systemd: docker.service" not in text


def test_a_container_that_nobody_tells_of_gives_no_framework_of_the_host() -> None:
    torch = [["torch", "2.4.1", "12.4", "/opt/venv"]]
    text = drafted(host("a-1", process(container=ID), packages=torch))
    assert "framework:" not in [line.strip().partition(" ")[0] for line in text.splitlines()]
    assert "# framework: it runs in a container that no tool on a-1 tells of: say which" in text


def test_a_unit_tells_for_how_long_it_has_run_and_what_serves_has_no_duration() -> None:
    units = {"containers": [], "untold": [], "units": {"x.service": 40.0}}
    trains = drafted(host("a-1", process(job="unit x.service"), running=units))
    assert "duration: 1.67d  # seen: its unit x.service on a-1 has been active for that long (systemctl show) by now" in trains
    serves = drafted(host("a-1", process(job="unit x.service", ports=[8000], script="/x/app.py"), running=units))
    assert "    duration:" not in serves
    assert "# running for 1.67d: its unit x.service" in serves


def test_a_run_that_is_longer_than_its_rhythm_makes_no_plan_with_an_error() -> None:
    around = {"cloud": {}, "schedules": [{"what": "/srv/train.py", "schedule": "0 2 * * *", "from": "/etc/cron.d/train"}]}
    text = drafted(host("a-1", process(hours=30.0), around=around))
    assert [p for p in parse_plan(text, Path("draft.yaml")).problems if p.severity == "error"] == []
    assert "every: 1d" in text
    assert "# running for 1.25d" in text


@given(st.recursive(st.none() | st.integers() | st.text(max_size=20), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["containers", "id", "packages", "units", "name", "image"]), v, max_size=4), max_leaves=12))  # fmt: skip
def test_whatever_a_host_prints_of_its_containers_nothing_is_raised(value: Any) -> None:
    found = parse_running(value)
    assert all(container_text(one).isprintable() for one in found.containers)
    assert versions(value) is not None

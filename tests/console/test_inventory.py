"""`cutover inventory` as people call it, over a real sshd, of a process that really runs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from backends.plan.load import check_plan
from tests.peers.container import contained, docker_says, install, tool
from tests.peers.fake_nvml import GIB, fake_nvml
from tests.peers.kubernetes import DEPLOYMENTS, kubernetes
from tests.peers.openssh import openssh
from tests.peers.process import free_ports
from tests.peers.scripted_http import Asked, answer, scripted_http

PROGRAM = [sys.executable, "-c", "from console.main import main; main()", "inventory"]
SERVER = "import socket,sys;s=socket.create_server(('127.0.0.1',int(sys.argv[1])));print('up',flush=True);sys.stdin.read()"


def a_spot_instance(asked: Asked) -> bytes:
    """What AWS's metadata service says of one."""
    told = {"instance-life-cycle": "spot", "instance-type": "p4d.24xlarge", "region": "eu-west-1", "token": "t"}
    name = asked.target.rpartition("/")[2]
    return answer(200, told[name]) if name in told else answer(404)


async def inventory(*argv: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        *PROGRAM, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"}
    )
    out, err = await child.communicate()
    return child.returncode or 0, out.decode(), err.decode()


async def test_what_holds_a_gpu_is_in_the_draft_and_no_value_of_its_environment(tmp_path: Path) -> None:
    nvml = fake_nvml(tmp_path / "nvml")
    [port] = free_ports(1)
    script = tmp_path / "serve_vllm.py"
    script.write_text(SERVER)
    env = {"PATH": os.environ["PATH"], "MODEL": "s3://models-old/llama", "API_TOKEN": "hunter2-hunter2"}
    work = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), str(port)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=env
    )
    try:
        assert work.stdout is not None
        await asyncio.wait_for(work.stdout.readline(), 20)
        nvml.set(g0_compute=f"{work.pid}:{30 * GIB}", g1_compute=f"{work.pid}:{20 * GIB}")
        nvml.set(g0_accounting=1, g0_peaks=f"{work.pid}:{35 * GIB}", g1_accounting=1, g1_peaks=f"1:5,{work.pid}:{36 * GIB}")
        async with (
            scripted_http(a_spot_instance) as cloud,
            openssh(tmp_path / "sshd", env=nvml.env | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": cloud.endpoint}) as server,
        ):
            where = f"{server.user}@127.0.0.1:{server.port}"
            ssh = ("-F", str(server.config), "--known-hosts", str(server.known_hosts))
            path = tmp_path / "draft.yaml"
            code, out, err = await inventory(where, *ssh, "-o", str(path), "--json")
            again = await inventory(where, *ssh, "-o", str(path))
    finally:
        work.kill()
        await work.wait()
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["plan"] == path.read_text()
    [host] = told["hosts"]
    [seen] = host["processes"]
    assert (seen["pid"], seen["script"], seen["gpus"], seen["memory"], seen["ports"]) == (
        work.pid,
        str(script),
        [0, 1],
        30 * GIB,
        [port],
    )
    assert seen["peak"] == 36 * GIB
    assert "{count: 2, memory_gb: 38.7}" in told["plan"]
    assert seen["stores"] == ["s3://models-old"]
    assert {"MODEL", "API_TOKEN"} <= set(seen["environment"])
    assert "hunter2" not in out + path.read_text()
    checked = check_plan(path)
    assert [p.message for p in checked.problems if p.severity == "error"] == []
    assert checked.plan is not None
    assert checked.plan.workloads[0].class_ == "realtime"
    assert (checked.plan.legacy.provider, checked.plan.legacy.region) == ("aws", "eu-west-1")
    assert checked.plan.legacy.hosts[0].spot is True
    assert "API_TOKEN (hash " in told["plan"]
    assert again[0] == 2, "a draft is never written over a file"


async def test_what_runs_in_a_container_is_in_the_draft_with_its_image_digest_and_framework(tmp_path: Path) -> None:
    nvml = fake_nvml(tmp_path / "nvml")
    digest = f"registry.example.net/corp/chat@sha256:{'d' * 64}"
    install(tmp_path / "root", "torch", "2.4.1+cu124", "12.4")
    async with contained(tmp_path / "root", 0xC4A7) as one:
        nvml.set(g0_compute=f"{one.pid}:{30 * GIB}")
        tool(
            tmp_path / "bin",
            "docker",
            docker_says(one.id, one.pid, "registry.example.net/corp/chat:v3", [digest], "HF_TOKEN=hunter2"),
        )
        path = f"{tmp_path / 'bin'}:{nvml.env.get('PATH', os.environ['PATH'])}"
        async with openssh(tmp_path / "sshd", env=nvml.env | {"PATH": path, "AWS_EC2_METADATA_DISABLED": "true"}) as server:
            where = f"{server.user}@127.0.0.1:{server.port}"
            argv = (where, "-F", str(server.config), "--known-hosts", str(server.known_hosts), "-o", str(tmp_path / "draft.yaml"))
            code, out, err = await inventory(*argv, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    [host] = told["hosts"]
    assert [(c["name"], c["digests"], c["packages"]) for c in host["containers"]] == [
        ("chat", [digest], {"torch": "2.4.1+cu124"})
    ]
    assert [(p["pid"], p["container"]) for p in host["processes"]] == [(one.pid, one.id)]
    checked = check_plan(tmp_path / "draft.yaml")
    assert checked.plan is not None
    [work] = checked.plan.workloads
    assert work.framework is not None
    framework = work.framework
    assert (work.name, framework.name, framework.version, framework.cuda) == ("chat", "pytorch", "2.4.1", "12.4")
    assert framework.image == "registry.example.net/corp/chat:v3"
    assert (
        "version seen: torch in /usr/local/lib/python3.11/site-packages of its files; image seen: in container chat"
        in told["plan"]
    )
    assert "hunter2" not in out


async def test_a_host_that_is_not_there_is_1_and_named(tmp_path: Path) -> None:
    [port] = free_ports(1)
    code, out, err = await inventory(f"127.0.0.1:{port}", "--known-hosts", str(tmp_path / "none"))
    assert code == 1
    assert "refused" in err
    assert f'name: "127.0.0.1-{port}"' in out


@pytest.mark.parametrize(
    "argv", [["slurm", "a", "b"], ["kubernetes", "a"], ["a", "--context", "b"], ["a", "--name", "No Name"], []]
)
async def test_what_is_not_meant_is_2(argv: list[str]) -> None:
    code, _, err = await inventory(*argv)
    assert code == 2
    assert "Traceback" not in err


async def test_without_slurm_here_it_is_4_and_says_what_to_name() -> None:
    code, _, err = await inventory("slurm")
    assert code == 4
    assert "cutover inventory slurm USER@HOST" in err


async def test_a_draft_of_a_cluster_is_written_and_checked(tmp_path: Path) -> None:
    spec = {
        "containers": [{"name": "main", "image": "vllm/vllm-openai:v0.6.3", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]
    }
    path = tmp_path / "draft.yaml"
    async with kubernetes(tmp_path) as server:
        server.put(
            DEPLOYMENTS, "chat", spec={"replicas": 2, "selector": {"matchLabels": {"app": "chat"}}, "template": {"spec": spec}}
        )
        argv = ("kubernetes", "--kubeconfig", str(tmp_path / "kubeconfig"), "--json", "-o", str(path))
        code, out, err = await inventory(*argv)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["workloads"] == ["chat"]
    assert told["plan"] == path.read_text()
    checked = check_plan(path)
    assert (checked.problems, checked.plan and checked.plan.workloads[0].class_) == ((), "realtime")


async def test_without_an_api_server_it_is_4_and_says_what_is_missing(tmp_path: Path) -> None:
    code, _, err = await inventory("kubernetes", "--kubeconfig", str(tmp_path / "none"))
    assert code == 4
    assert "there is no kubeconfig" in err

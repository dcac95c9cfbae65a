"""Differences planted on real sshd, a real name server and real trees: all are found, and nothing else."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.backends.live.sides import IMAGE, WORKLOAD, codes, host, look, trust
from tests.peers.nvidia_smi import row
from tests.peers.planted_host import Planted, planted_host
from tests.peers.process import free_ports

TORCH = (("torch", "2.4.1+cu124", "12.4"), ("vllm", "0.6.3", None))
HELD = {
    "Id": "sha256:aa",
    "RepoDigests": ["corp/chat@sha256:aa"],
    "Architecture": "amd64",
    "Config": {"Env": ["CUDA_VERSION=12.4.1", "PYTORCH_VERSION=2.4.1"]},
}
OTHER = {**HELD, "Id": "sha256:bb", "RepoDigests": ["corp/chat@sha256:bb"]}
TOPOLOGY = "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \t{0}\t0-7\nGPU1\t{0}\t X \t0-7\n"
MEMORY = "MemTotal:       {} kB\nMemAvailable:   {} kB\n"


def port(device: str, state: str, rate: str) -> tuple[str | tuple[str, str], ...]:
    """A port of InfiniBand as the kernel shows it."""
    place = f"infiniband/{device}/ports/1"
    return f"infiniband/{device}", (f"{place}/state", state), (f"{place}/rate", rate)


PLAN = "version: 1\nname: move\nlegacy: {{provider: old, hosts: [{legacy}]}}\ntarget: {{provider: new, hosts: [{target}]}}\n"


async def test_sides_that_are_alike_give_no_problem(tmp_path: Path) -> None:
    alike = Planted(packages=TORCH, images={IMAGE: HELD}, tools=("nvidia-ctk",), env={"HF_HOME": "/models"})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"a")
    (tmp_path / "copy").mkdir()
    async with (
        planted_host(tmp_path / "old", alike, tmp_path / "bin") as (old, _),
        planted_host(tmp_path / "new", alike, tmp_path / "bin") as (new, _),
    ):
        path = tmp_path / "plan.yaml"
        path.write_text(
            PLAN.format(legacy=host("old-1", old), target=host("new-1", new))
            + trust(tmp_path, old, new)
            + f"stores: {{from: {{url: 'ssh://old-1{tmp_path}/data/'}}, to: {{url: 'ssh://new-1{tmp_path}/copy/'}}, mid: {{url: 'file://{tmp_path}/mid/'}}}}\n"
            "datasets: [{name: data, from: from, to: to}, {name: more, from: from, to: mid}]\n"
            + WORKLOAD.replace("TARGETS", "new-1").replace("DATASETS", "data")
        )
        looked = await look(path)
    assert [(p.problem.message, p.evidence) for p in looked.problems] == []
    assert (looked.hosts, looked.stores, looked.routes) == (2, 3, 0)
    assert sorted(p.name for p in (tmp_path / "copy").iterdir()) == []
    assert not (tmp_path / "mid").exists()


async def test_every_difference_that_was_planted_is_found_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    closed, gone, nobody, unserved = free_ports(4)
    image = f"localhost:{unserved}/{IMAGE}"
    served = tmp_path / "chat.yaml"
    served.write_text("port: 8000\n")
    before = Planted(
        packages=(*TORCH, ("transformers", "4.44.0", None)),
        images={image: HELD},
        tools=("nvidia-ctk",),
        env={"HF_HOME": "/models", "REGION": "old"},
        folders={"/sys/class": port("mlx5_0", "4: ACTIVE\n", "400 Gb/sec (4X NDR)\n")},
        files={"/proc/meminfo": MEMORY.format(4 << 20, 2 << 20), "/proc/sys/vm/max_map_count": "262144\n"},
    )
    (tmp_path / "kept").mkdir()
    first = Planted(
        files={
            "/etc/os-release": 'PRETTY_NAME="Other Linux 7"\n',
            "/proc/meminfo": MEMORY.format(900 << 10, 500 << 10),
            "/proc/sys/vm/max_map_count": "65530\n",
            str(served): "port: 9000\n",
        },
        read_only=(tmp_path / "kept",),
        shm="8m",
        soft_files=256,
        arch="i686",
        before="import os,time;_t=time.time;time.time=lambda:_t()+90;os.confstr=lambda n:'glibc 2.17';os.cpu_count=lambda:1",
        packages=(("torch", "2.1.0+cu118", "11.8"), ("transformers", "4.44.0", None), ("vllm", "0.5.0", None)),
        images={image: OTHER},
        env={"REGION": "new", "TZ": "XYZ-9"},
    )
    second = Planted(
        files={"/proc/meminfo": MEMORY.format(4 << 20, 2 << 20), "/proc/sys/vm/max_map_count": "262144\n"},
        folders={
            "/sys/class": (
                *port("mlx5_0", "4: ACTIVE\n", "200 Gb/sec (4X HDR)\n"),
                *port("mlx5_1", "1: DOWN\n", "10 Gb/sec (4X SDR)\n"),
            )
        },
        packages=TORCH,
        images={"corp/other:v1": HELD},
        tools=("nvidia-ctk",),
        env={"HF_HOME": "/models", "REGION": "old", "NCCL_SOCKET_IFNAME": "ens99"},
    )
    (tmp_path / "data").mkdir()
    async with contextlib.AsyncExitStack() as stack:
        old, usual = await stack.enter_async_context(planted_host(tmp_path / "old", before))
        (usual.folder / "topo").write_text(TOPOLOGY.format("NV18"))
        (old.folder / "home" / "chat.conf").write_text("workers: 8\n")
        new, smi = await stack.enter_async_context(planted_host(tmp_path / "new", first))
        second_host, busy = await stack.enter_async_context(planted_host(tmp_path / "second", second))
        smi.say(row(0, name="NVIDIA A100-PCIE-40GB").replace("81559", "40960").replace("590.48.01", "470.82.01"))
        (smi.folder / "heading").write_text("| NVIDIA-SMI 470.82.01   Driver Version: 470.82.01   CUDA Version: 11.4     |\n")
        busy.say(row(0), row(1).replace(", 59,", ", 40000,"))
        (busy.folder / "topo").write_text(TOPOLOGY.format("SYS"))
        (busy.folder / "nvlink").write_text(
            "GPU 0: H100 (UUID: a)\n\t Link 0: 26 GB/s\nGPU 1: H100 (UUID: b)\n\t Link 0: <inactive>\n"
        )
        third = f"{{name: new-3, address: 127.0.0.1, port: {gone}, user: nobody}}"
        stores = {
            "from": f"{{url: 'file://{tmp_path}/data/'}}",
            "kept": f"{{url: 'ssh://new-1{tmp_path}/kept/'}}",
            "bucket": f"{{url: 's3://b/', endpoint: 'http://127.0.0.1:{closed}', access_key: '${{env:NOT_SET}}', secret_key: '${{env:NOT_SET}}'}}",
        }
        (tmp_path / "secret").write_text("x")
        (tmp_path / "secret").chmod(0o600)
        path = tmp_path / "plan.yaml"
        hosts = f"{host('new-1', new)}, {host('new-2', second_host)}, {third}"
        path.write_text(
            PLAN.format(legacy=host("old-1", old), target=hosts)
            + trust(tmp_path, old, new, second_host)
            + f"stores: {{{', '.join(f'{k}: {v}' for k, v in stores.items())}}}\n"
            "datasets: [{name: data, from: from, to: kept}, {name: more, from: from, to: bucket}]\n"
            + WORKLOAD.replace("TARGETS", "new-1, new-2")
            .replace("DATASETS", "more")
            .replace(IMAGE, image)
            .replace("[more]", "[more]\n    reaches: ['tcp://nowhere.invalid:5432']\n    config: [~/chat.conf, {served}]")
            .replace("{served}", str(served))
            + "routes:\n  - {name: chat, workload: chat, command: {set: ['true', '{weight}'], get: [echo, '25']}, steps: [5, 100], "
            f"probe: {{target: 'http://127.0.0.1:{nobody}/'}}}}\n"
            "secrets: [{name: db, from: '${file:secret}', to: '${file:nowhere}'}]\n"
        )
        looked = await look(path)
    planted = [
        *[(code, ("new-1",)) for code in (
            "clock", "container_toolkit", "cpus", "environment_missing", "framework", "glibc", "gpu_count",
            "gpu_memory", "gpu_type", "host_memory", "image_architecture", "image_differs", "interconnect", "kernel_settings", "limits", "machine", "memory",
            "os", "shared_memory", "time_zone",
        )],
        ("driver", ("new-1",)),
        ("config_missing", ("new-1", "new-2")),
        ("config_differs", ("new-1",)),
        ("environment_differs", ("new-1", "new-2")),  # each has its programs elsewhere, so another PATH
        *[("package_differs", ("new-1",))] * 2,
        ("gpu_busy", ("new-2",)),
        *[(code, ("new-2",)) for code in ("interconnect_down", "interconnect_slow", "nccl_interface", "nvlink_down", "topology")],
        ("image_missing", ("new-2",)),
        ("registry", ()),
        ("package_missing", ("new-2",)),
        ("drivers_mixed", ()),
        ("host_unreachable", ("new-3",)),
        ("port_refused", ("new-1", "new-2")),
        ("port_no_name", ("new-1", "new-2")),
        ("store_write", ()),
        *[("secret", ())] * 2,
        ("secret_missing", ()),
        ("route_carries", ()),
        ("probe", ()),
    ]  # fmt: skip
    assert len(planted) >= 25
    assert codes(looked) == sorted(planted)
    assert all(p.problem.line > 0 and p.evidence and p.problem.hint for p in looked.problems)

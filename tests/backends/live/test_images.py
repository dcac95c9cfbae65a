"""Images that hosts are yet to pull, from a real registry, on real sshd; and what makes NVIDIA's container toolkit refuse one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backends.live.cuda import judge_require
from backends.live.images import ask_images
from backends.plan.load import load_plan
from tests.backends.live.sides import codes, host, look, trust
from tests.peers.planted_host import Planted, planted_host
from tests.peers.registry import registry

PLAN = "version: 1\nname: move\nlegacy: {{provider: old, hosts: [{legacy}]}}\ntarget: {{provider: new, hosts: [{target}]}}\n"
BUILT = {"CUDA_VERSION": "12.4.1", "PYTORCH_VERSION": "2.4.1"}


def held(name: str, digest: str, machine: str = "amd64") -> dict[str, dict[str, object]]:
    """As docker tells of an image on a host."""
    return {
        name: {"Id": f"sha256:{'c' * 64}", "RepoDigests": [f"{name}@{digest}"], "Architecture": machine, "Config": {"Env": []}}
    }


WORK = """  - {{name: {name}, class: realtime, gpus: {{count: 1}}, framework: {{name: pytorch, version: "2.4", image: "{image}"{more}}},
     runs_on: {{legacy: [old-1], target: [new-1]}}}}
"""


async def test_what_target_would_pull_is_judged_as_what_it_holds(tmp_path: Path) -> None:
    moved = {**BUILT, "CUDA_VERSION": "13.9.0", "PYTORCH_VERSION": "2.5.0", "NVIDIA_REQUIRE_CUDA": "cuda>=13.9"}
    async with registry(tmp_path / "registry", "password") as server:
        name = f"{server.at}/corp/chat"
        good = await server.push_index("corp/chat", "v3", [("amd64", BUILT), ("arm64", BUILT)])
        await server.push("corp/chat", "moved", env=moved)
        await server.push_index("corp/chat", "arm", [("arm64", BUILT), ("ppc64le", BUILT)])
        before = Planted(images=held(f"{name}:v3", good), tools=("nvidia-ctk",))
        async with (
            planted_host(tmp_path / "old", before, tmp_path / "bin") as (old, _),
            planted_host(tmp_path / "new", Planted(images=held("other:v1", good), tools=("nvidia-ctk",))) as (new, _),
        ):
            login = server.login(tmp_path / "docker.json")
            path = tmp_path / "plan.yaml"
            path.write_text(
                PLAN.format(legacy=host("old-1", old), target=host("new-1", new))
                + trust(tmp_path, old, new)
                + f"docker_config: {login.name}\nworkloads:\n"
                + WORK.format(name="good", image=f"{name}:v3", more="")
                + WORK.format(name="moved", image=f"{name}:v3", more=f', target_image: "{name}:moved"')
                + WORK.format(name="arm", image=f"{name}:v3", more=f', target_image: "{name}:arm"')
                + WORK.format(name="gone", image=f"{name}:v3", more=f', target_image: "{name}:v9"')
                + f"  - {{name: cluster, class: batch, framework: {{name: jax, image: '{name}:v8'}}}}\n"
            )
            looked = await look(path)
    there = ("new-1",)
    assert codes(looked) == [
        ("driver", there),
        ("environment_differs", there),  # each has its programs elsewhere, so another PATH
        ("image_architecture", there),
        ("image_differs", there),
        ("image_framework", there),
        *[("image_missing", there)] * 4,
        ("image_refused", there),
        *[("image_unknown", ())] * 2,
    ]
    assert "pull-secret" not in repr(looked)
    of = {p.problem.code: p for p in looked.problems}
    assert of["image_architecture"].evidence == "x86_64; there is arm64, ppc64le for Linux"
    assert of["image_differs"].problem.where.endswith("workloads[1].framework.target_image")
    assert "answers 404 for corp/chat, v8" in of["image_unknown"].evidence


async def test_a_registry_that_refuses_the_login_is_told_once_for_all_hosts(tmp_path: Path) -> None:
    async with registry(tmp_path / "registry", "password") as server:
        path = tmp_path / "plan.yaml"
        login = server.login(tmp_path / "docker.json", password="another")
        path.write_text(
            f"version: 1\nname: move\nlegacy: {{provider: old}}\ntarget: {{provider: new}}\ndocker_config: {login.name}\n"
            f"workloads: [{{name: chat, class: batch, framework: {{name: jax, image: '{server.at}/chat'}}}}]\n"
        )
        looked = await look(path)
    assert codes(looked) == [("registry_denied", ())]
    assert looked.problems[0].problem.hint.startswith("docker login there")
    assert "another" not in repr(looked)


async def test_a_registry_that_is_silent_keeps_nobody_longer_than_the_time_that_is_left(tmp_path: Path) -> None:
    is_over = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        path = tmp_path / "plan.yaml"
        work = ", ".join(f"{{name: w{i}, class: batch, framework: {{name: jax, image: '{at}/w{i}'}}}}" for i in range(20))
        path.write_text(f"version: 1\nname: move\nlegacy: {{provider: old}}\ntarget: {{provider: new}}\nworkloads: [{work}]\n")
        plan = load_plan(path).plan
        assert plan is not None
        offered, found = await ask_images(plan, [], tmp_path, 0.3)
        is_over.set()
    assert offered == {}
    assert {(f.code, f.evidence) for f in found} == {("registry", f"{at} does not tell of it in time")}
    assert len(found) == 20


@pytest.mark.parametrize(
    ("driver", "speaks", "require", "starts"),
    [
        ("550.54.14", "12.4", "cuda>=12.4", True),
        ("535.161.07", "12.2", "cuda>=12.4", False),
        ("535.161.07", "12.2", "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=tesla,driver>=535,driver<536", True),
        ("545.23.08", "12.3", "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=tesla,driver>=535,driver<536", False),
        ("550.54.14", "12.4", "cuda=12.4", True),
        ("550.54.14", "12.4", "cuda!=12.4", False),
        ("550.54.14", "12.4", "cuda>12.4", False),
        ("550.54.14", "12.4", "cuda<=12", False),
        ("550.54.14", "12.4", "arch>=9.0,cuda>=12.0", True),
        ("550.54.14", "12.4", "what nobody knows", True),
        ("550.54.14", "12.4", None, True),
        ("550.54.14", "12.4", "", True),
        (None, "12.4", "cuda>=99", True),
        ("550.54.14", None, "cuda>=99", True),
    ],
)
def test_an_image_starts_where_one_of_its_alternatives_holds(
    driver: str | None, speaks: str | None, require: str | None, starts: bool
) -> None:
    assert (judge_require(driver, speaks, require) is None) is starts

"""What is judged without a host: cards by their names, drivers against CUDA, facts that a host may lie about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.live.cards import difference
from backends.live.cuda import judge_chip, judge_driver
from backends.live.facts import UNLIMITED, Way, parse_facts, version_of
from backends.live.found import Found, gathered
from backends.live.host_judge import Seen, judge_host
from backends.live.pair_judge import judge_pairs
from backends.live.stores import judge_ways
from backends.plan.load import check_plan
from backends.plan.models import Host, Plan
from backends.snapshot import GpuDetail, GpuView, HostView, MachineView
from tests.backends.plan.plans import documented_plan

GIB = 1 << 30


@pytest.mark.parametrize(
    ("planned", "seen", "memory"),
    [
        ("A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB", 40960 << 20),
        ("A100-SXM4-40GB", "A100-SXM4-40GB", 40536 << 20),
        ("A100-PCIe-80GB", "NVIDIA A100 80GB PCIe", 81920 << 20),
        ("H100-SXM5-80GB", "NVIDIA H100 80GB HBM3", 81559 << 20),
        ("H100-SXM5", "NVIDIA H100 80GB HBM3", 81559 << 20),
        ("H100-NVL", "NVIDIA H100 NVL", 95830 << 20),
        ("H200-SXM5", "NVIDIA H200", 143771 << 20),
        ("L4", "NVIDIA L4", 23034 << 20),
        ("L40S", "NVIDIA L40S", 46068 << 20),
        ("A10G", "NVIDIA A10G", 23028 << 20),
        ("T4", "Tesla T4", 15360 << 20),
        ("V100-SXM2-32GB", "Tesla V100-SXM2-32GB", 32510 << 20),
        ("RTX-6000-Ada", "NVIDIA RTX 6000 Ada Generation", 49140 << 20),
        ("RTX-4090", "NVIDIA GeForce RTX 4090", 24564 << 20),
        ("B200-SXM6", "NVIDIA B200", 183359 << 20),
        ("MI300X", "AMD Instinct MI300X", None),
        ("what the operator calls it", "NVIDIA H100 80GB HBM3", None),
    ],
)
def test_a_card_is_itself_by_each_of_its_names(planned: str, seen: str, memory: int | None) -> None:
    assert difference(planned, seen, memory) is None


@pytest.mark.parametrize(
    ("planned", "seen", "memory", "words"),
    [
        ("A100-SXM4-80GB", "NVIDIA A100-SXM4-40GB", 40960 << 20, "43 GB in place of 80 GB"),
        ("A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB", 40960 << 20, "PCIE in place of SXM"),
        ("H100-SXM5-80GB", "NVIDIA H100 PCIe", 81559 << 20, "PCIE in place of SXM"),
        ("H100-PCIe", "NVIDIA H100 80GB HBM3", 81559 << 20, "SXM in place of PCIE"),
        ("L40S", "NVIDIA L40", 46068 << 20, "another model"),
        ("A10", "NVIDIA A10G", 23028 << 20, "another model"),
        ("A100-SXM4-40GB", "NVIDIA H100 80GB HBM3", 81559 << 20, "another model"),
        ("RTX-4090", "NVIDIA GeForce RTX 3090", 24576 << 20, "another model"),
    ],
)
def test_another_card_is_told_and_by_what(planned: str, seen: str, memory: int, words: str) -> None:
    assert difference(planned, seen, memory) == words


@pytest.mark.parametrize(
    ("driver", "speaks", "needed", "severity"),
    [
        ("470.82.01", "11.4", "12.4", "error"),
        ("440.33.01", "10.2", "11.8", "error"),
        ("525.60.13", "12.0", "12.4", "note"),
        ("550.54.14", "12.4", "12.4", None),
        ("580.65.06", "13.0", "11.8", None),
        ("575.57.08", "12.9", "13.0", "error"),
        ("570.124.06", None, "12.9", None),
        (None, None, "12.4", None),
        ("550.54.14", "12.4", None, None),
        ("550.54.14", "12.4", "odd", None),
    ],
)
def test_a_driver_is_judged_as_nvidia_says(
    driver: str | None, speaks: str | None, needed: str | None, severity: str | None
) -> None:
    found = judge_driver(driver, speaks, needed)
    assert (found.severity if found is not None else None) == severity


@pytest.mark.parametrize(
    ("gpu", "cuda", "is_known"),
    [
        ("NVIDIA H100 80GB HBM3", "11.3", False),
        ("NVIDIA H100 80GB HBM3", "11.8", True),
        ("NVIDIA A100-SXM4-40GB", "11.3", True),
        ("NVIDIA B200", "12.4", False),
        ("Tesla V100-SXM2-16GB", "13.0", False),
        ("Tesla V100-SXM2-16GB", "12.9", True),
        ("a card of next year", "11.3", True),
    ],
)
def test_a_chip_that_a_cuda_version_does_not_know_is_told(gpu: str, cuda: str, is_known: bool) -> None:
    assert (judge_chip(gpu, cuda) is None) is is_known


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_whatever_a_host_says_is_parsed_or_left_out(value: object) -> None:
    keys = (
        "host",
        "user",
        "memory",
        "shm",
        "limits",
        "settings",
        "zone",
        "links",
        "packages",
        "images",
        "paths",
        "environment",
        "files",
        "interconnect",
    )
    facts = parse_facts(dict.fromkeys(keys, value))
    assert facts.memory is None or facts.memory >= 0
    assert parse_facts({"host": {"machine": "x\x1b[31m"}}).machine == "x\\x1b[31m"


@given(st.text(max_size=40))
def test_any_text_has_a_version_or_none(text: str) -> None:
    found = version_of(text)
    assert found is None or all(n >= 0 for n in found)


def seen_host(side: str, name: str, **changed: object) -> Seen:
    detail = GpuDetail(ecc=True, mig_mode=False, compute_mode="default")
    gpu = GpuView(index=0, name="NVIDIA H100 80GB HBM3", memory_total=81559 << 20, memory_used=0, detail=detail)
    value = {
        "host": {"machine": "x86_64", "os": "Debian", "glibc": "glibc 2.36", "cpus": 64, "mounts": [["/data", "nfs4"], ["/", "ext4"]]},
        "memory": 512 * GIB, "limits": {"memlock": -1, "nofile": 1024},
    }  # fmt: skip
    view = HostView(name=name, side="legacy", health="live", driver="550.54.14", cuda="12.4", gpus=(gpu,), machine=MachineView())
    return Seen(
        "legacy" if side == "legacy" else "target", 0, Host(name=name, address="10.0.0.1"), view, parse_facts(value | changed)
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    path = tmp_path / "plan.yaml"
    path.write_text(documented_plan())
    checked = check_plan(path)
    assert checked.plan is not None
    return checked.plan


def test_an_unlimited_limit_is_more_than_any_number(plan: Plan) -> None:
    old, new = seen_host("legacy", "gcp-a1"), seen_host("target", "lam-b1", limits={"memlock": 65536, "nofile": 4096})
    assert old.facts is not None
    assert old.facts.limits["memlock"] == UNLIMITED
    [found] = judge_pairs(plan, [old, new])
    assert (found.code, found.evidence) == ("limits", "memlock 65536, legacy unlimited")


def test_a_network_file_system_that_legacy_has_is_missed_and_a_disk_is_not(plan: Plan) -> None:
    old, new = seen_host("legacy", "gcp-a1"), seen_host("target", "lam-b1", host={"mounts": []})
    [found] = judge_pairs(plan, [old, new])
    assert (found.code, found.evidence) == ("mount", "/data")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("ecc", False, "gpu_ecc"), ("mig_mode", True, "gpu_mig_mode"), ("compute_mode", "exclusive process", "gpu_compute_mode")],
)
def test_settings_of_gpus_that_differ_are_told(plan: Plan, name: str, value: object, code: str) -> None:
    old, new = seen_host("legacy", "gcp-a1"), seen_host("target", "lam-b1")
    gpu = new.view.gpus[0]
    assert gpu.detail is not None
    changed = gpu.model_copy(update={"detail": gpu.detail.model_copy(update={name: value})})
    other = Seen(new.side, 0, new.host, new.view.model_copy(update={"gpus": (changed,)}), new.facts)
    assert [f.code for f in judge_pairs(plan, [old, other])] == [code]


def test_a_gpu_that_is_not_well_is_an_error_and_says_what_helps(plan: Plan) -> None:
    new = seen_host("target", "lam-b1")
    sick = new.view.gpus[0].model_copy(update={"alarm": "requires a reset: drain it"})
    found = list(judge_host(plan, Seen("target", 0, new.host, new.view.model_copy(update={"gpus": (sick,)}), new.facts)))
    assert [(f.severity, f.code, f.evidence) for f in found] == [("error", "gpu_health", "GPU 0 requires a reset: drain it")]


@pytest.mark.parametrize(
    ("is_there", "total", "free", "severities"),
    [
        (True, 9 * 10**12, 9 * 10**12, ["error"]),
        (True, 20 * 10**12, 9 * 10**12, ["warning"]),
        (False, 20 * 10**12, 9 * 10**12, ["error"]),
        (True, 20 * 10**12, 12 * 10**12, []),
        (True, None, None, []),
    ],
)
def test_a_tree_has_to_have_room_for_its_datasets(
    plan: Plan, is_there: bool, total: int | None, free: int | None, severities: list[str]
) -> None:
    moved = plan.datasets[1].model_copy(update={"size": 12 * 10**12})
    sized = plan.model_copy(update={"datasets": (plan.datasets[0], moved)})
    ways = {"/mnt/ckpt": Way(is_there, True, "/mnt", total, free)}
    found = list(judge_ways(sized, "lam-b1", ways))
    assert [(f.severity, f.code) for f in found] == [(s, "store_room") for s in severities]
    assert all("the datasets take 12,000.0 GB" in f.evidence for f in found)
    assert list(judge_ways(sized, "gcp-a1", ways)) == []  # legacy's side of it is not what it goes to


def test_the_same_of_many_hosts_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(documented_plan())
    found = [
        Found("warning", "limits", "gives less", f"nofile {i}", "raise it", ("target",), "target", f"h{i}") for i in range(200)
    ]
    [problem] = gathered(found, check_plan(path))
    assert problem.problem.message == "h0, h1, h2 and 197 more: gives less"
    assert problem.evidence == "h0: nofile 0; h1: nofile 1; h2: nofile 2; and 197 more"
    assert len(problem.hosts) == 200
    assert json.dumps(problem.as_json())

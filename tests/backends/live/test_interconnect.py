"""How GPUs and hosts are joined: what tools print, parsed whatever they print; judged against the neighbours and against legacy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.live.found import Found
from backends.live.interconnect import (
    Interconnect,
    Port,
    judge_joined,
    judge_links,
    parse_interconnect,
    parse_links,
    parse_topology,
)
from backends.plan.problems import Severity
from backends.probes.agent import facts

# As drivers 535 to 580 print it; the heading is underlined by escapes.
TOPOLOGY = (
    "\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
    "GPU0\t X \tNV18\tNV18\tPIX\t0-31,64-95\t0\t\tN/A\n"
    "GPU1\tNV18\t X \tSYS\tSYS\t0-31\t0\t\tN/A\n"
    "GPU2\tNV18\tSYS\t X \tSYS\t32-63\t1\t\tN/A\n"
    "NIC0\tPIX\tSYS\tSYS\t X \n\n"
    "Legend:\n\n  X    = Self\n  SYS  = Connection traversing PCIe\n\nNIC Legend:\n\n  NIC0: mlx5_0\n"
)
LINKS = (
    "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\n\t Link 0: 26.562 GB/s\n\t Link 1: 26.562 GB/s\n"
    "GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)\n\t Link 0: 26.562 GB/s\n\t Link 1: <inactive>\n"
)


def told(judge: Callable[..., object], *args: object) -> list[tuple[str, str, str]]:
    def found(severity: Severity, code: str, message: str, evidence: str, cure: str) -> Found:
        return Found(severity, code, message, evidence, cure, ())

    made = judge(*args, found)
    assert hasattr(made, "__iter__")
    return [(f.severity, f.code, f.evidence) for f in made]


def test_a_topology_is_read_pair_by_pair() -> None:
    assert parse_topology(TOPOLOGY) == {(0, 1): "NV18", (0, 2): "NV18", (1, 2): "SYS"}
    assert parse_topology("\tGPU0\tCPU Affinity\nGPU0\t X \t0-7\n") == {}
    assert parse_topology("No devices were found\n") == {}


def test_links_are_counted_as_far_as_they_are_up() -> None:
    assert parse_links(LINKS) == {0: 2, 1: 1}
    assert parse_links("GPU 0: NVIDIA L4 (UUID: GPU-3)\n") == {}


@given(st.text(max_size=400), st.text(max_size=40))
def test_whatever_a_tool_prints_is_parsed_or_left_out(text: str, odd: str) -> None:
    for said in (text, TOPOLOGY.replace("NV18", odd), LINKS.replace("26.562", odd)):
        found = parse_interconnect(
            {"topology": said, "links": said, "ports": [[odd, said, said], odd], "nccl": [odd, 3], "lost": said}
        )
        assert all(a < b for a, b in found.ways)
        assert all(up >= 0 for up in found.links.values())


def test_a_gpu_with_fewer_links_than_its_neighbours_is_an_error_and_all_alike_are_not() -> None:
    assert told(judge_links, Interconnect(links={0: 18, 1: 18, 2: 17})) == [("error", "nvlink_down", "GPU 2: 17; the others 18")]
    assert told(judge_links, Interconnect(links={0: 12, 1: 12})) == []
    assert told(judge_links, Interconnect()) == []


def test_pcie_where_legacy_has_nvlink_is_told_and_only_then() -> None:
    fast, slow = Interconnect(ways={(0, 1): "NV12"}), Interconnect(ways={(0, 1): "NODE", (0, 2): "NV12"})
    assert told(judge_joined, slow, [fast, fast]) == [("warning", "topology", "GPU 0 and 1: NODE")]
    for mine, before in ((fast, [slow]), (slow, [slow]), (slow, [fast, slow]), (slow, [fast, Interconnect()]), (fast, [fast])):
        assert told(judge_joined, mine, before) == []


def test_ports_are_judged_where_legacy_has_some_that_work() -> None:
    good = Interconnect(ports=(Port("mlx5_0/1", True, 400.0), Port("mlx5_1/1", False, None)))
    bad = Interconnect(ports=(Port("mlx5_0/1", True, 200.0), Port("mlx5_1/1", False, None), Port("mlx5_2/1", False, 10.0)))
    assert told(judge_joined, bad, [good]) == [
        ("warning", "interconnect_down", "mlx5_1/1, mlx5_2/1"),
        ("warning", "interconnect_slow", "200 Gb/s, legacy 400 Gb/s"),
    ]
    assert told(judge_joined, good, [bad]) == []
    assert told(judge_joined, bad, [Interconnect()]) == []


def test_another_nccl_is_told() -> None:
    mine, theirs = Interconnect(nccl=("2.18.1",)), Interconnect(nccl=("2.21.5", "2.20.3"))
    assert told(judge_joined, mine, [theirs]) == [("warning", "nccl_differs", "2.18.1, legacy 2.20.3, 2.21.5")]
    assert told(judge_joined, mine, [Interconnect()]) == []


@pytest.mark.parametrize(
    ("name", "value", "is_lost"),
    [
        ("NCCL_SOCKET_IFNAME", "lo", False),
        ("NCCL_SOCKET_IFNAME", "l", False),
        ("NCCL_SOCKET_IFNAME", "=l", True),
        ("NCCL_SOCKET_IFNAME", "=lo", False),
        ("NCCL_SOCKET_IFNAME", "ens99,lo", False),
        ("NCCL_SOCKET_IFNAME", "ens99", True),
        ("NCCL_SOCKET_IFNAME", "^docker,ens99", False),
        ("GLOO_SOCKET_IFNAME", "l", True),
        ("NCCL_IB_HCA", "mlx5_none:1", True),
        ("NCCL_IB_HCA", "", False),
    ],
)
def test_a_variable_of_nccl_is_lost_where_it_names_nothing_that_is_there(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, is_lost: bool
) -> None:
    for other in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    assert facts.lost_interfaces() == ([name] if is_lost else [])


def test_a_tool_that_is_not_there_or_fails_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert facts.said(["no-such-tool"]) == ""
    tool = tmp_path / "failing-tool"
    tool.write_text("#!/bin/sh\necho half\nexit 3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert facts.said(["failing-tool"]) == ""

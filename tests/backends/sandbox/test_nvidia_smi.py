"""The simulated nvidia-smi: its forms are those of the real one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.sandbox import nvidia_smi
from backends.sandbox.gpus import GpuBox
from backends.sandbox.layout import HOSTS
from backends.sandbox.nvidia_smi import BadQuery, Query, parse_query
from backends.sandbox.state import World

WORDS = ["-l", "1", "-lms", "100", "--loop=2", "-L", "-i", "0,1", "--query-gpu=index,name", "--format=csv,noheader", "--x", ""]


def box(host: int = 0, weight: int = 0) -> GpuBox:
    world = World(seed=1)
    world.chat_weight = weight
    return GpuBox(HOSTS[host], world)


def test_csv_has_units_in_header_and_cells_unless_asked_otherwise() -> None:
    gpus = box().gpus
    full = parse_query(["--query-gpu=index,memory.total,fan.speed", "--format=csv"])
    assert nvidia_smi.csv_header(full) == "index, memory.total [MiB], fan.speed [%]\n"
    assert nvidia_smi.csv_rows(full, gpus).splitlines()[0] == "0, 40960 MiB, [N/A]"
    bare = parse_query(["--query-gpu=index,memory.total", "--format=csv,noheader,nounits", "-i", "2"])
    assert (bare.header, nvidia_smi.csv_rows(bare, gpus)) == (False, "2, 40960\n")


def test_an_unknown_field_ends_with_two_and_names_it() -> None:
    with pytest.raises(BadQuery, match=r'Field "power.dram" is not a valid field') as caught:
        parse_query(["--query-gpu=index,power.dram", "--format=csv"])
    assert caught.value.status == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=5))
def test_any_command_line_is_a_query_or_refused(argv: list[str]) -> None:
    try:
        outcome: object = parse_query(argv)
    except BadQuery as error:
        outcome = error.status
    assert isinstance(outcome, Query) or outcome in (1, 2, 6)


def test_the_table_has_the_heading_that_probes_read_and_lines_of_one_width() -> None:
    for host in (0, 2):
        lines = nvidia_smi.table(box(host).gpus).splitlines()
        assert "Driver Version: 550.90.07" in lines[2]
        assert "CUDA Version: 12.4" in lines[2]
        assert {len(line) for line in lines[1:]} == {91}


def test_gpus_follow_the_clients_and_the_same_seed_gives_the_same() -> None:
    def busy(weight: int, host: int) -> float:
        gpus = box(host, weight)
        return gpus.gpus[0].utilization

    assert busy(0, host=0) > 0.5 > 0.1 > busy(100, host=0)
    assert busy(100, host=2) > 0.4 > 0.1 > busy(0, host=2)
    assert nvidia_smi.listing(box().gpus) == nvidia_smi.listing(box().gpus)
    moved = box(host=0, weight=0)
    hot = moved.gpus[0].power_w
    moved._world.chat_weight = 100
    for _ in range(20):
        moved.step(0.5)
    assert moved.gpus[0].power_w < hot / 2

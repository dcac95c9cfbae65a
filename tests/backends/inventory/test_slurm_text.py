"""What Slurm prints is parsed whole or left out; no name that a person chooses makes another job of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.inventory.slurm import kinds_of
from backends.inventory.slurm_text import (
    HISTORY_FIELDS,
    WIDTHS,
    expand,
    gpus_of,
    parse_df,
    parse_history,
    parse_nodes,
    parse_partitions,
    parse_queue,
    parse_tres,
)

RECORD, UNIT = "record-of-this-look", "unit-of-this-look"


def queued(ident: str, name: str) -> str:
    return RECORD + UNIT.join((ident, ident, "gpu", "RUNNING", "ann", "n1", "1-02:03:04", "/home/ann", "(null)", name)) + "\n"


@given(st.text(max_size=80))
def test_whatever_a_job_is_called_it_stays_one_job(name: str) -> None:
    jobs = parse_queue(queued("7", name) + queued("8", "next"), RECORD, UNIT, {"7": 4})
    assert [(job.ident, job.gpus, job.seconds) for job in jobs] == [("7", 4, 93784.0), ("8", None, 93784.0)]
    row = dict.fromkeys(HISTORY_FIELDS, "")
    row |= {"JobIDRaw": "7", "ElapsedRaw": "60", "AllocTRES": "billing=8,gres/gpu=2,gres/gpu:a100=2", "JobName": name}
    step = row | {"JobIDRaw": "7.batch", "MaxRSS": "2048K", "TRESUsageInMax": "cpu=1,gres/gpumem=3G", "JobName": "batch"}
    text = "\n".join(UNIT.join(one.values()) for one in (row, step))
    [run] = parse_history(text + "\n", UNIT)
    assert (run.gpus, run.seconds, run.memory, run.gpu_memory) == (2, 60.0, 2048 * 1024, 3 * 2**30)


@given(st.text(max_size=300))
def test_no_output_ends_in_an_exception(text: str) -> None:
    parse_nodes(text)
    parse_partitions(text)
    parse_queue(text, RECORD, UNIT, {})
    parse_tres(text)
    parse_history(text, UNIT)
    list(parse_df(text))
    assert len(expand(text)) <= 2000


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("gpu:a100:8(S:0-1)", 8),
        ("gpu:4", 4),
        ("gres:gpu:h100:2", 2),
        ("cpu=8,gres/gpu=4,gres/gpu:a100=4", 4),
        ("gres/gpu:a100=4,gres/gpu:l4=1", 5),
        ("gres/gpumem=3G", 0),
        ("(null)", 0),
    ],
)
def test_gpus_are_counted_once(text: str, count: int) -> None:
    assert gpus_of(text) == count


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("gpu[01-03,7],login", ("gpu01", "gpu02", "gpu03", "gpu7", "login")),
        ("n[1-2]-ib", ("n1-ib", "n2-ib")),
        ("", ()),
        ("n[1-99999999999]", ()),
    ],
)
def test_a_list_of_nodes_is_written_out(text: str, nodes: tuple[str, ...]) -> None:
    assert expand(text) == nodes


@pytest.mark.parametrize(
    ("cells", "count"),
    [
        ({"tres-alloc": "cpu=8,node=2,gres/gpu=16"}, 16),
        ({"tres-per-job": "gres:gpu:3"}, 3),
        ({"tres-alloc": "node=2", "tres-per-node": "gres:gpu:4"}, 8),
        ({"tres-per-task": "gres:gpu:1", "NumTasks": "6"}, 6),
    ],
)
def test_gpus_of_a_job_are_those_of_all_its_nodes(cells: dict[str, str], count: int) -> None:
    line = "".join(({"JobID": "12"} | cells).get(name, "N/A").ljust(width) for name, width in WIDTHS.items())
    assert parse_tres(line + "\n") == {"12": count}


def test_jobs_and_runs_of_one_name_user_and_partition_are_one_kind() -> None:
    jobs = parse_queue(queued("7", "train") + queued("8", "train") + queued("9", "serve"), RECORD, UNIT, {})
    assert [(kind.name, len(kind.jobs)) for kind in kinds_of(jobs, [])] == [("train", 2), ("serve", 1)]

"""What the journal keeps beside a verdict: the figures by hash, and likely causes with their evidence."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backends.cutover.events import Event, Kind
from backends.cutover.story import describe
from backends.engine.evidence import causes_of_breach, inputs_of
from backends.plan.models import Axis, Measure, MeasureKind, Source
from backends.snapshot import GpuDetail, GpuView, HostView, MachineView
from backends.validation.feed import Feed
from backends.validation.files import FileReader


async def feed(path: Path, values: list[float], by: Axis = "epoch") -> Feed:
    path.write_text("".join(json.dumps({"epoch": i + 1, "loss": v, "time": 1000 + i}) + "\n" for i, v in enumerate(values)))
    made = Feed(Source(file=str(path), value="loss", by=by), FileReader())
    await made.poll()
    return made


def measure(kind: MeasureKind) -> Measure:
    source = Source(file="x", value="loss")
    return Measure(name="m", workload="w", kind=kind, legacy=source, target=source)


def host(name: str, *, throttled: tuple[str, ...] = (), driver: str = "550.1", used: float = 0.95, cpu: float = 0.3) -> HostView:
    gpu = GpuView(index=3, name="H100", utilization=used, detail=GpuDetail(throttled=throttled))
    return HostView(name=name, side="target", driver=driver, gpus=(gpu,), machine=MachineView(cpu=cpu))


LOSS = [2.0, 1.8, 1.6, 1.5, 1.4, 1.3]


async def test_both_sides_figures_are_kept_by_hash(tmp_path: Path) -> None:
    old, new, same = [await feed(tmp_path / n, v) for n, v in (("a", LOSS), ("b", [2.1, *LOSS[1:]]), ("c", LOSS))]
    told = inputs_of(old, new)
    assert told["legacy"]["points"] == 6
    assert told["legacy"]["window"] == [1, 6]
    assert told["legacy"]["source"] == str(tmp_path / "a")
    assert told["legacy"]["sha256"] != told["target"]["sha256"]
    assert told["legacy"]["sha256"] == inputs_of(same, new)["legacy"]["sha256"]


async def test_a_silent_side_has_no_window(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    empty = Feed(Source(file=str(tmp_path / "empty"), value="loss", by="epoch"), FileReader())
    assert inputs_of(empty, empty)["legacy"]["window"] is None


async def test_of_a_curve_the_shape_goes_first_and_versions_follow(tmp_path: Path) -> None:
    old, new = await feed(tmp_path / "a", LOSS), await feed(tmp_path / "b", [v * 1.03 for v in LOSS])
    found = causes_of_breach(measure("loss"), old, new, [host("l", driver="535.9")], [host("t")])
    assert "another measure" in found[0]["cause"]
    assert found[1] == {"cause": "another version of the driver", "evidence": "driver 535.9 on legacy, 550.1 on target"}


async def test_of_a_speed_what_the_probes_saw_goes_first(tmp_path: Path) -> None:
    old, new = await feed(tmp_path / "a", LOSS, "time"), await feed(tmp_path / "b", LOSS, "time")
    hot = host("t1", throttled=("power cap", "thermal, hardware"))
    found = causes_of_breach(measure("step_time"), old, new, [host("l")], [hot, host("t2", used=0.2, cpu=0.98)])
    assert [c["cause"] for c in found] == ["throttled GPUs on target", "the target is bound by its input"]
    assert found[0]["evidence"] == "t1: GPU 3: thermal, hardware"
    assert found[1]["evidence"] == "t2: GPUs at 20%, processors at 98%"


async def test_versions_that_a_validation_run_found_to_differ_go_before_the_shape_of_a_curve(tmp_path: Path) -> None:
    old, new = await feed(tmp_path / "a", LOSS), await feed(tmp_path / "b", [v * 1.03 for v in LOSS])
    differ = [("version.torch", "2.3", "2.4"), ("env.NVIDIA_TF32_OVERRIDE", None, "1"), ("cpu", "x", "y")]
    recorded = [{"name": n, "legacy": a, "target": b} for n, a, b in differ]
    found = causes_of_breach(measure("loss"), old, new, [host("l")], [host("t")], recorded)
    assert [c["cause"] for c in found[:2]] == [
        "versions of the framework differ",
        "flags of precision differ (TF32 and the like)",
    ]
    assert found[0]["evidence"] == "when it was validated: torch 2.3 → 2.4"
    assert "another measure" in found[2]["cause"]
    assert found[-1]["cause"] == "the machines differ"


@pytest.mark.parametrize("reasons", [(), ("power cap",)])
async def test_what_is_usual_is_no_cause(tmp_path: Path, reasons: tuple[str, ...]) -> None:
    old, new = await feed(tmp_path / "a", LOSS, "time"), await feed(tmp_path / "b", LOSS, "time")
    assert causes_of_breach(measure("step_time"), old, new, [host("l")], [host("t", throttled=reasons)]) == []


def test_the_story_tells_the_likeliest_cause_and_an_older_journal_has_none() -> None:
    data = {"name": "loss", "verdict": "BREACH", "value": 0.02, "limit": 0.005, "reason": "target is worse", "phase": ""}
    told = data | {"causes": [{"cause": "a jump\x1b[31m", "evidence": "at epoch 5"}], "inputs": {}}
    texts = [describe(event(d))[0] for d in (data, told)]
    assert "likely" not in texts[0]
    assert texts[1].endswith("target is worse; likely a jump\\x1b[31m (at epoch 5)")


def event(data: dict[str, object]) -> Event:
    return Event(seq=1, at=datetime(2026, 11, 28, tzinfo=UTC), actor="engine", kind=Kind.TRIGGER, data=data)

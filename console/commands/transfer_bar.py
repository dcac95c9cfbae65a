"""What `sync` and `verify` share: the loop they run in, and a bar on stderr where that is a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.output import ssh_options
from widgets.figures import count, duration, rate, size

if TYPE_CHECKING:
    from rich.live import Live

    from backends.plan.models import Plan
    from backends.ssh.pool import SshPool
    from backends.transfer.models import Progress

_REDRAW_SECONDS = 0.25
Line = Callable[[str, "Progress", float], str]


def with_ssh(function: Any) -> Any:
    """The options `-F` and `--known-hosts`."""
    for option in reversed(ssh_options):
        function = option(function)
    return function


def key_text(key: str) -> str:
    """A key for JSON: as it is; bytes that are no UTF-8 as escapes, since JSON cannot hold them."""
    return key.encode("utf-8", "backslashreplace").decode()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: all was closed in order, what was begun can be resumed."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to its end on uvloop where there is one. Raises `Interrupted` after a clean stop."""
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
    """SSH as the plan says, and the command line over it; None, and nothing imported for it, where no store is reached by it."""
    if not any(store.url.startswith("ssh:") for store in plan.stores.values()):
        yield None
        return
    from backends.probes.hosts import ssh_hosts, ssh_settings
    from backends.ssh.pool import SshPool

    settings = ssh_settings(plan, base)
    if ssh_config:
        settings = replace(settings, config=Path(ssh_config))
    if known_hosts:
        settings = replace(settings, known_hosts=Path(known_hosts))
    async with SshPool(settings, [host for _, host in ssh_hosts(plan)]) as pool:
        yield pool


class Bar:
    """The bar on stderr, and how to print while it stands: it steps aside. Without a terminal it is nothing."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def show(self, live: Live | None) -> None:
        self._live = live

    def aside(self, print_it: Callable[[str], None], text: str) -> None:
        """Print with the bar out of the way."""
        if self._live is None:
            print_it(text)
            return
        self._live.stop()
        print_it(text)
        self._live.start()


@contextlib.asynccontextmanager
async def live_bar(bar: Bar, progress: Mapping[str, Progress], line: Line | None = None) -> AsyncIterator[None]:
    """Show these while the block runs; nothing at all where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        bar.show(live)
        task = asyncio.create_task(_redraw(live, progress, line or bar_line))
        try:
            yield
        finally:
            bar.show(None)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _redraw(live: Any, progress: Mapping[str, Progress], line: Line) -> None:
    from rich.text import Text

    loop = asyncio.get_running_loop()
    speeds = {name: Speed() for name in progress}
    while True:
        rows = [line(name, shown, speeds[name].of(shown.copied_bytes, loop.time())) for name, shown in progress.items()]
        live.update(Text("\n".join(rows), no_wrap=True, overflow="ellipsis"), refresh=True)
        await asyncio.sleep(_REDRAW_SECONDS)


class Speed:
    """Bytes a second, smoothed over a few seconds."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None
        self._value = 0.0

    def of(self, done: int, at: float) -> float:
        if self._last is not None and at > self._last[1]:
            passed = at - self._last[1]
            now = max(0, done - self._last[0]) / passed
            weight = min(1.0, passed / 3)
            self._value += (now - self._value) * weight
        self._last = (done, at)
        return self._value


def check_line(name: str, progress: Progress, speed: float) -> str:
    """One dataset's line of a verification: what is listed grows while it is checked."""
    problems = f", {count(progress.failed)} problems" if progress.failed else ""
    return f"{name}: {count(progress.objects_done)} of {count(progress.objects_total)} listed objects checked{problems}"


def bar_line(name: str, progress: Progress, speed: float) -> str:
    """One dataset's line."""
    if progress.status == "listing":
        return f"{name}: listing, {count(progress.listed)} objects"
    if progress.status == "waiting":
        return f"{name}: waiting"
    left = max(0, progress.to_copy_bytes - progress.copied_bytes)
    parts = [
        f"{name}: {progress.status}",
        f"{count(progress.objects_done)} of {count(progress.objects_total)} objects",
        f"{size(min(progress.copied_bytes, progress.to_copy_bytes))} of {size(progress.to_copy_bytes)}",
    ]
    if speed > 0:
        parts.append(f"{rate(speed)}, {duration(left / speed)} left")
    if progress.failed:
        parts.append(f"{count(progress.failed)} failed")
    return ", ".join(parts)

"""`cutover probe PLAN|[USER@]HOST[:PORT]...`: GPUs and hosts as they are now."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from backends.errors import UsageError
from backends.escape import plain
from console.commands.accept_new import accept_keys, accept_option
from console.commands.probe_endpoints import ask_endpoints
from console.commands.transfer_bar import run, with_ssh
from console.output import command_body, emit_json, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from backends.snapshot import GpuView, HostView, SideName
    from backends.ssh.models import SshHost, SshSettings

PLAN_ENDINGS = (".yaml", ".yml")
WATCH_SECONDS = 1.0
WIDE = 120  # cells from which the table has room for versions and words
FIGURES = ("UTIL", "MEMORY", "POWER", "TEMP")
NARROW = {"SIDE": 6, "UTIL": 4, "MEMORY": 16, "POWER": 9, "TEMP": 5}  # cells


@click.command(
    "probe",
    epilog="Example: cutover probe plan.yaml\n\n         cutover probe ops@10.0.0.11 gpu-b2:2222 --watch\n\n"
    "Exit code: 0 all hosts are ok, 1 one is not.",
)
@click.argument("what", nargs=-1, metavar="PLAN|[USER@]HOST[:PORT]...")
@click.option(
    "--endpoint", "endpoints", multiple=True, metavar="URL",
    help="Ask this in place of GPUs: http(s)://, grpc(s)://HOST:PORT[/SERVICE], tcp://HOST:PORT, dns://SERVER/NAME.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0.1, max=60), default=5.0, show_default=True, help="Of an endpoint, seconds."
)
@accept_option
@click.option("--watch", is_flag=True, help="Go on, once a second, until interrupted.")
@json_option
@with_ssh
@command_body
def command(
    what: tuple[str, ...],
    endpoints: tuple[str, ...],
    timeout: float,
    accepted: tuple[str, ...],
    watch: bool,
    as_json: bool,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Ask hosts for their GPUs over SSH: those of PLAN, or those named.

    Host keys are always checked; a key that changed is never accepted. With --endpoint, from this machine and from each host that is named. A value that a device does not give is `-`, in JSON null; never 0.
    """
    if not what and not endpoints:
        raise UsageError("nothing to ask", hint="a plan, hosts, or --endpoint URL")
    settings, hosts, has_sides = _chosen(what) if what else _nobody()
    settings = settings.over(ssh_config, known_hosts)
    if accepted:
        run(accept_keys(settings, [host for _, host in hosts], accepted))
    if endpoints:
        return ask_endpoints(endpoints, timeout, settings, hosts, as_json=as_json)
    found: list[HostView] = []
    if watch:
        run(_watch(settings, hosts, has_sides=has_sides, as_json=as_json))
        return 0
    run(_once(settings, hosts, found))
    if as_json:
        emit_json(as_object(found, has_sides=has_sides))
    else:
        _print(found, has_sides=has_sides)
    return 0 if all(is_ok(host) for host in found) else 1


def is_ok(host: HostView) -> bool:
    """It answered with figures, and neither it nor one of its GPUs raises an alarm."""
    return host.health == "live" and host.error is None and not host.alarms and not any(gpu.alarm for gpu in host.gpus)


def as_object(hosts: list[HostView], *, has_sides: bool) -> dict[str, Any]:
    """The contract's object; `side` is null for hosts that no plan names."""
    return {
        "hosts": [
            {
                "name": host.name,
                "side": host.side if has_sides else None,
                "ok": is_ok(host),
                "error": host.error
                or next((f"GPU {g.index} {g.alarm}" for g in host.gpus if g.alarm), None)
                or next(iter(host.alarms), None),
                "address": host.address,
                "health": host.health,
                "driver": host.driver,
                "cuda": host.cuda,
                "source": host.source,
                "alarms": list(host.alarms),
                "machine": host.machine.model_dump() if host.machine is not None else None,
                "gpus": [_gpu_object(gpu) for gpu in host.gpus],
            }
            for host in hosts
        ]
    }


def _gpu_object(gpu: GpuView) -> dict[str, Any]:
    """A GPU's values side by side; those of its detail are there, null, also where no source gives them."""
    from backends.snapshot import GpuDetail

    return gpu.model_dump(exclude={"history", "detail"}) | (gpu.detail or GpuDetail()).model_dump()


def trouble_lines(hosts: list[HostView]) -> list[str]:
    """What is wrong, host by host, where the table has no room for it."""
    lines = []
    for host in hosts:
        words = _words(host)
        lines += [words if words.startswith(host.name) else f"{host.name}: {words}"] if words else []
        lines += [f"{host.name} GPU {gpu.index}: {gpu.alarm}" for gpu in host.gpus if gpu.alarm]
    return [plain(line) for line in lines]


def table(hosts: list[HostView], *, has_sides: bool, width: int = WIDE) -> Table:
    """For people: a row a GPU, a row of words for a host without. Where it is not wide no line is broken, versions and words stand elsewhere."""
    from rich.table import Table
    from rich.text import Text

    out = Table(box=None, pad_edge=False, header_style="bold")
    is_wide = width >= WIDE
    titles = ("SIDE", "HOST", "GPU", *FIGURES, *(("DRIVER", "CUDA", "") if is_wide else ()))[0 if has_sides else 1 :]
    left = max(20, width - sum(cells + 2 for title, cells in NARROW.items() if title in titles) - 2)
    widths = {} if is_wide else NARROW | {"HOST": left * 2 // 5, "GPU": left - left * 2 // 5}  # names give way to figures
    for title in titles:
        justify: Literal["left", "right"] = "right" if title in FIGURES else "left"
        out.add_column(
            title, justify=justify, width=widths.get(title), no_wrap=not is_wide, overflow="ellipsis" if widths else "fold"
        )
    for host in hosts:
        side = [host.side] if has_sides else []
        for cells in _rows(host):
            out.add_row(*(Text(plain(cell)) for cell in [*side, *cells][: len(out.columns)]))
    return out


def _words(host: HostView) -> str:
    return "; ".join(host.alarms) if host.health == "live" and not host.error else host.error or host.health


def _rows(host: HostView) -> list[list[str]]:
    words = _words(host)
    facts = [host.driver or "-", host.cuda or "-"]
    if not host.gpus:
        return [[host.name, "-", "-", "-", "-", "-", *facts, words]]
    return [[host.name, *_cells(gpu), *facts, gpu.alarm or words] for gpu in host.gpus]


def _cells(gpu: GpuView) -> list[str]:
    from widgets.figures import size_of

    def shown(value: float | None, text: str) -> str:
        return "-" if value is None else text.format(value)

    power = shown(gpu.power_w, "{:.0f}") + (f"/{gpu.power_limit_w:.0f}" if gpu.power_limit_w is not None else "")
    return [
        f"{gpu.index} {gpu.name}".strip(),
        shown(gpu.utilization, "{:.0%}"),
        size_of(gpu.memory_used, gpu.memory_total),
        "-" if gpu.power_w is None else f"{power} W",
        shown(gpu.temperature_c, "{:.0f} °C"),
    ]


def _nobody() -> tuple[SshSettings, tuple[tuple[SideName, SshHost], ...], bool]:
    from backends.ssh.models import SshSettings

    return SshSettings(), (), False


def _chosen(what: tuple[str, ...]) -> tuple[SshSettings, tuple[tuple[SideName, SshHost], ...], bool]:
    """Settings, hosts, and whether the hosts have sides: those of one plan, or those named."""
    from backends.plan.load import load_plan
    from backends.probes.hosts import ssh_hosts, ssh_settings
    from backends.ssh.models import SshSettings, parse_destination

    plans = [word for word in what if word.endswith(PLAN_ENDINGS) or Path(word).is_file()]
    if not plans:
        return SshSettings(), tuple(("target", parse_destination(word, word)) for word in dict.fromkeys(what)), False
    if len(what) > 1:
        raise UsageError(f"one plan, or hosts: got {plain(' '.join(what), 200)}", hint="cutover probe --help")
    checked = load_plan(Path(plans[0]))
    assert checked.plan is not None
    hosts = ssh_hosts(checked.plan)
    if not hosts:
        raise UsageError("the plan names no hosts", where=plans[0], hint="legacy.hosts and target.hosts")
    return ssh_settings(checked.plan, checked.path.absolute().parent), hosts, True


async def _once(settings: SshSettings, hosts: tuple[tuple[SideName, SshHost], ...], found: list[HostView]) -> None:
    from backends.probes.once import probe_hosts
    from backends.ssh.pool import SshPool

    async with SshPool(settings, [host for _, host in hosts]) as pool:
        found.extend(await probe_hosts(pool, hosts))


async def _watch(settings: SshSettings, hosts: tuple[tuple[SideName, SshHost], ...], *, has_sides: bool, as_json: bool) -> None:
    from backends.probes.fleet import GpuFleet
    from backends.ssh.pool import SshPool

    drawn = None
    if not as_json and sys.stdout.isatty():
        from console.commands.probe_watch import Watch  # with all that draws: for a terminal

        drawn = Watch(dict(os.environ))
    async with SshPool(settings, [host for _, host in hosts]) as pool, asyncio.TaskGroup() as group:
        fleet = GpuFleet(pool, hosts, period=WATCH_SECONDS)
        group.create_task(fleet.run())
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            views = list(fleet.views(time.time()))
            if as_json:  # one object a line, so that a reader can take them one by one
                _emit_line(as_object(views, has_sides=has_sides))
            elif drawn is not None:
                drawn.draw(views, has_sides=has_sides)
            else:
                _print(views, has_sides=has_sides)


def _emit_line(value: dict[str, Any]) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def _print(hosts: list[HostView], *, has_sides: bool) -> None:
    from rich.console import Console

    # Into a pipe nothing is cut to the width of a terminal that is not there.
    console = Console(width=None if sys.stdout.isatty() else 400)
    console.print(table(hosts, has_sides=has_sides, width=console.width))
    for line in trouble_lines(hosts) if console.width < WIDE else ():
        console.print(line, markup=False, highlight=False)

"""`python -m tests.bench NAME…`: measurements against real servers. `python -m tests.bench` tells the names."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from tests.bench import page
from tests.bench.checkpoints import bench_checkpoints
from tests.bench.console import bench_console
from tests.bench.contenders import OURS
from tests.bench.contents import WrongCopy
from tests.bench.curves import bench_curves, write_curves
from tests.bench.estimates import estimates
from tests.bench.fleet import bench_fleet
from tests.bench.hub import hub
from tests.bench.judging import bench_compare, bench_tails
from tests.bench.kill import kill
from tests.bench.latencies import bench_latencies, write_latencies
from tests.bench.levels import bench_levels
from tests.bench.live import bench_live
from tests.bench.load import bench_load
from tests.bench.losses import bench_losses, write_losses
from tests.bench.million import million, million_changed
from tests.bench.outcome import Outcome, row_of, table
from tests.bench.processes import ProgramFailed
from tests.bench.resume import bench_resume
from tests.bench.rollback_latency import bench_rollback
from tests.bench.rollback_loaded import bench_rollback_loaded
from tests.bench.screen import bench_screen
from tests.bench.servers import Missing, two_endpoints
from tests.bench.setting import Case, Setting, Sizes
from tests.bench.store_to_store import large, latency, one_large_far, small
from tests.bench.streams import streams
from tests.bench.trees import longer, sftp, tree
from tests.bench.triggers import bench_triggers, write_triggers
from tests.bench.workers import workers

CASES: dict[str, Case] = {
    "small": small,
    "large": large,
    "latency": latency,
    "one-large-far": one_large_far,
    "tree": tree,
    "sftp": sftp,
    "longer": longer,
    "streams": streams,
    "workers": workers,
    "million": million,
    "million-changed": million_changed,
    "hub": hub,
    "kill": kill,
    "estimates": estimates,
}
ALONE = {  # with servers of their own or none, no peers
    "resume": bench_resume,
    "rollback": bench_rollback,
    "rollback-loaded": bench_rollback_loaded,
    "fleet": bench_fleet,
    "live": bench_live,
    "console": bench_console,
    "load": bench_load,
    "triggers": bench_triggers,
    "latencies": bench_latencies,
    "levels": bench_levels,
    "losses": bench_losses,
    "checkpoints": bench_checkpoints,
    "curves": bench_curves,
    "compare": bench_compare,
    "tails": bench_tails,
    "screen": bench_screen,
}
WRITTEN = {
    "triggers": write_triggers,
    "latencies": write_latencies,
    "losses": write_losses,
    "curves": write_curves,
}  # with a page of their own
TMPFS = Path("/dev/shm")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    names = "\n".join(f"  {name:<16} {(case.__doc__ or '').splitlines()[0]}" for name, case in {**CASES, **ALONE}.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Ours and its peers on the same work, in turns; medians.",
        epilog=f"cases:\n{names}\n\nBENCH_S3_A, BENCH_S3_B: http://KEY:SECRET@HOST:PORT; without them two SeaweedFS are started.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", choices=[*CASES, *ALONE, "all", []], help="or all")
    parser.add_argument("--runs", type=int, default=5, help="of each contender (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes, to see that all works (1)")
    parser.add_argument("--keys", type=int, help="of the cases million and million-changed (1000000)")
    parser.add_argument("--transfer", default="{}", help="the plan's transfer, such as '{parallel: 32}' ({})")
    parser.add_argument("--write", action="store_true", help="keep the runs in docs/benchmarks/ and draw docs/benchmarks.md")
    parser.add_argument("--only", default="", help="families, such as cutover,rclone")
    args = parser.parse_args(argv)
    if "all" in args.cases:
        args.cases = [*CASES, *ALONE]
    if args.write and (args.scale != 1 or args.only):
        parser.error("--write keeps only whole cases: no --scale, no --only")
    if not args.cases:
        parser.print_help()
    return args


async def measure(args: argparse.Namespace) -> list[str]:
    """Run the cases that need the two servers; each tells what it found when it has ended. The names of those that failed."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)  # servers and programs are ended as by Ctrl-C
    sizes = Sizes().scaled(args.scale)
    if args.keys:
        sizes = Sizes(**{**{f: getattr(sizes, f) for f in Sizes.__dataclass_fields__}, "keys": args.keys})
    memory = TMPFS if TMPFS.is_dir() else Path(tempfile.gettempdir())
    with (
        tempfile.TemporaryDirectory(prefix="cutover-bench-") as folder,
        tempfile.TemporaryDirectory(prefix="cutover-bench-", dir=memory) as fast,
    ):
        async with two_endpoints(Path(folder)) as (a, b):
            families = frozenset(filter(None, args.only.split(",")))
            setting = Setting(a, b, Path(folder), Path(fast), sizes, args.runs, args.transfer, families, _tell)
            setting.strict = "SeaweedFS" not in setting.server
            for name in args.cases:
                if name not in CASES:
                    continue
                found = await _one(name, setting)
                if args.write:  # at once: a case that fails later takes nothing with it
                    page.keep(found)
                    page.draw()
    return setting.failed


async def _one(name: str, setting: Setting) -> list[Outcome]:
    began = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        outcomes = await CASES[name](setting)
    except Missing as missing:
        _tell(f"{name}: skipped: {missing}")
        return []
    except (ProgramFailed, WrongCopy) as error:
        setting.failed.append(name)
        _tell(f"{name}: FAILED: {error}")
        return []
    for outcome in outcomes:
        outcome.began = began
        _tell("")
        _tell(f"{outcome.title} ({outcome.server})")
        ours = next((c for c in outcome.contenders() if c.startswith(OURS)), "")
        for line in [*table(outcome, ours), *(v.line() for v in outcome.verdicts), *outcome.notes, ""]:
            _tell(line)
    return outcomes


def _tell_bars(found: Outcome) -> None:
    """Its bars as a table, each reached or missed."""
    rows = [("", "bar", "measured", ""), *(row_of(verdict) for verdict in found.verdicts)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    _tell(f"\n{found.title} ({found.server})")
    for row in rows:
        _tell(
            "  ".join(
                cell.ljust(w) if i in (0, 3) else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
        )
    for note in found.notes:
        _tell(f"- {note}")


def _tell(text: str) -> None:
    print(text, flush=True)


def main(argv: Sequence[str]) -> int:
    args = parse(argv)
    try:
        for name in args.cases:
            if name in ALONE:
                began = datetime.now(UTC).isoformat(timespec="seconds")
                found = uvloop.run((WRITTEN if args.write and name in WRITTEN else ALONE)[name]())
                if isinstance(found, Outcome):
                    found.began = began
                    _tell_bars(found)
                    if args.write:
                        page.keep([found])
                        page.draw()
        if any(name in CASES for name in args.cases):
            return 1 if uvloop.run(measure(args)) else 0
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("bench: interrupted", file=sys.stderr)
        return 130
    except (ProgramFailed, WrongCopy, Missing) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

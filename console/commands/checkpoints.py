"""`cutover checkpoints LEGACY TARGET`: two checkpoints tensor by tensor. The rules are in docs/judging.md."""

from __future__ import annotations

import math
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import CutoverError, UsageError
from backends.escape import plain
from console.commands.transfer_bar import optional_plan, pool_to, run, with_ssh
from console.output import command_body, emit_json, json_option, say, state_option, tell

if TYPE_CHECKING:
    from backends.validation.checkpoint.compare import Report, TensorResult
    from backends.validation.checkpoint.side import LocalSide, StoreSide

_SHOWN = 40  # tensors of the list; JSON has all
_VALUES_SHOWN = 12
_BAR = 12  # cells


@click.command(
    "checkpoints",
    epilog="Example: cutover checkpoints old/checkpoint-1000 ssh://gpu-b1/data/checkpoint-1000\n\n"
    "Exit code: 0 PASS, 1 BREACH, 4 unreadable, broken or hostile.",
)
@click.argument("legacy")
@click.argument("target")
@click.option("--rtol", type=click.FloatRange(min=0), help="|target - legacy| may be this times |legacy|, element by element.")
@click.option("--atol", type=click.FloatRange(min=0), help="And this much more.")
@click.option("--ignore", multiple=True, metavar="GLOB", help="Leave out tensors and values of this name (several times).")
@click.option(
    "--plan", type=click.Path(path_type=Path), help="Hosts, stores and keys are this plan's; its migration keeps the verdict."
)
@click.option("--workload", metavar="NAME", help="Whose checkpoints they are; needed where the plan has several that train.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the list there, sorted by difference.")
@json_option
@state_option
@with_ssh
@command_body
def command(
    legacy: str,
    target: str,
    rtol: float | None,
    atol: float | None,
    ignore: tuple[str, ...],
    plan: Path | None,
    workload: str | None,
    svg: Path | None,
    as_json: bool,
    state_dir: str | None,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Compare two checkpoints: safetensors files, shards and folders, and PyTorch's .pt files, which are never unpickled.

    LEGACY and TARGET are a file or a folder, here or at s3://, gs://, az:// or ssh://HOST/PATH. Bit-equal unless a tolerance is given.
    """
    from backends.validation.checkpoint.difference import Tolerance
    from backends.verdict import Verdict

    if any(limit is not None and not math.isfinite(limit) for limit in (rtol, atol)):
        raise UsageError("--rtol and --atol are finite numbers")
    whose = _whose(plan, workload)
    tolerance = Tolerance(rtol or 0.0, atol or 0.0, rtol is not None or atol is not None)
    found: list[Report] = []
    run(_compare((legacy, target), tolerance, ignore, plan, (ssh_config, known_hosts), found))
    report = found[0]
    if svg is not None:
        from console.commands.checkpoints_svg import draw

        svg.write_text(draw(report), encoding="utf-8")
    kept = _keep(report, (legacy, target), plan, state_dir, whose) if plan is not None else None
    if as_json:
        emit_json(as_object(report) | ({"kept": kept} if kept is not None else {}))
    else:
        _print(report)
    return 0 if report.verdict is Verdict.PASS else 1


def _whose(plan: Path | None, workload: str | None) -> str:
    """The workload that the checkpoints are of: the one that is named, else the only one that trains; "" where that is not told."""
    checked, _ = optional_plan(plan)
    if checked is None:
        if workload is not None:
            raise UsageError("--workload names one of a plan's", hint="give --plan too")
        return ""
    names = [w.name for w in checked.workloads]
    if workload is not None and workload not in names:
        raise UsageError(f"the plan has no workload {plain(workload)}", hint=f"one of {', '.join(names) or 'none'}")
    training = [w.name for w in checked.workloads if w.class_ == "training"]
    return workload or (training[0] if len(training) == 1 else "")


def _keep(report: Report, places: tuple[str, str], plan: Path, state_dir: str | None, workload: str) -> bool:
    """Into the journal of the plan's migration, where there is one. That it cannot be kept is told, and changes no verdict."""
    from backends.engine.paths import journal_of
    from backends.statedir import state_dir as folder_of
    from backends.validation.checkpoint.kept import kept_view
    from console.keeping import keep

    checked, _ = optional_plan(plan)
    assert checked is not None
    folder = folder_of(state_dir, checked.name)
    if not journal_of(folder).exists():
        return False
    view = kept_view(report, places, workload=workload)
    try:
        keep(folder, plan, "cutover checkpoints", "checkpoints", view.model_dump(mode="json", exclude={"at"}))
    except CutoverError as error:
        tell(f"cutover: the verdict is not in the journal: {plain(error.message, 400)}")
        return False
    return True


async def _compare(
    names: tuple[str, str],
    tolerance: Any,
    ignored: tuple[str, ...],
    plan_path: Path | None,
    ssh_files: tuple[str | None, str | None],
    found: list[Report],
) -> None:
    from backends.validation.checkpoint.compare import compare_checkpoints
    from backends.validation.checkpoint.opening import open_side

    plan, base = optional_plan(plan_path)
    sides: list[LocalSide | StoreSide] = []
    async with AsyncExitStack() as stack:
        is_ssh = any(name.startswith("ssh://") for name in names)
        pool = await stack.enter_async_context(pool_to(plan, base, *ssh_files)) if is_ssh else None
        for side, name in zip(("legacy", "target"), names, strict=True):
            opened = await open_side(side, name, plan=plan, base=base, ssh=pool)
            await stack.enter_async_context(opened)
            sides.append(opened)
        found.append(await compare_checkpoints(sides[0], sides[1], tolerance, ignored=ignored, progress=_Bar(stack).show))


class _Bar:
    """How far it is, on stderr where that is a terminal."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._set: Any = None
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

        bar = Progress(
            *Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True), transient=True
        )
        stack.enter_context(bar)
        task = bar.add_task("comparing", total=None)
        self._set = lambda done, whole: bar.update(task, completed=done, total=whole)

    def show(self, done: int, whole: int) -> None:
        if self._set is not None:
            self._set(done, whole)


def as_object(report: Report) -> dict[str, Any]:
    """The contract's object."""
    return {
        "tensors": [_tensor(result) for result in report.tensors],
        "values": [{"name": v.name, "legacy": v.legacy, "target": v.target} for v in report.values],
        "resume": {
            part.part: {"legacy": part.legacy, "target": part.target}
            | ({"values": {"legacy": part.values[0], "target": part.values[1]}} if part.part == "step" else {})
            for part in report.resume
        },
        "bytes": {"legacy": report.size[0], "target": report.size[1]},
        "bytes_read": {"legacy": report.bytes_read[0], "target": report.bytes_read[1]},
        "verdict": report.verdict.value,
        "reason": report.reason,
        "notes": list(report.notes),
    }


def _tensor(result: TensorResult) -> dict[str, Any]:
    one, found = result.one, result.found
    other = result.target if result.legacy is not None else None
    row: dict[str, Any] = {"name": result.name, "shape": list(one.shape), "dtype": one.kind.name}
    row |= {"max_abs": None, "max_rel": None, "relative": None, "cosine": None, "ulp": None, "differing": None, "from_zero": None}
    row |= {"nan": None, "inf": None}
    if found is not None:
        is_opaque = one.kind.form == "opaque"
        row |= {"max_abs": None if is_opaque else found.max_abs, "max_rel": None if is_opaque else found.max_rel}
        row |= {"relative": found.relative, "cosine": found.cosine, "ulp": found.ulp, "differing": found.differing}
        row |= {"from_zero": found.from_zero}
        if not found.unread and not is_opaque:
            row |= {
                "nan": {"legacy": found.nan[0], "target": found.nan[1]},
                "inf": {"legacy": found.inf[0], "target": found.inf[1]},
            }
    row |= {"equal": result.equal, "missing": result.missing, "file": one.file}
    if result.unlike is not None and other is not None:
        row["target"] = {"shape": list(other.shape), "dtype": other.kind.name}
    return row


def _print(report: Report) -> None:
    apart = [r for r in report.tensors if not r.equal]
    if apart:
        say(f"{'relative':>10}  {'':<{_BAR}}  {'max abs':>10}  {'max rel':>10}  {'cosine':>12}  {'ULP':>12}  tensor")
    for result in apart[:_SHOWN]:
        say(_line(result))
    if len(apart) > _SHOWN:
        say(f"{'':>10}  {len(apart) - _SHOWN:,} more that differ: --json has them all")
    for value in report.values[:_VALUES_SHOWN]:
        say(f"{plain(value.name, 100)}: {plain(str(value.legacy), 60)} → {plain(str(value.target), 60)}")
    if len(report.values) > _VALUES_SHOWN:
        say(f"{len(report.values) - _VALUES_SHOWN:,} more values that differ: --json has them all")
    say("")
    for part in report.resume:
        sides = [plain(name, 60) if name is not None else "none" for name in (part.legacy, part.target)]
        shown = sides[0] if sides[0] == sides[1] else f"{sides[0]} → {sides[1]}"
        say(f"{_RESUME[part.part]:<22}{shown}{_steps(part.values)}")
    for note in report.notes:
        say(plain(note, 300))
    say(f"{report.verdict.value}: {plain(report.reason)}")


_RESUME = {"optimizer": "optimizer state", "step": "step", "rng": "random numbers", "data": "place in the data"}


def _steps(values: tuple[Any, Any]) -> str:
    old, new = values
    if old is None and new is None:
        return ""
    return f" ({plain(str(old), 40)})" if old == new else f" ({plain(str(old), 40)} → {plain(str(new), 40)})"


def _line(result: TensorResult) -> str:
    """One tensor: how far it is from legacy, as a bar on a logarithmic scale too."""
    name = plain(result.name, 100)
    shape = f"{result.one.kind.name} {list(result.one.shape)}"
    if result.missing is not None:
        return f"{'':>10}  {f'missing on {result.missing}':<{_BAR + 54}}  {name}  {shape}"
    if result.found is None:
        assert result.target is not None
        return f"{'':>10}  {f'another {result.unlike}':<{_BAR + 54}}  {name}  {shape} → {result.target.kind.name} {list(result.target.shape)}"
    found = result.found
    relative = "NaN" if found.odd else f"{found.relative:.3g}" if found.relative is not None else "-"
    cosine = f"{found.cosine:.9f}" if found.cosine is not None else "-"
    ulp = f"{found.ulp:,}" if found.ulp is not None and found.ulp < 10**9 else "-" if found.ulp is None else f"{found.ulp:.3g}"
    odd = f"  NaN or infinite {found.nan[0] + found.inf[0]:,} → {found.nan[1] + found.inf[1]:,}" if found.odd else ""
    kinds = f" → {result.target.kind.name}" if result.unlike == "dtype" and result.target is not None else ""
    bar = bar_of(found.relative, found.odd > 0)
    return f"{relative:>10}  {bar:<{_BAR}}  {found.max_abs:>10.3g}  {found.max_rel:>10.3g}  {cosine:>12}  {ulp:>12}  {name}  {shape}{kinds}{odd}"


def bar_of(relative: float | None, is_odd: bool, width: int = _BAR) -> str:
    """From 1e-8 to 1, a cell is a power: what cannot be told is full."""
    from backends.checkpoint_view import share_of

    mark = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    return mark * round(share_of(relative, is_odd) * width)

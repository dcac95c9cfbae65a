"""`cutover up`: start the engine, or find it, and open the console."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backends.errors import RefusedByRule
from backends.escape import plain
from console.commands.transfer_bar import with_ssh
from console.output import command_body, emit_json, json_option, say, state_option, tell

if TYPE_CHECKING:
    from backends.plan.load import CheckedPlan
    from backends.snapshot import Snapshot


@click.command("up")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--detach", is_flag=True, help="Return when the engine answers, with what `status` prints.")
@click.option("--observe", is_flag=True, help="Only watch.")
@click.option("--install-unit", is_flag=True, help="Make it a unit of your own systemd: it outlives the login and a reboot.")
@click.option("--uninstall-unit", is_flag=True, help="Take that unit away again, and do nothing else.")
@click.option("--take-over", metavar="NAME", help="Take the migration NAME from an engine elsewhere that nobody can reach.")
@state_option
@json_option
@with_ssh
@command_body
def command(
    plan: Path,
    detach: bool,
    observe: bool,
    install_unit: bool,
    uninstall_unit: bool,
    take_over: str | None,
    state_dir: str | None,
    as_json: bool,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Start the engine of PLAN (or find it) and open the console.

    Example: cutover up plan.yaml
    """
    from backends.engine.ssh_choice import keep_choice
    from backends.plan.load import load_plan
    from backends.statedir import make_state_dir
    from backends.statedir import state_dir as folder_of
    from console.engine import ensure_engine, snapshot
    from console.status_text import status_lines

    checked = load_plan(plan)
    assert checked.plan is not None
    if take_over is not None and take_over != checked.plan.name:
        text = f"the name typed is {plain(take_over)}, the plan's migration is {checked.plan.name}"
        raise RefusedByRule("CONFIRM", text, hint=f"--take-over {checked.plan.name}")
    path = folder_of(state_dir, checked.plan.name)
    _see_that_it_is_ours(path, checked.plan.name)
    if ssh_config or known_hosts:
        keep_choice(make_state_dir(path), ssh_config, known_hosts)
    if uninstall_unit:
        return _take_unit_away(checked.plan.name, as_json=as_json)
    if install_unit:
        _start_by_unit(checked.plan.name, path, checked)
    if not ensure_engine(path, plan, take_over=take_over is not None):
        _tell_of_what_runs(snapshot(path), checked.hash, has_choice=bool(ssh_config or known_hosts))
    if detach or as_json:
        now = snapshot(path)
        if as_json:
            emit_json(now)
        else:
            for line in status_lines(now):
                say(line)
        return 0
    from console.attach import run_console
    from console.starter import starter

    return run_console(path, checked.plan.name, observe=observe, start_engine=starter(path))


def _start_by_unit(name: str, path: Path, checked: CheckedPlan) -> None:
    """Install the unit and start the engine by it; what could not be done is told, and the engine is started all the same by who called."""
    from backends.engine import unit
    from backends.statedir import make_state_dir
    from console.engine import is_answering, wait_for_engine

    state = make_state_dir(path)
    for step in unit.install_unit(name, state, checked.path.absolute()):
        tell(plain(step.text))
    if names := unit.variables_of(checked.text):
        tell(
            f"the unit does not have your {', '.join(names)}: write NAME=value lines into {unit.environment_file(state)}, mode 0600"
        )
    if is_answering(path):
        tell("an engine runs already, as it was started: cutover down, then up --install-unit, starts it by the unit")
        return
    started = unit.start_unit(name)
    tell(plain(started.text))
    if started.ok:
        wait_for_engine(path)


def _take_unit_away(name: str, *, as_json: bool) -> int:
    from backends.engine import unit

    done = unit.uninstall_unit(name)
    if as_json:
        emit_json({"steps": [{"what": d.what, "ok": d.ok, "detail": d.detail} for d in done]})
    for step in done:
        tell(plain(step.text))
    tell("an engine that runs goes on: cutover down ends it; lingering stays as it is (loginctl disable-linger)")
    return 0 if all(d.ok for d in done) else 4


def _see_that_it_is_ours(path: Path, name: str) -> None:
    """A folder holds one migration, also where its engine runs and would be found."""
    from backends.engine.journal import migration_name
    from backends.engine.paths import journal_of

    held = migration_name(path) if journal_of(path).is_file() else ""
    if held and held != name:
        text = f"this folder holds the migration {plain(held)}, not {plain(name)}"
        raise RefusedByRule("STATE", text, where=str(path), hint="another --state")


def _tell_of_what_runs(now: Snapshot, plan_hash: str, *, has_choice: bool) -> None:
    """An engine that was found goes on with what it was started with."""
    if now.engine is not None and now.plan.hash != plan_hash:
        tell("the engine runs with another text of this plan: cutover down, then up, takes this one (before arming)")
    elif has_choice:
        tell("the engine runs already: -F and --known-hosts count when it is started the next time")

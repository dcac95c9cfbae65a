"""`cutover rollback`: take production back to legacy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from backends.errors import RefusedByRule, UsageError
from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option, tell


@click.command("rollback")
@name_argument
@click.option("--emergency", is_flag=True, help="Route back now; fence the target and settle its data after.")
@click.option("--dry-run", is_flag=True, help="Print the executor's own steps and change nothing.")
@click.option("--confirm", help="The migration's name; without it the name is asked for on the terminal.")
@click.option("--accept-unknown", is_flag=True, help="Go although legacy cannot be seen.")
@click.option("--reason", default="", help="Into the journal.")
@key_option
@state_option
@json_option
@command_body
def command(
    name: str | None,
    emergency: bool,
    dry_run: bool,
    confirm: str | None,
    accept_unknown: bool,
    reason: str,
    key: str,
    state_dir: str | None,
    as_json: bool,
) -> int:
    """Roll back, to its end: exit 0 rolled_back (or reconciling), 3 rollback_blocked. Starts the engine where none runs.

    Example: cutover rollback chat-2026 --confirm chat-2026
    """
    from console.engine import command as give
    from console.engine import ensure_engine, folder

    path = folder(state_dir, name)
    args: dict[str, Any] = {"mode": "emergency" if emergency else "graceful", "accept_unknown": accept_unknown}
    if dry_run:
        return show_steps(path, "rollback", args, as_json)
    may_begin(path, confirm, "rollback")
    if ensure_engine(path):
        tell("no engine was running: started it")
    if confirm is None:
        confirm, args["preview_hash"] = ask_name(path, "rollback", args)
    answer = give(path, "rollback", args | {"confirm": confirm, "reason": reason}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say(f"{answer['state']}: every route is back at its weight on legacy")
    return 0


def may_begin(path: Path, confirm: str | None, what: str) -> None:
    """What is wrong with the call itself is said before an engine is started for it."""
    from backends.engine.journal import migration_name
    from backends.engine.paths import journal_of
    from console.engine import snapshot

    if confirm is None and not sys.stdin.isatty():
        raise UsageError(f"the {what} must be confirmed", hint="--confirm NAME, or a terminal to type it on")
    name = migration_name(path) if os.access(journal_of(path), os.R_OK) else snapshot(path).name  # of the operators' group
    if confirm is not None and confirm != name:
        raise RefusedByRule("CONFIRM", f"{plain(confirm)} is not the migration's name", hint=f"--confirm {plain(name)}")


def _preview(path: Path, command: str, args: dict[str, Any]) -> Any:
    from console.engine import talk

    return talk(path, lambda client: client.preview(command, args))


def _preview_or_journal(path: Path, command: str, args: dict[str, Any]) -> Any:
    """A dry run changes nothing: where no engine runs none is started, and the journal says what would be done."""
    from backends.engine.errors import EngineGone
    from backends.engine.offline import preview_offline

    try:
        return _preview(path, command, args)
    except EngineGone:
        if command != "rollback":
            raise  # whether legacy is dead and target alive is in no journal
        return preview_offline(path, args["mode"])


def show_steps(path: Path, command: str, args: dict[str, Any], as_json: bool) -> int:
    preview = _preview_or_journal(path, command, args)
    if as_json:
        emit_json(preview)
    else:
        for line in preview_lines(preview):
            say(line)
    if not preview.allowed:
        if not as_json:
            raise RefusedByRule(preview.refused_by or "STATE", preview.reason, hint=preview.would_allow)
        return 3
    return 0


def preview_lines(preview: Any) -> list[str]:
    """The steps, the seconds, the gap and the warnings, in words."""
    from widgets.figures import duration

    lines = [f"{f'{preview.command} {preview.mode}'.strip()}, about {duration(preview.seconds)}, {len(preview.steps)} steps:"]
    lines += [f"  {i}. {plain(step.text)}" for i, step in enumerate(preview.steps, 1)]
    lines.append(f"  {gap_line(preview)}")
    lines += [f"  note: {plain(w)}" for w in preview.warnings]
    return lines


def gap_line(preview: Any) -> str:
    """What stays behind on the target; in an emergency by the last look, where its writer goes on until it is fenced."""
    from widgets.figures import duration, size

    gap = preview.gap
    if preview.command == "evacuate":
        held = "not known" if gap.objects is None else f"{gap.objects} objects, {size(gap.bytes)}" if gap.objects else "none"
        return f"gap: {held}, which legacy alone holds by the last look; it stays there"
    if preview.mode != "emergency":
        return "gap: none, the last objects are copied back first"
    if gap.objects is None:
        return "gap: not known"
    if gap.is_zero:
        return "gap: none, target's writer was stopped before the last look"
    looked = f"at the last look{f', {duration(gap.age)} ago' if gap.age is not None else ''}"
    more = "; what target wrote since, and writes until it is fenced, stays behind too" if gap.may_be_more else ""
    if not gap.objects:
        return f"gap: none {looked}{more}, and is kept"
    return f"gap: {gap.objects} objects, {size(gap.bytes)}, the oldest of {duration(gap.seconds)} ago, {looked}{more}; kept"


def ask_name(path: Path, command: str, args: dict[str, Any]) -> tuple[str, str]:
    """Show the steps and ask for the migration's name, on the terminal only."""
    from console.engine import snapshot

    preview = _preview(path, command, args)
    for line in preview_lines(preview):
        tell(line)
    if not preview.allowed:
        raise RefusedByRule(preview.refused_by or "STATE", preview.reason, hint=preview.would_allow)
    typed = click.prompt(
        f"type {snapshot(path).name} to {'roll back' if command == 'rollback' else command}",
        err=True,
        default="",
        show_default=False,
    )
    return typed.strip(), preview.hash

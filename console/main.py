"""The `cutover` command: a group whose commands are imported only when they are called, so that each starts fast."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import sys
import threading
from typing import NoReturn

import click

from console.output import fail, wants_json

# pydantic would look through all that is installed for plugins: nobody else's code is asked.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


# name -> (module, what the overview says)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("console.commands.demo", "the whole job on the embedded two-provider sandbox"),
    "sandbox": ("console.commands.sandbox", "two small providers on loopback, for rehearsal"),
    "check": ("console.commands.check", "check a plan: every problem at once"),
    "plan": ("console.commands.plan", "the planning room: findings, GPUs, estimate"),
    "schema": ("console.commands.schema", "the plan's JSON schema"),
    "secrets": ("console.commands.secrets", "references resolved, secrets copied, no value shown"),
    "gpus": ("console.commands.gpus", "the catalogue of GPUs, and what is nearest to one"),
    "estimate": ("console.commands.estimate", "time, cost and calendar, in ranges"),
    "reconfigure": ("console.commands.reconfigure", "legacy's configuration written anew for target"),
    "inventory": ("console.commands.inventory", "what runs on legacy, as a draft of a plan"),
    "probe": ("console.commands.probe", "GPUs and hosts as they are now"),
    "sync": ("console.commands.sync", "copy what the target lacks, proven"),
    "verify": ("console.commands.verify", "prove both sides equal, object by object"),
    "load": ("console.commands.load", "open-loop load on both sides, answers compared"),
    "compare": ("console.commands.compare", "compare one metric, legacy against target"),
    "baseline": ("console.commands.baseline", "record legacy's figures, the yardstick of what comes"),
    "validate": ("console.commands.validate", "train a little on both sides, and compare"),
    "checkpoints": ("console.commands.checkpoints", "compare two checkpoints, tensor by tensor"),
    "up": ("console.commands.up", "start the engine and open the console"),
    "attach": ("console.commands.attach", "open the console on a running engine"),
    "status": ("console.commands.status", "the state, on one screen, without a console"),
    "advance": ("console.commands.advance", "one step forward"),
    "sign": ("console.commands.sign", "answer for what no machine can check"),
    "backup": ("console.commands.backup", "back a dataset up now, and try it"),
    "hold": ("console.commands.hold", "stop forward movement"),
    "resume": ("console.commands.resume", "lift the hold; after a rollback: arm anew"),
    "rollback": ("console.commands.rollback", "take production back to legacy"),
    "restore": ("console.commands.restore", "bring back from a backup what is damaged on legacy"),
    "evacuate": ("console.commands.evacuate", "all weight to a living target, legacy being dead"),
    "approve": ("console.commands.approve", "the second person's yes"),
    "override": ("console.commands.override", "lift one rule for a time"),
    "seat": ("console.commands.seat", "who may command, and taking it over"),
    "history": ("console.commands.history", "the journal, read by people"),
    "note": ("console.commands.note", "what was learnt, for the report"),
    "report": ("console.commands.report", "the after-action report"),
    "down": ("console.commands.down", "end the engine"),
    "worker": ("console.commands.worker", "carry objects for another machine, as it says"),
}


class LazyGroup(click.Group):
    """Imports `module:command` when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return _with_state(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from backends.plan.nearest import nearest_name

            near = nearest_name(args[0], COMMANDS)
            if near is None:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near}'?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _with_state(command: click.Command) -> click.Command:
    """Every command takes `--state`, also those that need no migration: an alias with it works everywhere."""
    if not any("--state" in option.opts for option in command.params):
        text = "The migration's folder: taken by every command, not needed by this one."
        command.params.append(click.Option(["--state"], metavar="DIR", expose_value=False, help=text))
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gpu-cutover", prog_name="cutover")
def cli() -> None:
    """Move GPU workloads from one cloud to another, and take them back.

    Example: cutover demo
    """


def main() -> NoReturn:
    """Run the command line; every error leaves with the contract's exit code."""
    # What is imported stays: collecting garbage every 700 new objects meanwhile costs a twentieth of the time to start.
    gc.set_threshold(50_000, 20, 20)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal or pipe of another encoding is no reason to fail
    leave(exit_code())


def exit_code() -> int:
    """Of the command line, which is carried out."""
    try:
        code = cli.main(standalone_mode=False, prog_name="cutover")
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except click.ClickException as error:
        return fail(error, as_json=wants_json(sys.argv))
    except Exception as error:  # noqa: BLE001 - the last boundary: exit 1 would say "looked, and it is not good"
        return fail(error, as_json=wants_json(sys.argv))
    return code if isinstance(code, int) else 0


def leave(code: int) -> NoReturn:
    """`sys.exit`, but for the last of what it does: modules and all that they hold are not taken apart one by one, which takes a tenth of a
    short command's time. Threads are waited for, what was registered for the end is done, what was printed is out."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # nobody reads it any more, or the streams are closed: the usual end tells
        sys.exit(code)
    os._exit(code)

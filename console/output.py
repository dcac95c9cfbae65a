"""Output and errors of every command: one JSON object on stdout with `--json`, else text; exit codes of the contract."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import click

from backends.errors import CutoverError
from backends.escape import plain

P = ParamSpec("P")


def wants_json(argv: list[str]) -> bool:
    """Was `--json` on the command line? For errors raised before options were parsed."""
    return "--json" in argv


def emit_json(value: Any) -> None:
    """Print one JSON object on stdout. NaN and infinities become null."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=_default).decode() + "\n")
    sys.stdout.flush()


def _default(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"not JSON: {type(value).__name__}")


def say(text: str = "") -> None:
    """A line for people, on stdout."""
    click.echo(text)


def tell(text: str) -> None:
    """Progress and notes, on stderr."""
    click.echo(text, err=True)


def fail(error: Exception, *, as_json: bool) -> int:
    """Print an error as the contract says; returns the exit code."""
    if isinstance(error, CutoverError):
        if as_json:
            emit_json(error.as_json())
        where = f"{plain(error.where)}: " if error.where else ""
        tell(f"cutover: {where}{plain(error.message)}")
        if error.hint:
            tell(f"  {plain(error.hint)}")
        return error.exit_code
    if isinstance(error, click.ClickException):
        if as_json:
            body = {"code": "usage", "message": error.format_message(), "where": "", "hint": "cutover --help"}
            emit_json({"error": body})
        error.show()
        return error.exit_code
    raise error


def command_body(function: Callable[P, int | None]) -> Callable[P, None]:
    """Run a command's body: its return value is the exit code, a `CutoverError` becomes the contract's error.

    The command has a parameter `as_json` (see `json_option`).
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs)
        except CutoverError as error:
            code = fail(error, as_json=bool(kwargs.get("as_json")))
        except BrokenPipeError:
            # The reader of our output has gone, as `head` does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except KeyboardInterrupt:
            code = 130
        click.get_current_context().exit(code or 0)

    return run


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
state_option = click.option(
    "--state",
    "state_dir",
    type=click.Path(file_okay=False),
    envvar="CUTOVER_STATE",
    help="The migration's folder (journal, index, socket). Default: $XDG_STATE_HOME/cutover/NAME.",
)
ssh_options = [
    click.option("-F", "ssh_config", type=click.Path(dir_okay=False), help="Another ssh_config."),
    click.option("--known-hosts", type=click.Path(dir_okay=False), help="Other host keys."),
]

"""Output and errors of every command: one JSON object on stdout with `--json`, else text; exit codes of the contract."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec

import click

from backends.errors import CouldNot, CutoverError
from backends.escape import plain

P = ParamSpec("P")


def wants_json(argv: list[str]) -> bool:
    """Was `--json` on the command line? For errors raised before options were parsed."""
    return "--json" in argv


def emit_json(value: Any) -> None:
    """Print one JSON object on stdout. NaN and infinities become null; bytes that are no UTF-8 are shown as escapes."""
    sys.stdout.write(_json(value) + "\n")
    sys.stdout.flush()


def emit_json_with_rows(value: dict[str, Any], key: str, rows: Iterable[list[dict[str, Any]]]) -> None:
    """The same of an object whose array `key` is too long to be held: `rows` come in lists, each of which is written as a line."""
    import orjson

    head, tail = _json(value | {key: []}).split(f'\n  "{key}": []', 1)  # within, there is no line that is as little indented
    sys.stdout.write(f'{head}\n  "{key}": [')
    between = ""
    for some in filter(None, rows):
        sys.stdout.write(f"{between}\n    {orjson.dumps(some).decode()[1:-1]}")
        between = ","
    sys.stdout.write(f"\n  ]{tail}\n")
    sys.stdout.flush()


def _json(value: Any) -> str:
    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=_default).decode()
    except orjson.JSONEncodeError:
        return orjson.dumps(_utf8(value), option=orjson.OPT_INDENT_2, default=_default).decode()


def _utf8(value: Any) -> Any:
    """`value` with what came as bytes of another encoding (a path of the command line, a key) made text that JSON can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_utf8(k): _utf8(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_utf8(v) for v in value]
    return value


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
        _tell_error(error)
        return error.exit_code
    if isinstance(error, click.ClickException):
        if as_json:
            emit_json({"error": {"code": "usage", "message": error.format_message(), "where": "", "hint": _help_of(error)}})
        error.show()
        return error.exit_code
    if as_json:
        message = f"{type(error).__name__}: {plain(str(error), 500)}"
        hint = "a fault of cutover itself; what it was doing is on stderr"
        emit_json({"error": {"code": "internal", "message": message, "where": "", "hint": hint}})
    traceback.print_exception(error)
    return 4


def _tell_error(error: CutoverError) -> None:
    """For people: a line, then the problems one by one where there are several, then the cure."""
    problems = [p for p in getattr(error, "problems", ()) if p.severity == "error"]
    if len(problems) > 1:
        tell(f"cutover: {len(problems)} errors")
        for problem in problems:
            tell(f"  {plain(problem.where)}: {plain(problem.message)}" + (f" ({plain(problem.hint)})" if problem.hint else ""))
    else:
        where = f"{plain(error.where)}: " if error.where else ""
        tell(f"cutover: {where}{plain(error.message)}")
    if error.hint:
        tell(f"  {plain(error.hint)}")


def _help_of(error: click.ClickException) -> str:
    """The help that says how the command is used."""
    ctx = getattr(error, "ctx", None)
    return f"{ctx.command_path} --help" if ctx is not None else "cutover --help"


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
        except click.Abort:
            code = 130
        except BrokenPipeError:
            # The reader of our output has gone, as `head` does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except OSError as error:
            code = fail(_of_the_system(error), as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            code = 130
        click.get_current_context().exit(code or 0)

    return run


def _of_the_system(error: OSError) -> CutoverError:
    """What the operating system refused, in the contract's shape."""
    where = str(error.filename) if error.filename is not None else ""
    return CouldNot(error.strerror or type(error).__name__, where=where, hint="see to the rights and the space there")


def _migrations(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of NAME: the migrations of this user."""
    from backends.statedir import states_root

    return [p.parent.name for p in sorted(states_root().glob("*/journal.db")) if p.parent.name.startswith(incomplete)]


name_argument = click.argument("name", required=False, shell_complete=_migrations)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
state_option = click.option(
    "--state",
    "state_dir",
    type=click.Path(file_okay=False),
    envvar="CUTOVER_STATE",
    help="The migration's folder (journal, index, socket). Default: $XDG_STATE_HOME/cutover/NAME.",
)
key_option = click.option(
    "--idempotency-key", "key", default="", help="Act once: the same key answers with the first outcome, also after a restart."
)
ssh_options = [
    click.option("-F", "ssh_config", type=click.Path(dir_okay=False), help="Another ssh_config."),
    click.option("--known-hosts", type=click.Path(dir_okay=False), help="Other host keys."),
]

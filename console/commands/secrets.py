"""`cutover secrets PLAN`: what the plan's references lead to, and secrets copied from one manager to another, no value shown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import CutoverError
from backends.escape import plain
from console.output import command_body, emit_json, json_option, say

if TYPE_CHECKING:
    from backends.plan.load import CheckedPlan
    from backends.plan.problems import Problem
    from backends.secrets.copying import Standing

_AT_ONCE = 8
_COLOURS = {"equal": "green", "copied": "green", "differs": "red", "missing": "yellow", "unreadable": "red"}


@dataclass(frozen=True, slots=True)
class _Reference:
    where: str
    text: str
    error: CutoverError | None


@click.command(
    "secrets",
    epilog="Example: cutover secrets plan.yaml --copy\n\nExit code: 0 all resolve and are equal, 1 one does not or stands in the plan itself, 4 nobody answered.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--copy", "write", is_flag=True, help="Copy each of the plan's `secrets` that target lacks.")
@click.option(
    "--overwrite", is_flag=True, help="With --copy: also where target has another value; managers keep it as an earlier version."
)
@json_option
@command_body
def command(plan: Path, write: bool, overwrite: bool, as_json: bool) -> int:
    """Resolve every reference of the plan, compare its `secrets` on both sides, and copy them with --copy. No value is shown or written
    to a disk; equality is proven by hash.
    """
    from backends.errors import UsageError
    from backends.plan.load import load_plan
    from backends.plan.rules.secrets import LITERAL
    from backends.secrets.copying import Salt, settle

    if overwrite and not write:
        raise UsageError("--overwrite goes with --copy")
    checked = load_plan(plan)
    assert checked.plan is not None
    literals = [problem for problem in checked.problems if problem.code == LITERAL]
    salt = Salt()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        references = list(pool.map(lambda found: _tried(found[0], found[1], checked.base), _references(checked)))
        if write and literals:
            standings = []
        else:  # one after another where they are written: two fields of one secret must not overtake each other
            settled = (map if write else pool.map)(
                lambda copy: settle(copy, salt, base=checked.base, write=write, overwrite=overwrite), checked.plan.secrets
            )
            standings = list(settled)
    if as_json:
        emit_json(_as_object(references, standings, literals))
    else:
        for line in _lines(references, standings, literals, refused=write and bool(literals)):
            say(line)
    return _exit_code(references, standings, literals)


def _references(checked: CheckedPlan) -> list[tuple[str, str]]:
    """Where each stands and its text; a text that is no reference is a literal, and told as one."""
    from backends.plan.document import plain_values, read_document
    from backends.plan.references import is_literal
    from backends.plan.rules.secrets import secret_texts

    assert checked.plan is not None
    document = read_document(checked.text)
    assert document.root is not None
    _, places = plain_values(document.root)
    found = []
    for path, text in secret_texts(checked.plan):
        if not is_literal(text):
            place = places.find(path)
            found.append((f"{checked.path}:{place.line}:{place.field}", text))
    return found


def _tried(where: str, text: str, base: Path) -> _Reference:
    from backends.plan.references import parse_references
    from backends.secrets.resolve import resolve

    shown = " ".join(reference.text for reference in parse_references(text))
    try:
        resolve(text, base=base)
    except CutoverError as error:
        return _Reference(where, shown, error)
    return _Reference(where, shown, None)


def _exit_code(references: list[_Reference], standings: list[Standing], literals: list[Problem]) -> int:
    from backends.secrets.errors import SecretUnreachable

    errors = [r.error for r in references if r.error is not None] + [s.error for s in standings if s.error is not None]
    if any(isinstance(error, SecretUnreachable) for error in errors):
        return 4
    return 1 if errors or literals or any(not s.is_good for s in standings) else 0


def _as_object(references: list[_Reference], standings: list[Standing], literals: list[Problem]) -> dict[str, Any]:
    return {
        "ok": _exit_code(references, standings, literals) == 0,
        "references": [
            {"where": r.where, "reference": r.text, "ok": r.error is None, "reason": r.error.message if r.error else ""}
            for r in references
        ],
        "secrets": [
            {"name": s.name, "from": s.from_, "to": s.to, "state": s.state, "reason": s.reason, "proof": s.proof}
            for s in standings
        ],
        "literals": [{"where": problem.where, "message": problem.message, "hint": problem.hint} for problem in literals],
    }


def _lines(references: list[_Reference], standings: list[Standing], literals: list[Problem], *, refused: bool) -> list[str]:
    lines = []
    for reference in references:
        word = click.style("resolves", fg="green") if reference.error is None else click.style("does not", fg="red")
        lines.append(f"{word}  {plain(reference.where)}  {reference.text}")
        if reference.error is not None:
            lines.append(f"          {plain(reference.error.message)}")
            lines += [f"          hint: {plain(reference.error.hint)}"] if reference.error.hint else []
    for problem in literals:
        lines.append(f"{click.style('in plan ', fg='red')}  {plain(problem.where)}  {plain(problem.message)}")
    if refused:
        lines.append("nothing was copied: take the credentials out of the plan first")
    for standing in standings:
        word = click.style(f"{standing.state:<10}", fg=_COLOURS[standing.state])
        lines.append(
            f"{word}{standing.name}  {standing.from_} -> {standing.to}" + (f"  {standing.proof[:12]}" if standing.proof else "")
        )
        if standing.reason:
            lines.append(f"          {plain(standing.reason)}")
    if not (references or standings or literals):
        lines.append("the plan names no secret")
    return lines

"""`cutover attach`: the console on a running engine."""

from __future__ import annotations

import click

from backends import statedir
from backends.errors import CouldNot
from console.output import command_body, emit_json, json_option, name_argument, state_option

THEME_NAMES = ("cutover-dark", "cutover-light", "cutover-16", "cutover-colourblind")


@click.command()
@name_argument
@click.option("--observe", is_flag=True, help="Only watch: every act is dimmed.")
@click.option("--theme", type=click.Choice(THEME_NAMES), help="The colours; chosen by the terminal otherwise.")
@click.option("--mouse", is_flag=True, help="Mouse on, also over SSH.")
@click.option("--plain", is_flag=True, help="ASCII signs only.")
@state_option
@json_option
@command_body
def command(
    name: str | None, observe: bool, theme: str | None, mouse: bool, plain: bool, state_dir: str | None, as_json: bool
) -> int:
    """Open the console on a running engine. `q` leaves it; the engine goes on. With --json what `status` prints, and no console.

    Example: cutover attach chat-2026 --observe
    """
    if as_json:
        from console.engine import folder, snapshot

        emit_json(snapshot(folder(state_dir, name)))
        return 0
    from console.attach import run_console
    from console.starter import starter

    state = statedir.state_dir(state_dir, name)
    if not state.is_dir():
        raise CouldNot("there is no such migration", where=str(state), hint="start one: cutover up PLAN")
    start = None if observe else starter(state)
    return run_console(state, name, observe=observe, theme=theme, mouse=mouse, plain=plain, start_engine=start)

"""`cutover worker`: carry pieces for another machine."""

from __future__ import annotations

import click

from console.commands.transfer_bar import run
from console.output import command_body, json_option


@click.command("worker")
@json_option
@command_body
def command(as_json: bool) -> None:
    """Carry objects from store to store for the machine that leads: what hosts of `transfer.workers` run.

    Cutover starts it there by SSH and speaks with it over standard input and output; nobody calls it by hand. It ends when
    its input does.

    Example: cutover worker
    """
    from importlib.metadata import version

    from backends.transfer.workers.serve import Worker, standard_streams

    async def serve() -> None:
        async with standard_streams() as (lines, say):
            await Worker(say).serve(lines, version("gpu-cutover"))

    run(serve())

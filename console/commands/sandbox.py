"""`cutover sandbox`: two small providers on loopback, kept up so that every real command can be tried on them."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from console.output import command_body, tell


@click.command("sandbox")
@click.option(
    "--dir", "folder", required=True, type=click.Path(path_type=Path), help="Its folder: new, empty, or an earlier sandbox's."
)
@click.option("--scenario", default="clean", show_default=True, help="Which faults are played into it.")
@click.option("--seed", default=0, show_default=True, type=int, help="The same seed plays the same way.")
@click.option("--json", "as_json", is_flag=True, help="Errors as one JSON object; the ready line is JSON anyway.")
@command_body
def command(folder: Path, scenario: str, seed: int, as_json: bool) -> int:
    """Keep two small providers up in the foreground, until Ctrl-C.

    Writes DIR/plan.yaml and, once all is up, one JSON line on stdout. It is a simulation: nothing outside this machine is asked.

    Example: cutover sandbox --dir /tmp/two-clouds
    """
    from backends.sandbox.foreground import run_foreground

    tell(f"sandbox: starting two providers in {folder} (Ctrl-C ends them)")
    number = run_foreground(folder, scenario, seed)
    return 130 if number == signal.SIGINT else 0

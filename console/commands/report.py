"""`cutover report`: the after-action report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backends.errors import CouldNot, NotYetSupported
from console.output import command_body, emit_json, json_option, name_argument, say, state_option

if TYPE_CHECKING:
    from backends.cutover.events import Event


@click.command("report")
@name_argument
@click.option("-o", "out", type=click.Path(path_type=Path), help="Where to write it (.html or .md); default: Markdown on stdout.")
@state_option
@json_option
@command_body
def command(name: str | None, out: Path | None, state_dir: str | None, as_json: bool) -> int:
    """What happened, from the journal alone: one self-contained HTML file with plots, or Markdown.

    Example: cutover report chat-2026 -o chat-2026.html
    """
    from backends.cutover.report import report
    from backends.engine.journal import read_events
    from console.engine import folder

    if out is not None and out.suffix not in (".md", ".html", ""):
        raise NotYetSupported(f"a report as {out.suffix} is not yet supported", where=str(out), hint="-o FILE.html or FILE.md")
    events = read_events(folder(state_dir, name))
    text = report(events)
    if out is not None:
        try:
            out.write_text(_html(events) if out.suffix == ".html" else text, encoding="utf-8")
        except OSError as error:
            raise CouldNot(f"the report cannot be written: {error.strerror}", where=str(out)) from error
    if as_json:
        emit_json({"markdown": text, "file": str(out) if out else None})
    elif out is None:
        say(text)
    return 0


def _html(events: list[Event]) -> str:
    from backends.cutover.report_html import report_html

    return report_html(events)

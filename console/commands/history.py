"""`cutover history`: the journal, read by people."""

from __future__ import annotations

import click

from console.output import command_body, emit_json, json_option, name_argument, say, state_option


@click.command("history")
@name_argument
@click.option("--verify", is_flag=True, help="Check the chain of hashes; exit 4 and the place where it does not hold.")
@click.option("--all", "everything", is_flag=True, help="Intents and ticks too.")
@state_option
@json_option
@command_body
def command(name: str | None, verify: bool, everything: bool, state_dir: str | None, as_json: bool) -> int:
    """Every event of the migration, oldest first.

    Example: cutover history --verify
    """
    from backends.cutover.story import QUIET, view
    from backends.engine.journal import read_events, verify_chain
    from backends.escape import plain
    from console.engine import folder

    path = folder(state_dir, name)
    if verify:
        head = verify_chain(path)
        if as_json:
            emit_json({"ok": True, "events": head.seq, "hash": head.hash})
        else:
            say(f"{head.seq} events, the chain holds, head {head.hash[:16]}")
        return 0
    events = read_events(path)
    if as_json:
        told = [view(e) for e in events]
        pairs = zip(events, told, strict=True)
        emit_json({"events": [{**t.model_dump(mode="json"), "data": e.data, "observed": e.observed} for e, t in pairs]})
        return 0
    for event in events:
        if everything or event.kind not in QUIET:
            line = view(event)
            say(f"{event.seq:>5} {event.at:%Y-%m-%d %H:%M:%S} {plain(event.actor, 24):<12} {line.text}")
    return 0

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
    """Every event of the migration, oldest first; of a broken journal those before the break (exit 4).

    Example: cutover history --verify
    """
    from backends.cutover.story import QUIET, view
    from backends.engine.journal import readable_events, verify_chain
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
    events, broken = readable_events(path)
    if as_json:
        told = [{**view(e).model_dump(mode="json"), "data": e.data, "observed": e.observed} for e in events]
        emit_json({"events": told} | (broken.as_json() if broken is not None else {}))
        return broken.exit_code if broken is not None else 0
    for event in events:
        if everything or event.kind not in QUIET:
            line = view(event)
            say(f"{event.seq:>5} {event.at:%Y-%m-%d %H:%M:%S} {plain(event.actor, 24):<12} {line.text}")
    if broken is not None:
        raise broken
    return 0

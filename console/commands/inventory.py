"""`cutover inventory [USER@]HOST[:PORT]...`: what runs on legacy, as a draft of a plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import NotYetSupported, UsageError
from backends.escape import plain
from console.commands.transfer_bar import run, with_ssh
from console.output import command_body, emit_json, json_option, say, tell

if TYPE_CHECKING:
    from backends.inventory.look import HostSeen
    from backends.ssh.models import SshHost

_LATER = ("slurm", "kubernetes")


@click.command(
    "inventory",
    epilog="Example: cutover inventory ops@10.0.0.11 10.0.0.12 --provider gcp -o draft.yaml\n\nExit code: 0 all hosts were seen, 1 one was not.",
)
@click.argument("hosts", nargs=-1, required=True, metavar="[USER@]HOST[:PORT]...")
@click.option("--name", default="draft", show_default=True, help="The migration's name in the draft.")
@click.option("--provider", help="Legacy's provider; no host tells it.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the draft there; never over a file.")
@json_option
@with_ssh
@command_body
def command(
    hosts: tuple[str, ...],
    name: str,
    provider: str | None,
    output: Path | None,
    as_json: bool,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Look at hosts of legacy over SSH and write a draft of a plan: GPUs, drivers, frameworks, what works there, what it reads.

    Nothing is changed there. Of environments only names are read out, never a value. Each inferred field says from what.
    """
    from backends.inventory.draft import draft, work_of
    from backends.inventory.look import look_at
    from backends.ssh.models import SshSettings
    from backends.ssh.pool import SshPool

    if not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        raise UsageError(f"not a migration's name: {plain(name, 60)}", where="--name", hint="1 to 40 of a-z, 0-9 and -")
    if output is not None and output.exists():
        raise UsageError("there is a file already", where=str(output), hint="another -o")
    chosen = _hosts(hosts)
    settings = SshSettings().over(ssh_config, known_hosts)
    seen: list[HostSeen] = []

    async def look() -> None:
        async with SshPool(settings, chosen) as pool:
            seen.extend(await look_at(pool, chosen))

    run(look())
    text = draft(seen, name=name, provider=provider)
    if output is not None:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        emit_json({"plan": text, "hosts": [_object(one) for one in seen], "workloads": [w.name for w in work_of(seen)]})
    elif output is None:
        say(text.rstrip("\n"))
    for one in seen:
        if one.error:
            tell(f"cutover: {plain(one.host.name)}: {plain(one.error)}")
    return 1 if any(one.error for one in seen) else 0


def _hosts(words: tuple[str, ...]) -> list[SshHost]:
    """Named so that a plan takes the names: by the alias or address, a port behind a dash."""
    from dataclasses import replace

    from backends.ssh.models import parse_destination

    out: list[SshHost] = []
    for word in dict.fromkeys(words):
        if word in _LATER:
            raise NotYetSupported(f"an inventory of {word} is not yet supported", hint="name the hosts")
        host = parse_destination(word, word)
        name = host.address if host.port is None else f"{host.address}-{host.port}"
        name = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-._")[:64]
        if any(name == other.name for other in out):
            raise UsageError(f"{plain(word, 100)} is named twice")
        out.append(replace(host, name=name))
    return out


def _object(seen: HostSeen) -> dict[str, Any]:
    return {
        "name": seen.host.name,
        "ok": not seen.error,
        "error": seen.error or None,
        "driver": seen.view.driver if seen.view is not None else None,
        "gpus": [g.name for g in seen.view.gpus] if seen.view is not None else [],
        "processes": [
            {"pid": p.pid, "user": p.user, "program": p.program, "script": p.script, "job": p.job, "gpus": list(p.gpus),
             "memory": p.memory, "ports": list(p.ports), "stores": list(p.stores), "environment": list(p.environment)}
            for p in seen.processes
        ],
        "mounts": [{"path": m.path, "kind": m.kind, "size": m.size, "used": m.used} for m in seen.mounts],
    }  # fmt: skip

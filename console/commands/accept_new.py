"""`--accept-new HOST`: the key of a host that is new is shown and added to known_hosts, before anything else is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from backends.escape import plain

if TYPE_CHECKING:
    from backends.ssh.models import SshHost, SshSettings

accept_option = click.option(
    "--accept-new", "accepted", multiple=True, metavar="HOST",
    help="First add the key of this host to known_hosts, where it is new; its fingerprint is shown.",
)  # fmt: skip


async def accept_keys(settings: SshSettings, hosts: Sequence[SshHost], accepted: Sequence[str]) -> None:
    """Take the keys of these hosts into known_hosts. Raises before the first for which that may not be."""
    from backends.ssh.accept import add_key, added_words, ask_key
    from backends.ssh.models import parse_destination
    from backends.ssh.pool import SshPool

    named = {host.name: host for host in hosts}
    asked = [named.get(name) or parse_destination(name, name) for name in dict.fromkeys(accepted)]  # a jump host, say
    async with SshPool(settings, [*named.values(), *asked]) as pool:
        for name in dict.fromkeys(accepted):
            key = await ask_key(pool, name)
            if key is None or not await asyncio.to_thread(add_key, key):
                click.echo(f"{plain(name)}: its key is known already", err=True)
            else:
                click.echo(added_words(key), err=True)

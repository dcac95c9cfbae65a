"""What the tests' name servers have in common: a zone, a key that may update it, where the server listens."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from backends.errors import CutoverError
from backends.traffic.nameserver import NameServer

ZONE = "example.net"
CHAT = "chat.example.net"
LEGACY, TARGET = "192.0.2.10", "198.51.100.20"
KEY_NAME = "cutover-key"
ALGORITHM = "hmac-sha256"


def new_secret() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True, slots=True)
class Zone:
    """What a zone holds at first; `records` are lines of a zone file."""

    records: tuple[str, ...] = (f"chat 60 IN A {LEGACY}",)
    name: str = ZONE
    servers: tuple[str, ...] = ("ns1",)
    addresses: tuple[str, ...] = ("ns1 IN A 127.0.0.1",)

    def text(self) -> str:
        lines = [f"$ORIGIN {self.name}.", "$TTL 3600", "@ IN SOA ns1 hostmaster 1 3600 600 86400 60"]
        lines += [f"@ IN NS {server}" for server in self.servers]
        return "\n".join([*lines, *self.addresses, *self.records, ""])


@dataclass(slots=True)
class Server:
    """A name server that runs. `key` is `name:algorithm:base64`."""

    address: str
    port: int
    folder: Path
    secret: str = field(default="", repr=False)
    pid: int = 0

    @property
    def at(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def key(self) -> str:
        return f"{KEY_NAME}:{ALGORITHM}:{self.secret}"

    async def serves(self, zone: str) -> bool:
        """Does it answer for the zone?"""
        try:
            return await NameServer(self.address, self.port).serial(zone) > 0
        except CutoverError:
            return False

    async def resolves(self, zone: str) -> bool:
        """Does it answer, as a resolver, who serves the zone?"""
        try:
            return bool((await NameServer(self.address, self.port).record(zone, "NS", recursive=True)).values)
        except CutoverError:
            return False

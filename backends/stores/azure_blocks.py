"""Ids of blocks: which upload of ours a block belongs to, its number, and the CRC64NVME of its bytes.

All ids of a blob have one length, as Azure demands.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass

_OURS = re.compile(r"cutover-([0-9a-f]{16})-([0-9]{5})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Block:
    upload: str
    number: int  # from 1
    crc64nvme: str

    @property
    def ident(self) -> str:
        """As the service carries it: base64."""
        return base64.b64encode(f"cutover-{self.upload}-{self.number:05}-{self.crc64nvme}".encode()).decode("ascii")


def new_upload() -> str:
    return secrets.token_hex(8)


def block_of(ident: str) -> Block | None:
    """None where it is not one of ours."""
    try:
        text = base64.b64decode(ident, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    found = _OURS.fullmatch(text)
    return Block(found[1], int(found[2]), found[3]) if found else None

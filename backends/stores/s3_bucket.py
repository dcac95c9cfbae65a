"""Requests to the objects of one bucket below one prefix, and what was found out of its server on the way."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from backends.escape import plain
from backends.stores.base import Body, Note, Take
from backends.stores.errors import KeyRefused, StoreError
from backends.stores.http1 import Answer
from backends.stores.s3_client import Address, S3Client
from backends.stores.s3_credentials import CredentialSource
from backends.stores.s3_xml import BadXml
from backends.stores.sigv4 import encode_path

T = TypeVar("T")

_LONGEST_KEY = 1024
CHECKSUM_MODE = {"x-amz-checksum-mode": "ENABLED"}


@dataclass(slots=True)
class Found:
    """What is known of the server. The best is assumed until an answer, or the probe, says otherwise."""

    takes_crc: bool = True  # checks CRC64NVME; else Content-MD5 is sent
    takes_md5: bool = True  # checks that, else neither is: its digest costs more than all the rest of a copy
    keeps_crc: bool | None = None  # and tells it by HEAD; None: not found out yet
    joins_crc: bool | None = None  # an upload in parts gets the value of the whole; None: not found out yet
    conditions: bool = True  # If-Match and If-None-Match of a write
    tags: Literal["header", "after", "never"] = "header"  # how they are written
    counts_tags: bool = False  # HEAD was seen to tell how many there are
    reads_tags: bool = True
    reads_versions: bool = True
    tells_parts: bool = True  # GetObjectAttributes
    copies: bool = True
    notes: dict[str, Note] = field(default_factory=dict)

    def note(self, code: str, text: str) -> None:
        self.notes.setdefault(code, Note(code, text))


class Bucket:
    """`call` is a request to a key below the prefix."""

    def __init__(self, name: str, bucket: str, prefix: str, address: Address, credentials: CredentialSource, region: str) -> None:
        self.name = name
        self.bucket = bucket
        self.prefix = prefix
        self.address = address
        self.region = region
        self.credentials = credentials
        self.client = S3Client(name, address, credentials, region)
        self.found = Found()

    def call(
        self,
        method: str,
        key: str,
        verb: str,
        *,
        params: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        expect: int | None = 0,
        seconds: float | None = None,
        take: Take | None = None,
    ) -> Coroutine[Any, Any, Answer]:
        full = self.full(key)
        return self.client.call(
            method, full, what=verb, of=key, params=params, headers=headers, body=body, expect=expect, seconds=seconds, take=take
        )

    def full(self, key: str) -> str:
        """With the prefix. Raises `KeyRefused` for what S3 cannot hold."""
        full = self.prefix + key
        try:
            size = len(full) if full.isascii() else len(full.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise KeyRefused(f"{self.name}: {shown(key)}: S3 keys are UTF-8 and this name is not") from error
        if not key or size > _LONGEST_KEY:
            raise KeyRefused(f"{self.name}: {shown(key)}: S3 keys hold 1 to 1,024 bytes and this one has {size}")
        return full

    def parsed(self, parse: Callable[[bytes], T], answer: Answer, key: str) -> T:
        try:
            return parse(bytes(answer.body))
        except BadXml as error:
            raise StoreError(f"{self.name}: {shown(key)}: {error}") from error

    @property
    def by_path(self) -> bool:
        """Whether the bucket stands in the path, not in the host's name."""
        return self.address.root.endswith(f"/{encode_path(self.bucket)}")

    @property
    def endpoint(self) -> str:
        """Where the server answers for all its buckets."""
        if self.by_path:
            return self.address.origin + self.address.root.removesuffix(f"/{encode_path(self.bucket)}")
        return self.address.origin.replace(f"://{self.bucket}.", "://", 1) + self.address.root.rstrip("/")


def shown(key: str) -> str:
    return plain(key, 300)


def version_params(version: str | None) -> tuple[tuple[str, str], ...]:
    """`null` is what a bucket without versions, or from before it had them, calls its only one."""
    return (("versionId", version),) if version and version != "null" else ()

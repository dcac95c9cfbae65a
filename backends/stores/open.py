"""A store from what the plan says of it.

`s3://BUCKET/PREFIX/`, `gs://BUCKET/PREFIX/`, `az://ACCOUNT/CONTAINER/PREFIX/`, `file:///PATH/`, `ssh://HOST/PATH/`. A prefix is a folder: the slash at its end is added where it
lacks. Nothing in a URL is percent-decoded: what is written is the name. Opening touches nothing: credentials are looked
up, references resolved and hosts reached when the first call needs them. A kind of store is imported with the first of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backends.errors import UsageError
from backends.escape import plain
from backends.plan.models import Store as StoreSpec
from backends.stores.base import Store

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool

_FORMS = "s3://BUCKET/, gs://BUCKET/, az://ACCOUNT/CONTAINER/, file:///PATH/ or ssh://HOST/PATH/"


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The parts of a store's URL. `place` is the bucket, account or host, `path` what follows, without its first slash."""

    scheme: str
    place: str
    path: str


def parse_url(name: str, url: str) -> StoreUrl:
    """Raises `UsageError` naming the store for a URL that is none of ours."""
    scheme, found, rest = url.partition("://")
    place, _, path = rest.partition("/")
    if not found or scheme not in ("s3", "gs", "az", "file", "ssh"):
        raise UsageError(f"store {name}: url {_shown(url)}: expected {_FORMS}")
    if scheme == "file" and place:
        raise UsageError(f"store {name}: url {_shown(url)}: a file URL has three slashes: file:///PATH/")
    if scheme != "file" and (not place or "@" in place or ":" in place):
        hint = "user and port of a host belong to the plan's hosts or the ssh_config" if scheme == "ssh" else ""
        raise UsageError(f"store {name}: url {_shown(url)}: expected a bare {'host' if scheme == 'ssh' else 'bucket'}", hint=hint)
    return StoreUrl(scheme, place, path)


def open_store(name: str, spec: StoreSpec, *, ssh: SshPool | None, base: Path) -> Store:
    """The store called `name`. `base` is the plan's folder, for `${file:…}`; `ssh` may be None where no store is reached by it. Close it, or use it with `async with`."""
    url = parse_url(name, spec.url)
    if url.scheme == "file":
        from backends.stores.local import LocalStore

        return LocalStore(name, Path("/" + url.path))
    if url.scheme == "ssh":
        from backends.stores.sftp import SftpStore  # asyncssh takes 0.1 s to import

        if ssh is None:
            raise UsageError(f"store {name}: {_shown(spec.url)} is reached by SSH, and no SSH was set up")
        return SftpStore(name, ssh, url.place, "/" + url.path)
    prefix = url.path if not url.path or url.path.endswith("/") else url.path + "/"
    if url.scheme in ("gs", "az"):
        from backends.stores.open_cloud import open_azure, open_gcs

        if url.scheme == "gs":
            return open_gcs(name, spec, url.place, prefix, base=base)
        return open_azure(name, spec, url.place, prefix, base=base)
    from backends.stores.open_s3 import open_s3

    return open_s3(name, spec, url.place, prefix, base=base)


def _shown(url: str) -> str:
    """Without what may be a password."""
    head, at, tail = url.rpartition("@")
    return plain(f"{head.partition('://')[0]}://…@{tail}" if at else url, 200)

"""Where a migration's lease lies: a store with conditional writes, or a file on a host that is reached by SSH.

A place holds one short text and replaces it only where it is still the one that was read: a compare-and-swap. On a store that is the
write's own condition (`If-Match`, `If-None-Match`), on a host a file under a lock (flock(1), util-linux) that is renamed into place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from backends.engine.errors import LeaseChanged, LeaseUnusable
from backends.escape import plain
from backends.plan.models import Lease as LeaseSpec
from backends.plan.models import Plan
from backends.stores.checksum import crc64nvme
from backends.stores.errors import SourceChanged, TargetChanged
from backends.stores.open import open_store
from backends.stores.ours import LEASES

if TYPE_CHECKING:
    from backends.ssh.models import CommandResult
    from backends.ssh.pool import SshPool

CONDITIONAL = ("s3", "gs", "az")  # schemes of stores that may hold conditions themselves
LOCAL = "local"
LONGEST = 16 << 10
_CHANGED, _LOCKED = 9, 8
HOST_LIMIT = 10.0
_WANTS = "a host that runs commands (not SFTP alone), with flock, sha256sum and a home; `lease: {host: …}` or `lease: {store: …}` in the plan names one"

# Arguments: the name, and the SHA-256 of what is to be replaced, or `none`. The new text comes on stdin.
_WRITE = f"""
umask 077
d="$HOME/.cutover-lease"
mkdir -p "$d" || exit 1
exec 9>>"$d/$1.lock" || exit 1
flock -w 5 9 || exit {_LOCKED}
f="$d/$1.json"
now=none
if [ -e "$f" ]; then now=$(sha256sum < "$f") || exit 1; now=${{now%% *}}; fi
[ "$now" = "$2" ] || exit {_CHANGED}
cat > "$f.new" && mv "$f.new" "$f" || exit 1
now=$(sha256sum < "$f") || exit 1
echo "${{now%% *}}"
"""
_READ = """
f="$HOME/.cutover-lease/$1.json"
[ -e "$f" ] || exit 0
sha256sum < "$f" && cat "$f"
"""


@dataclass(frozen=True, slots=True)
class Lying:
    """A text and the version of it that a write may name."""

    text: str
    version: str


class Place(Protocol):
    """Where the lease lies. Both calls raise `CouldNot` where the place cannot be asked."""

    @property
    def text(self) -> str:
        """For people."""
        ...

    async def prepare(self) -> None:
        """See that it can hold a lease at all. Raises `LeaseUnusable`."""
        ...

    async def read(self) -> Lying | None: ...

    async def write(self, text: str, version: str | None) -> str:
        """Replace `version` (None: nothing is there) and return the new one. Raises `LeaseChanged` where something else is there."""
        ...

    async def close(self) -> None: ...


class StorePlace:
    """An object below `.cutover-lease/`, which no listing of ours tells as data."""

    def __init__(self, plan: Plan, store: str, *, ssh: SshPool | None, base: Path) -> None:
        self._store = open_store(store, plan.stores[store], ssh=ssh, base=base)
        self._key = f"{LEASES}{plan.name}"

    @property
    def text(self) -> str:
        return f"store {self._store.name}"

    async def prepare(self) -> None:
        await self._store.prepare()
        if not self._store.capabilities.conditional_write:
            hint = "lease: {host: NAME} in the plan, or lease: none"
            raise LeaseUnusable(f"{self.text} ignores the conditions of a write: it keeps no second engine off", hint=hint)

    async def read(self) -> Lying | None:
        for _ in range(3):
            listed = await self._store.head(self._key)
            if listed is None:
                return None
            if listed.size > LONGEST:
                break
            try:
                info, body = await self._store.fetch(listed)
            except SourceChanged:
                continue
            return Lying(bytes(body).decode("utf-8", "replace"), info.identity)
        raise LeaseUnusable(f"{self.text}: what lies at {plain(self._key)} cannot be read as a lease")

    async def write(self, text: str, version: str | None) -> str:
        body = text.encode()
        try:
            written = await self._store.write(
                self._key, body, crc64nvme=crc64nvme(body), if_match=version, if_absent=version is None
            )
        except TargetChanged as error:
            raise LeaseChanged from error
        return written.identity

    async def close(self) -> None:
        await self._store.close()


class HostPlace:
    """A file below `~/.cutover-lease/` of the login that the plan or the ssh_config gives: both bastions have to come as the same."""

    def __init__(self, name: str, host: str, ssh: SshPool) -> None:
        self._name = name
        self._host = host
        self._ssh = ssh

    @property
    def text(self) -> str:
        return f"host {self._host}"

    async def prepare(self) -> None:
        """The first write tells."""

    async def read(self) -> Lying | None:
        done = await self._ssh.run(
            self._host, ["sh", "-c", _READ, "cutover", self._name], timeout=HOST_LIMIT, limit=LONGEST + 200
        )
        if done.exit_status != 0 or done.truncated:
            raise LeaseUnusable(f"{self.text}: the lease cannot be read: {_said(done)}", hint=_WANTS)
        if not done.stdout:
            return None
        first, _, text = done.stdout.decode("utf-8", "replace").partition("\n")
        return Lying(text, first.split(" ")[0])

    async def write(self, text: str, version: str | None) -> str:
        argv = ["sh", "-c", _WRITE, "cutover", self._name, version or "none"]
        done = await self._ssh.run(self._host, argv, input=text.encode(), timeout=HOST_LIMIT)
        if done.exit_status == _CHANGED:
            raise LeaseChanged
        if done.exit_status != 0:
            raise LeaseUnusable(f"{self.text}: the lease cannot be written: {_said(done)}", hint=_WANTS)
        return done.stdout.decode("ascii", "replace").strip()

    async def close(self) -> None:
        """The connection is the pool's."""


def _said(done: CommandResult) -> str:
    """Why a command did not do what it was to; hosts that run none say so on stdout, or not at all."""
    if done.truncated:
        return f"more than {LONGEST:,} bytes"
    said = done.stderr.strip() or (done.stdout.strip() if done.exit_status else b"")
    return plain(said[:200]) or f"ended with {done.exit_status}, and said nothing"


def place_of(plan: Plan, *, ssh: SshPool, base: Path) -> Place | None:
    """The one place where every engine of this plan looks; None where the plan has none, or wants none."""
    store, host = where_of(plan)
    if store is not None:
        return StorePlace(plan, store, ssh=ssh, base=base)
    return HostPlace(plan.name, host, ssh) if host is not None else None


def where_of(plan: Plan) -> tuple[str | None, str | None]:
    """The store or the host of the lease."""
    spec = plan.lease
    if not isinstance(spec, LeaseSpec):
        return None, None
    if spec.store is not None or spec.host is not None:
        return spec.store, spec.host
    store = next(_stores(plan), None)
    return store, next(_hosts(plan), None) if store is None else None


def _stores(plan: Plan) -> Iterator[str]:
    """Stores that we write to anyway and that hold conditions: hubs first, which are neither side's, then those of target."""
    written = [d.hub for d in plan.datasets] + [d.to for d in plan.datasets] + [d.from_ for d in plan.datasets if d.reverse]
    for name in dict.fromkeys(written):
        if name is not None and plan.stores[name].url.partition("://")[0] in CONDITIONAL:
            yield name


def _hosts(plan: Plan) -> Iterator[str]:
    """Hosts of target first: they stay when legacy has gone."""
    yield from (h.name for side in (plan.target, plan.legacy) for h in side.hosts if h.address != LOCAL)

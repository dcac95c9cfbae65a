"""Do the credentials work without the login? Every host and store of a plan is tried by a process of its own, in an environment from which
what a login brings is gone (`backends.engine.login`).

`python -m backends.engine.credentials` reads `{"text", "path", "state"}` and prints `{"hosts": {NAME: ERROR}, "stores": {NAME: {"error", "ends"}}}`;
an empty error is a host that ran `true`, a store that gave a page of its listing. `ends` is unix time, -1 where it ends and nobody says when.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from backends.children import Children
from backends.cutover.preflight import used_stores
from backends.engine.login import of_login, without_login
from backends.engine.ssh_choice import with_choice
from backends.errors import CouldNot, CutoverError
from backends.escape import plain
from backends.plan.load import parse_plan, require_good
from backends.plan.models import Plan, Store
from backends.probes.hosts import ssh_hosts, ssh_settings
from backends.ssh.pool import SshPool
from backends.stores.open import open_store
from backends.stores.plan_secret import plan_secret

HOST_LIMIT = 15.0
STORE_LIMIT = 30.0
TRIAL_LIMIT = 75.0
NOBODY_SAYS = -1.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What one host or store answered. `ends`: None where it does not end."""

    error: str
    ends: float | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    hosts: Mapping[str, Tried]
    stores: Mapping[str, Tried]


async def try_without_login(text: str, path: Path, state: Path) -> Trial:
    """Try all of the plan in a process without the login. Raises `CouldNot` where the trial itself could not be made."""
    children = Children(env=without_login(os.environ))
    asked = json.dumps({"text": text, "path": str(path), "state": str(state)}).encode()
    argv = [sys.executable, "-m", "backends.engine.credentials"]
    result = await children.run(argv, cwd=Path("/"), timeout=TRIAL_LIMIT, input=asked)
    try:
        told = json.loads(result.stdout)
        hosts = {str(k): Tried(plain(v, 300)) for k, v in told["hosts"].items()}
        stores = {str(k): Tried(plain(v["error"], 300), v["ends"]) for k, v in told["stores"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = plain(result.stderr[-300:], 300)
        raise CouldNot(f"the trial without the login ended with {result.exit_status}: {said}") from error
    return Trial(hosts, stores)


def words(error: str) -> str:
    """What a failed trial means: where the engine's own environment holds what a login brought, that may be all that it lacks."""
    names = of_login(os.environ)
    return f"ends with your login ({', '.join(names)}): {error}" if names else error


async def _try_all(plan: Plan, base: Path, state: Path) -> dict[str, Any]:
    hosts = ssh_hosts(plan)
    async with SshPool(with_choice(ssh_settings(plan, base), state), [host for _, host in hosts]) as pool:
        names = used_stores(plan)
        hosts_said = await asyncio.gather(*(_try_host(pool, host.name) for _, host in hosts))
        stores_said = await asyncio.gather(*(_try_store(name, plan.stores[name], pool, base) for name in names))
    return {
        "hosts": dict(zip((host.name for _, host in hosts), hosts_said, strict=True)),
        "stores": dict(zip(names, stores_said, strict=True)),
    }


async def _try_host(pool: SshPool, host: str) -> str:
    try:
        async with asyncio.timeout(HOST_LIMIT):
            result = await pool.run(host, ["true"], timeout=HOST_LIMIT)
    except CutoverError as error:
        return error.message
    except TimeoutError:
        return f"{host} did not answer within {HOST_LIMIT:.0f} s"
    return "" if result.exit_status == 0 else f"`true` on {host} ended with {result.exit_status}"


async def _try_store(name: str, spec: Store, pool: SshPool, base: Path) -> dict[str, Any]:
    said: dict[str, Any] = {"error": "", "ends": None}
    try:
        store = open_store(name, spec, ssh=pool, base=base)
        try:
            async with asyncio.timeout(STORE_LIMIT):
                async for _ in store.list_pages():
                    break
        finally:
            await store.close()
        said["ends"] = await asyncio.to_thread(ends_of, name, spec, base)
    except CutoverError as error:
        said["error"] = error.message
    except TimeoutError:
        said["error"] = f"{name} did not answer within {STORE_LIMIT:.0f} s"
    return said


def ends_of(name: str, spec: Store, base: Path) -> float | None:
    """When the store's own token ends: a shared access signature says so in `se`, others do not."""
    if not spec.session_token:
        return None
    token = plan_secret(name, "session_token", spec.session_token, base=base)
    if spec.url.startswith("az://"):
        told = urllib.parse.parse_qs(token.removeprefix("?")).get("se", [""])[0]
        try:
            return datetime.fromisoformat(told).timestamp()
        except ValueError:
            return NOBODY_SAYS
    return NOBODY_SAYS


def main() -> int:
    """Read the question from stdin, print the answer."""
    asked = json.load(sys.stdin)
    checked = require_good(parse_plan(asked["text"], Path(asked["path"])))
    assert checked.plan is not None
    answer = asyncio.run(_try_all(checked.plan, checked.base, Path(asked["state"])))
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

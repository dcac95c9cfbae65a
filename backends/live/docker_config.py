"""Logins to registries from Docker's `config.json`, as `docker login` and `podman login` leave them; credential helpers are asked, not read.

Docker CLI reference, "docker login": `auths` (base64 of USER:PASSWORD, or an identity token), `credsStore`, `credHelpers`; the helpers' protocol is
that of docker-credential-helpers (`docker-credential-NAME get`, the registry on stdin, JSON back).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.children import ChildFailed, Children
from backends.errors import CouldNot
from backends.escape import plain
from backends.live.image_name import HUB

HELPER_LIMIT = 20.0
_MOST = 1 << 20
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_HUB_KEY = "https://index.docker.io/v1/"
_BY_TOKEN = "<token>"  # the user's name where a helper's secret is an identity token


class LoginUnreadable(CouldNot):
    """Docker's configuration, or a helper that it names, does not tell who we are."""

    code = "registry_login"


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password, or an identity token (OAuth2's refresh token) in place of both."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of `Authorization` by user and password."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


def docker_config(given: str | None, base: Path) -> Path:
    """The plan's own, else `$DOCKER_CONFIG/config.json`, else that of the home folder."""
    if given is not None:
        return base / Path(given).expanduser()
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


async def login_of(registry: str, config: Path, *, is_given: bool) -> Login | None:
    """None where nothing is kept for this registry, or where there is no file and the plan names none. Raises `LoginUnreadable`."""
    value = await asyncio.to_thread(_read, config, is_given)
    helpers, everywhere = value.get("credHelpers"), value.get("credsStore")
    helper = helpers.get(_key(registry), helpers.get(registry)) if isinstance(helpers, dict) else None
    helper = helper or everywhere
    if isinstance(helper, str) and helper:
        return await _ask_helper(helper, registry)
    auths = value.get("auths")
    return _kept(auths, registry, config) if isinstance(auths, dict) else None


def _read(config: Path, is_given: bool) -> dict[str, Any]:
    try:
        with config.open("rb") as file:
            value = json.loads(file.read(_MOST))
    except FileNotFoundError as error:
        if not is_given:
            return {}
        raise LoginUnreadable(f"{plain(str(config), 200)} is not there", hint="docker_config in the plan") from error
    except (OSError, ValueError, RecursionError) as error:
        raise LoginUnreadable(
            f"{plain(str(config), 200)} cannot be read as Docker's configuration", hint="docker login"
        ) from error
    return value if isinstance(value, dict) else {}


def _key(registry: str) -> str:
    return _HUB_KEY if registry == HUB else registry


def _kept(auths: Mapping[str, Any], registry: str, config: Path) -> Login | None:
    for name, told in auths.items():
        host = name if name == _HUB_KEY else re.sub(r"^https?://", "", name).partition("/")[0]
        if host not in (_key(registry), registry) or not isinstance(told, dict):
            continue
        identity = told.get("identitytoken")
        if isinstance(identity, str) and identity:
            return Login(identity=identity)
        try:
            user, _, password = base64.b64decode(str(told.get("auth", "")), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            message = f"{plain(str(config), 200)} keeps a login for {plain(registry, 120)} that is none"
            raise LoginUnreadable(message, hint="docker login again") from error
        if user and password:
            return Login(user, password)
    return None


async def _ask_helper(name: str, registry: str) -> Login | None:
    """Its own words are not told on: they may hold a secret."""
    if not _HELPER.fullmatch(name):
        raise LoginUnreadable(
            f"Docker's configuration names a helper that is none: {plain(name, 60)}", hint="credsStore, credHelpers"
        )
    program = f"docker-credential-{name}"
    try:
        said = await Children(env=dict(os.environ)).run(
            [program, "get"], cwd=Path("/"), timeout=HELPER_LIMIT, input=f"{_key(registry)}\n".encode()
        )
    except ChildFailed as error:
        raise LoginUnreadable(error.message, hint=f"{program} on this machine's PATH") from error
    if said.exit_status != 0:
        if b"not found" in said.stdout:  # the helpers' way to say that they keep nothing for it
            return None
        raise LoginUnreadable(
            f"{program} gives no login for {plain(registry, 120)}", hint="log in again with the cloud's own tool"
        )
    try:
        value = json.loads(said.stdout)
        user, secret = str(value["Username"]), str(value["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise LoginUnreadable(f"{program} answers what is no login", hint="see its own documentation") from error
    return Login(identity=secret) if user == _BY_TOKEN else Login(user, secret)

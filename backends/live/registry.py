"""Container images as their registry tells of them, nothing pulled: manifest or index, and the configuration of each platform.

OCI Distribution Specification 1.1 ("Pulling manifests", "Pulling blobs"), OCI Image Specification 1.1 and Docker's manifests of schema 2; tokens by the
registry's own challenge (Distribution's "Token Authentication" and "OAuth2 Token Authentication"). Whatever comes back is held against its digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import aiohttp

from backends.errors import CouldNot
from backends.escape import plain
from backends.live.docker_config import Login
from backends.live.facts import Image
from backends.live.image_name import DIGEST, ImageName
from backends.probes.agent.facts import of_config

TIMEOUT = 10.0
PLATFORMS = 8  # of an index that are looked at
_MOST_MANIFEST, _MOST_CONFIG, _MOST_TOKEN = 4 << 20, 4 << 20, 1 << 18
_REDIRECTS = 4
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
_PARAMETER = re.compile(r'([A-Za-z_-]{1,30})="([^"\\]{0,1000})"')


class RegistryError(CouldNot):
    """The registry could not be asked, or answers nonsense."""

    code = "registry"


class RegistryDenied(RegistryError):
    """It does not let us see the image."""

    code = "registry_denied"


class ImageUnknown(RegistryError):
    """It has no such image."""

    code = "image_unknown"


@dataclass(frozen=True, slots=True)
class Offered:
    """What a registry has under a name: the digest of manifest or index, and the image by architecture as Go names it (`amd64`)."""

    digest: str
    platforms: Mapping[str, Image]


async def ask_registry(name: ImageName, login: Login | None) -> Offered:
    """Raises `RegistryError` and its kinds. `login` goes to the registry that it is of, and to where that sends for tokens."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    secure = await asyncio.to_thread(ssl.create_default_context)  # reading the authorities takes 20 ms
    connector = aiohttp.TCPConnector(ssl=secure)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout, connector=connector) as session:
        return await _Asking(session, name, login).image()


class _Asking:
    """One image's questions, with the credentials that they take."""

    def __init__(self, session: aiohttp.ClientSession, name: ImageName, login: Login | None) -> None:
        self._session, self._name, self._login = session, name, login
        self._scheme = "https"
        self._authorization: str | None = None

    async def image(self) -> Offered:
        body = await self._get(f"manifests/{quote(self._name.reference, safe=':')}", _MOST_MANIFEST)
        digest = _digest(body)
        if self._name.is_pinned and digest != self._name.reference:
            raise RegistryError(
                f"{self._name.host} gives other bytes than the digest says", hint="do not run it: ask who keeps the registry"
            )
        value = _object(body, self._name)
        if not isinstance(value.get("manifests"), list):
            image = await self._of_manifest(value, (digest,))
            return Offered(digest, {image.machine or "?": image})
        platforms: dict[str, Image] = {}
        for wanted in _linux(value["manifests"])[:PLATFORMS]:
            part = await self._get(f"manifests/{wanted}", _MOST_MANIFEST, wanted)
            image = await self._of_manifest(_object(part, self._name), (wanted, digest))
            platforms.setdefault(image.machine or "?", image)
        return Offered(digest, platforms)

    async def _of_manifest(self, manifest: Mapping[str, Any], digests: tuple[str, ...]) -> Image:
        config = manifest.get("config")
        digest = config.get("digest") if isinstance(config, dict) else None
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise RegistryError(
                f"{self._name.host} has {self._name.repository} in a form without a configuration",
                hint="push it again by today's tools",
            )
        value = _object(await self._get(f"blobs/{digest}", _MOST_CONFIG, digest), self._name)
        inner = value.get("config")
        told = of_config(inner if isinstance(inner, dict) else {})
        return Image(
            id=digest,
            digests=digests,
            machine=_text(value.get("architecture"), 20),
            cuda=_text(told["cuda"], 20),
            pytorch=_text(told["pytorch"], 40),
            require=_text(told["require"], 2000),
        )

    async def _get(self, path: str, most: int, digest: str | None = None) -> bytes:
        """The body, which is what `digest` says where one is given."""
        url = f"/v2/{self._name.repository}/{path}"
        for _ in range(2):
            status, headers, body = await self._send(url, most)
            if status != 401 or self._authorization is not None:
                break
            self._authorization = await self._authorize(headers)
        if status == 200:
            if digest is not None and _digest(body) != digest:
                raise RegistryError(
                    f"{self._name.host} gives other bytes than the digest says", hint="ask who keeps the registry"
                )
            return body
        what = f"{self._name.repository}, {self._name.reference}"
        told = f"{self._name.host} answers {status} for {what}{_reason(body)}"
        if status in (401, 403):
            raise RegistryDenied(told, hint="docker login there, as who runs this; docker_config in the plan")
        if status == 404:
            raise ImageUnknown(told, hint="push it there, or name in the plan the image that target is to run")
        raise RegistryError(told, hint="the registry's own health, then again")

    async def _send(self, path: str, most: int) -> tuple[int, Mapping[str, str], bytes]:
        """Redirects are followed, to another host without our credentials."""
        url = f"{self._scheme}://{self._name.host}{path}"
        for _ in range(_REDIRECTS):
            headers = {"Accept": ", ".join(_MANIFESTS)} if "/manifests/" in path else {}
            if self._authorization is not None and _origin(url) == f"{self._scheme}://{self._name.host}":
                headers["Authorization"] = self._authorization
            try:
                status, told, body = await self._ask("GET", url, headers, most)
            except aiohttp.ClientConnectorCertificateError as error:
                raise self._unreached(error) from error
            except aiohttp.ClientSSLError as error:
                if self._scheme == "http" or not _is_loopback(self._name.host):
                    raise self._unreached(error) from error
                self._scheme = "http"  # as docker does, for registries of this machine and no others
                return await self._send(path, most)
            place = told.get("Location")
            if status not in (301, 302, 303, 307, 308) or place is None:
                return status, told, body
            url = urljoin(url, place)
            if urlsplit(url).scheme != "https" and not _is_loopback(urlsplit(url).netloc):
                raise RegistryError(f"{self._name.host} sends us to a place without TLS", hint="ask who keeps the registry")
        raise RegistryError(f"{self._name.host} sends us from place to place", hint="ask who keeps the registry")

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], most: int, data: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with self._session.request(method, url, headers=headers, data=data, allow_redirects=False) as answer:
                body = bytearray()
                async for piece in answer.content.iter_chunked(1 << 16):
                    body += piece
                    if len(body) > most:
                        raise RegistryError(
                            f"{self._name.host} answers with more than {most >> 20} MiB", hint="ask who keeps the registry"
                        )
                return answer.status, answer.headers, bytes(body)
        except aiohttp.ClientSSLError:
            raise
        except TimeoutError as error:
            raise RegistryError(
                f"{self._name.host} does not answer within {TIMEOUT:g} s", hint="the firewall, or a proxy"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unreached(error) from error

    def _unreached(self, error: Exception) -> RegistryError:
        return RegistryError(
            f"{self._name.host} is not reached: {plain(str(error), 200)}", hint="its name and port, the firewall, its certificate"
        )

    async def _authorize(self, headers: Mapping[str, str]) -> str:
        """What the challenge asks for. Raises `RegistryDenied`."""
        challenge = headers.get("WWW-Authenticate", "")
        kind, _, rest = challenge.partition(" ")
        asked = dict(_PARAMETER.findall(rest))
        if kind.lower() == "basic" and self._login is not None and self._login.user:
            return self._login.basic
        if kind.lower() != "bearer" or "realm" not in asked:
            told = f"{self._name.host} wants to know who asks, and Docker's configuration has no login for it"
            raise RegistryDenied(told, hint="docker login there, as who runs this; docker_config in the plan")
        return f"Bearer {await self._token(asked)}"

    async def _token(self, asked: Mapping[str, str]) -> str:
        realm = asked["realm"]
        if urlsplit(realm).scheme != "https" and not (urlsplit(realm).scheme == "http" and _is_loopback(urlsplit(realm).netloc)):
            raise RegistryDenied(f"{self._name.host} wants its tokens fetched without TLS", hint="ask who keeps the registry")
        wanted = {"service": asked.get("service", ""), "scope": f"repository:{self._name.repository}:pull"}
        try:
            if self._login is not None and self._login.identity:
                form = wanted | {"grant_type": "refresh_token", "client_id": "cutover", "refresh_token": self._login.identity}
                status, _, body = await self._ask("POST", realm, {}, _MOST_TOKEN, form)
            else:
                headers = {"Authorization": self._login.basic} if self._login is not None else {}
                joint = "&" if urlsplit(realm).query else "?"
                status, _, body = await self._ask("GET", f"{realm}{joint}{urlencode(wanted)}", headers, _MOST_TOKEN)
        except aiohttp.ClientSSLError as error:
            raise self._unreached(error) from error
        value = _maybe_object(body) if status == 200 else {}
        token = value.get("token") or value.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            told = f"{urlsplit(realm).netloc} gives no token for {self._name.repository} (status {status})"
            raise RegistryDenied(plain(told, 300), hint="docker login there, as who runs this; docker_config in the plan")
        return token


def _linux(manifests: list[Any]) -> list[str]:
    """Digests of an index's images for Linux; attestations and the like have no platform of their own."""
    out = []
    for one in manifests:
        platform = one.get("platform") if isinstance(one, dict) else None
        digest = one.get("digest") if isinstance(one, dict) else None
        if isinstance(platform, dict) and platform.get("os") == "linux" and isinstance(digest, str) and DIGEST.fullmatch(digest):
            out.append(digest)
    return out


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _object(body: bytes, name: ImageName) -> dict[str, Any]:
    value = _maybe_object(body)
    if not value:
        raise RegistryError(f"{name.host} answers what is no description of an image", hint="is a registry behind that name?")
    return value


def _maybe_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _reason(body: bytes) -> str:
    """The message of the registry's first error."""
    errors = _maybe_object(body).get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    text = first.get("message") if isinstance(first, dict) else None
    return f": {plain(text, 160)}" if isinstance(text, str) and text else ""


def _text(value: object, most: int) -> str | None:
    return plain(value, most) if isinstance(value, str) and value else None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(netloc: str) -> bool:
    host = urlsplit(f"//{netloc}").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""A real registry of Debian (`docker-registry`, the CNCF's Distribution) on the loopback, over TLS where a certificate is given: open, by
password, or by tokens of a small token server of the tests (Distribution's "Token Authentication Implementation")."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from tests.peers.certificate import Certificate
from tests.peers.process import accepts, free_ports, running

Auth = Literal["none", "password", "token"]
USER, PASSWORD = "puller", "pull-secret"
BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
IDENTITY = "identity-of-the-tests"
_HASH = "$2b$04$abcdefghijklmnopqrstuuH5wTQzvC3Zall/mZjSDa23DrVdMWhT6"  # bcrypt of the password
OCI_INDEX, OCI_MANIFEST = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_SERVICE, _ISSUER = "registry-of-the-tests", "issuer-of-the-tests"


@dataclass
class Registry:
    """`at` is how images name it. `asked` are the queries that the token server got."""

    port: int
    auth: Auth
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    trust: Path | None
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.port}"

    def login(self, path: Path, *, password: str = PASSWORD) -> Path:
        """Write a Docker configuration that logs in here."""
        kept = base64.b64encode(f"{USER}:{password}".encode()).decode()
        path.write_text(json.dumps({"auths": {self.at: {"auth": kept}}}))
        return path

    async def push(
        self, repository: str, tag: str, *, env: Mapping[str, str], machine: str = "amd64", kind: str = OCI_MANIFEST
    ) -> str:
        """An image without layers; the digest of its manifest."""
        async with self._session() as session:
            manifest = await self._manifest(session, repository, env, machine, kind)
            return await self._put(session, repository, tag, manifest, kind)

    async def push_index(self, repository: str, tag: str, images: Sequence[tuple[str, Mapping[str, str]]]) -> str:
        """One image a platform, and an attestation beside them as buildx leaves it; the digest of the index."""
        async with self._session() as session:
            entries = []
            for machine, env in images:
                manifest = await self._manifest(session, repository, env, machine, OCI_MANIFEST)
                digest = await self._put(session, repository, _digest(manifest), manifest, OCI_MANIFEST)
                entries.append(_entry(digest, manifest, {"architecture": machine, "os": "linux"}))
            entries.append(_entry(entries[0]["digest"], b"", {"architecture": "unknown", "os": "unknown"}))
            index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
            return await self._put(session, repository, tag, index, OCI_INDEX)

    def _session(self) -> aiohttp.ClientSession:
        headers = {}
        if self.auth == "password":
            headers["Authorization"] = BASIC
        secure = ssl.create_default_context(cafile=self.trust) if self.trust is not None else False
        scheme = "https" if self.trust is not None else "http"
        return aiohttp.ClientSession(f"{scheme}://{self.at}", headers=headers, connector=aiohttp.TCPConnector(ssl=secure))

    def _may(self, repository: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(f'repository:{repository}:pull,push')}"} if self.auth == "token" else {}

    async def _manifest(
        self, session: aiohttp.ClientSession, repository: str, env: Mapping[str, str], machine: str, kind: str
    ) -> bytes:
        told = {
            "architecture": machine,
            "os": "linux",
            "config": {"Env": [f"{k}={v}" for k, v in env.items()]},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
        config = json.dumps(told).encode()
        headers = self._may(repository)
        async with session.post(f"/v2/{repository}/blobs/uploads/", headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            place = answer.headers["Location"]
        joint = "&" if "?" in place else "?"
        async with session.put(f"{place}{joint}digest={_digest(config)}", data=config, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        form = (
            "application/vnd.oci.image.config.v1+json"
            if kind == OCI_MANIFEST
            else "application/vnd.docker.container.image.v1+json"
        )
        entry = {"mediaType": form, "digest": _digest(config), "size": len(config)}
        return json.dumps({"schemaVersion": 2, "mediaType": kind, "config": entry, "layers": []}).encode()

    async def _put(self, session: aiohttp.ClientSession, repository: str, reference: str, body: bytes, kind: str) -> str:
        headers = {"Content-Type": kind, **self._may(repository)}
        async with session.put(f"/v2/{repository}/manifests/{reference}", data=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
        return _digest(body)

    def token(self, scope: str) -> str:
        """What the registry takes as a right to `scope` (`repository:NAME:ACTIONS`)."""
        kind, name, actions = scope.split(":")
        now = int(time.time())
        der = base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()
        head = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
        claims = {
            "iss": _ISSUER, "sub": USER, "aud": _SERVICE, "exp": now + 300, "nbf": now - 60, "iat": now, "jti": "1",
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }  # fmt: skip
        signed = b".".join(_url64(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return b".".join((signed, _url64(r.to_bytes(32) + s.to_bytes(32)))).decode()

    async def _answer(self, request: web.Request) -> web.Response:
        """The token server: GET with a password, or OAuth2's refresh token by POST."""
        if request.method == "POST":
            asked: dict[str, Any] = dict(await request.post())
            is_known = asked.get("refresh_token") == IDENTITY and asked.get("grant_type") == "refresh_token"
            name = "access_token"
        else:
            asked = dict(request.query)
            is_known = request.headers.get("Authorization") == BASIC
            name = "token"
        self.asked.append(asked)
        if not is_known or asked.get("service") != _SERVICE:
            return web.json_response({"details": "incorrect username or password"}, status=401)
        return web.json_response({name: self.token(str(asked["scope"])), "expires_in": 300})


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _entry(digest: str, body: bytes, platform: dict[str, str]) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(body), "platform": platform}


def _url64(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def _signing_key() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens of the tests")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    return key, builder.sign(key, hashes.SHA256())


@contextlib.asynccontextmanager
async def registry(folder: Path, auth: Auth = "none", certificate: Certificate | None = None) -> AsyncIterator[Registry]:
    """The registry while it runs. Skips the test where it is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("server missing: docker-registry")
    folder.mkdir(parents=True)
    port, tokens = free_ports(2)
    key, signer = _signing_key()
    server = Registry(port, auth, key, signer, certificate.authority if certificate is not None else None)
    (folder / "signer.pem").write_bytes(signer.public_bytes(Encoding.PEM))
    (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
    ways: dict[Auth, dict[str, Any]] = {
        "none": {},
        "password": {"auth": {"htpasswd": {"realm": "tests", "path": f"{folder}/htpasswd"}}},
        "token": {
            "auth": {
                "token": {
                    "realm": f"http://127.0.0.1:{tokens}/token",
                    "service": _SERVICE,
                    "issuer": _ISSUER,
                    "rootcertbundle": f"{folder}/signer.pem",
                }
            }
        },
    }
    secure = {"tls": {"certificate": str(certificate.server), "key": str(certificate.server)}} if certificate is not None else {}
    config = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "tests", **secure},
        **ways[auth],
    }
    (folder / "config.yml").write_text(json.dumps(config))

    async def ready() -> bool:
        return await accepts(port)

    async with contextlib.AsyncExitStack() as stack:
        if auth == "token":
            app = web.Application()
            app.router.add_route("*", "/token", server._answer)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", tokens).start()
        await stack.enter_async_context(
            running([program, "serve", f"{folder}/config.yml"], log=folder / "registry.log", ready=ready)
        )
        yield server

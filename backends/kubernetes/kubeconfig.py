"""A kubeconfig read: which API server, and with which credentials. What would run a program of somebody's (`exec`, `auth-provider`) is refused."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from backends.escape import plain
from backends.kubernetes.errors import KubeconfigError

MAX_FILE = 4 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where requests go and with what. `ssl` is None for plain http, which only the loopback may have."""

    server: str
    context: str
    namespace: str = "default"
    token: str | None = field(default=None, repr=False)
    ssl: ssl.SSLContext | None = field(default=None, repr=False)


def kubeconfig_path(given: str | None, base: Path) -> Path:
    """The plan's file (relative to it), else the first of $KUBECONFIG, else ~/.kube/config."""
    if given is not None:
        return base / Path(given).expanduser()
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first) if first else Path("~/.kube/config").expanduser()


def load_cluster(path: Path, context: str | None) -> Cluster:
    """The cluster of a context (default: the file's current one). Blocking. Raises `KubeconfigError`."""
    config = _read(path)
    name = context if context is not None else config.get("current-context")
    if not isinstance(name, str) or not name:
        raise KubeconfigError("the kubeconfig has no current context", where=str(path), hint="name one: context: NAME")
    chosen = _named(config, "contexts", "context", name, path)
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster"), path)
    user = _named(config, "users", "user", chosen.get("user"), path) if chosen.get("user") else {}
    server = cluster.get("server")
    parts = urlsplit(server) if isinstance(server, str) else None
    if not isinstance(server, str) or parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise KubeconfigError(f"context {plain(name, 80)}: its cluster names no server", where=str(path))
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise KubeconfigError(f"context {plain(name, 80)}: {plain(server, 120)} is plain http", where=str(path), hint="use https")
    _refuse_programs(user, name, path)
    namespace = chosen.get("namespace")
    return Cluster(
        server.rstrip("/"),
        name,
        namespace if isinstance(namespace, str) and namespace else "default",
        _token(user, path),
        _tls(cluster, user, name, path) if parts.scheme == "https" else None,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise KubeconfigError("the kubeconfig is too large to be one", where=str(path))
        config = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        hint = "name it in the plan (kubeconfig: FILE) or in $KUBECONFIG"
        raise KubeconfigError("there is no kubeconfig", where=str(path), hint=hint) from error
    except OSError as error:
        raise KubeconfigError(f"cannot read the kubeconfig: {error.strerror}", where=str(path)) from error
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:  # its text holds secrets: nothing of it is shown
        raise KubeconfigError("the kubeconfig is no YAML", where=str(path)) from error
    if not isinstance(config, dict):
        raise KubeconfigError("the kubeconfig is no mapping", where=str(path))
    return config


def _named(config: dict[str, Any], many: str, one: str, name: object, path: Path) -> dict[str, Any]:
    entries = config.get(many)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(one), dict):
            return dict(entry[one])
    known = [plain(str(e.get("name")), 60) for e in entries or () if isinstance(e, dict)]
    hint = f"it has {', '.join(known)}" if known else ""
    raise KubeconfigError(f"the kubeconfig has no {one} {plain(str(name), 80)}", where=str(path), hint=hint)


def _refuse_programs(user: dict[str, Any], name: str, path: Path) -> None:
    for field_ in ("exec", "auth-provider", "username"):
        if user.get(field_):
            raise KubeconfigError(
                f"context {plain(name, 80)}: its user has `{field_}`, which is not supported",
                where=str(path),
                hint="give a token of a service account that outlasts the migration, or a client certificate",
            )


def _token(user: dict[str, Any], path: Path) -> str | None:
    named = user.get("tokenFile")
    if isinstance(named, str):
        file = path.parent / named
        try:
            return file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KubeconfigError("the kubeconfig's tokenFile cannot be read", where=str(file)) from error
    token = user.get("token")
    return token if isinstance(token, str) and token else None


def _tls(cluster: dict[str, Any], user: dict[str, Any], name: str, path: Path) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        hint = "give certificate-authority-data: who answers must be known before a token is sent"
        raise KubeconfigError(
            f"context {plain(name, 80)} skips the check of the server's certificate", where=str(path), hint=hint
        )
    authority = _bytes(cluster, "certificate-authority", path)
    certificate, key = _bytes(user, "client-certificate", path), _bytes(user, "client-key", path)
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority is not None else None)
        if certificate is not None and key is not None:
            with tempfile.NamedTemporaryFile(prefix="cutover-", suffix=".pem") as file:  # 0600; the library takes files only
                file.write(certificate + b"\n" + key)
                file.flush()
                context.load_cert_chain(file.name)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise KubeconfigError(f"context {plain(name, 80)}: its certificates cannot be used", where=str(path)) from error
    return context


def _bytes(part: dict[str, Any], name: str, path: Path) -> bytes | None:
    """`NAME-data` in base64, or the file that `NAME` names, relative to the kubeconfig."""
    data, file = part.get(f"{name}-data"), part.get(name)
    try:
        if isinstance(data, str):
            return base64.b64decode(data, validate=True)
        return (path.parent / file).read_bytes() if isinstance(file, str) else None
    except (OSError, binascii.Error) as error:
        raise KubeconfigError(f"the kubeconfig's {name} cannot be read", where=str(path)) from error

"""The form of references to secrets: `${env:NAME}`, `${file:PATH}`, `${aws-secret:ID#KEY}` and the like.

All that an offline check does of them. `backends.secrets.resolve` fetches what stands behind, late, where it is needed.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from backends.escape import plain
from backends.plan.nearest import name_hint

KINDS = ("env", "file", "aws-secret", "gcp-secret", "azure-secret", "azure-keyvault")
CLOUD_KINDS = KINDS[2:]
_START = "${"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AWS_ID = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}")  # a name or an ARN
_GCP = re.compile(
    r"(?:projects/)?([a-z0-9:.-]{1,100})/(?:secrets/)?([A-Za-z0-9_-]{1,255})(?:/(?:versions/)?([A-Za-z0-9_-]{1,63}))?"
)
_AZURE = re.compile(r"/?([A-Za-z0-9-]{1,127})(?:/([0-9a-f]{32}))?")
_VAULT = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_VAULT_DOMAINS = (".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net")  # a token goes to no other host


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${kind:what}` in a text; `start` and `end` are where it stands there."""

    kind: str
    what: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return f"${{{self.kind}:{plain(self.what, 120)}}}"

    @property
    def source(self) -> str:
        """As it is written."""
        return f"${{{self.kind}:{self.what}}}"

    @property
    def name(self) -> str:
        """What it names, without the field."""
        return self.what.partition("#")[0] if self.kind in CLOUD_KINDS else self.what

    @property
    def field(self) -> str:
        """Of a secret that is a JSON object, the one that is meant; empty where all of it is."""
        return self.what.partition("#")[2] if self.kind in CLOUD_KINDS else ""


@dataclass(frozen=True, slots=True)
class GoogleName:
    """A secret of Secret Manager; `version` is `latest` where none is written."""

    project: str
    secret: str
    version: str


@dataclass(frozen=True, slots=True)
class VaultName:
    """A secret of a key vault; `version` is empty for the newest. `vault` is its URL."""

    vault: str
    secret: str
    version: str


class ReferenceForm(ValueError):
    """A reference that is not written as one. `hint` says how it may have been meant."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def parse_references(text: str) -> tuple[Reference, ...]:
    """The references in `text`, in order. Raises `ReferenceForm` on one that is unclosed, unknown or empty."""
    found: list[Reference] = []
    position = 0
    while (start := text.find(_START, position)) >= 0:
        end = text.find("}", start)
        if end < 0:
            raise ReferenceForm("found `${` without its `}`", "write it as ${env:NAME} or ${file:PATH}")
        found.append(_reference(text[start + 2 : end], start, end + 1))
        position = end + 1
    return tuple(found)


def _reference(inner: str, start: int, end: int) -> Reference:
    kind, colon, what = inner.partition(":")
    if not colon:
        hint = f"did you mean ${{env:{inner}}}?" if _ENV_NAME.fullmatch(inner) else "write it as ${env:NAME}"
        raise ReferenceForm(f"found `${{{plain(inner, 60)}}}`, expected `${{kind:name}}`", hint)
    if kind not in KINDS:
        raise ReferenceForm(
            f"found a reference of kind `{plain(kind, 40)}`, expected one of {', '.join(KINDS)}",
            name_hint(kind, KINDS, "kinds"),
        )
    if not what.strip():
        raise ReferenceForm(f"found `${{{kind}:}}`, expected a name after the colon", f"write ${{{kind}:NAME}}")
    if kind == "env" and not _ENV_NAME.fullmatch(what):
        raise ReferenceForm(
            f"found `${{env:{plain(what, 60)}}}`, expected the name of a variable",
            "letters, digits and _, such as ${env:TGT_KEY}",
        )
    reference = Reference(kind, what, start, end)
    if kind in CLOUD_KINDS:
        _check_name(reference)
    return reference


def _check_name(reference: Reference) -> None:
    if reference.kind == "aws-secret":
        if not _AWS_ID.fullmatch(reference.name):
            raise ReferenceForm(f"found `{reference.text}`, expected a secret's name or ARN", "write ${aws-secret:NAME#FIELD}")
    elif reference.kind == "gcp-secret":
        google_name(reference)
    else:
        vault_name(reference)


def google_name(reference: Reference) -> GoogleName:
    """Raises `ReferenceForm`."""
    found = _GCP.fullmatch(reference.name)
    if found is None:
        hint = "write ${gcp-secret:PROJECT/SECRET} or ${gcp-secret:projects/PROJECT/secrets/SECRET/versions/VERSION}"
        raise ReferenceForm(f"found `{reference.text}`, expected a project and a secret", hint)
    return GoogleName(found[1], found[2], found[3] or "latest")


def vault_name(reference: Reference) -> VaultName:
    """Raises `ReferenceForm`. A vault elsewhere than in Azure's own domains is taken on this machine only (emulators)."""
    name = reference.name
    url = urlsplit(name) if "://" in name else None
    if url is not None:
        host, rest, base = url.hostname or "", url.path.removeprefix("/secrets"), f"{url.scheme}://{url.netloc}"
    else:
        host, _, rest = name.partition("/")
        host = host if "." in host or not _VAULT.fullmatch(host) else f"{host}{_VAULT_DOMAINS[0]}"
        base = f"https://{host}"
    found = _AZURE.fullmatch(rest)
    vault, dot, domain = host.lower().partition(".")
    is_azures = base.startswith("https://") and _VAULT.fullmatch(vault) and dot + domain in _VAULT_DOMAINS
    if found is None or not ((is_azures and (url is None or url.netloc == host)) or _is_loopback(host)):
        hint = "write ${azure-keyvault:VAULT/SECRET} or ${azure-keyvault:VAULT.vault.azure.net/SECRET/VERSION}"
        raise ReferenceForm(f"found `{reference.text}`, expected a vault of Azure's and a secret", hint)
    return VaultName(base, found[1], found[2] or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_literal(text: str) -> bool:
    """Is it a value of its own, without any reference?"""
    return _START not in text

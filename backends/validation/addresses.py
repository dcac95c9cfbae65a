"""Sources that are asked for by an address: `prometheus+http://host:9090?query=…`, `mlflow+http://host:5000?run=ID`.

What stands behind the `?` is `name=value` joined by `&`, percent-encoded where it must be (`%26` for an `&`); a `+` stays a `+`, since
queries hold it. A token is a reference: `token=${env:NAME}`. Errors: `total` is what a plan's source has under this name (a counter, a metric), and
with `unit=share` the metric is a share of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from backends.errors import UsageError
from backends.escape import plain
from backends.plan.nearest import name_hint
from backends.plan.references import is_literal
from backends.secrets.resolve import resolve

KINDS = {"prometheus": ("query", "total", "start", "end", "last", "step", "token"), "mlflow": ("run", "total", "unit", "token")}
NEEDED = {"prometheus": "query", "mlflow": "run"}


@dataclass(frozen=True, slots=True)
class Address:
    """`kind` is `prometheus` or `mlflow`; `url` the server's; `where` how it is shown: without the token."""

    kind: str
    url: str
    where: str
    params: Mapping[str, str]

    def token(self) -> str | None:
        """The token, resolved now: may ask a cloud. Raises `UsageError` where it is not a reference."""
        text = self.params.get("token")
        if text is None:
            return None
        if is_literal(text):
            raise UsageError("a token on the command line is seen by all", where=self.where, hint="write token=${env:NAME}")
        return resolve(text, base=Path())


def is_far(source: str) -> bool:
    """Is it a file on a host?"""
    return source.startswith("ssh://")


def address_of(source: str) -> Address | None:
    """The parts of such a source; None where it is a file. Raises `UsageError` on what it cannot be."""
    scheme, marks, rest = source.partition("://")
    kind, plus, web = scheme.casefold().partition("+")
    if not marks or kind not in KINDS or not plus or web not in ("http", "https"):
        return None
    head, _, tail = rest.partition("?")
    url = f"{web}://{head}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("found no address of a server", where=plain(source, 200)) from None
    if not parts.hostname:
        raise UsageError("found no server's name", where=plain(source, 200), hint=f"such as {kind}+http://host:9090?…")
    shown = plain(f"{kind}+{web}://{parts.hostname}{f':{port}' if port else ''}{parts.path}", 200)
    if parts.username is not None or parts.password is not None:
        raise UsageError("found a login in the address", where=shown, hint="give token=${env:NAME}")
    params: dict[str, str] = {}
    for pair in filter(None, tail.split("&")):
        name, _, value = pair.partition("=")
        if name not in KINDS[kind]:
            raise UsageError(f"found `{plain(name, 60)}`, which {kind} sources do not have", where=shown, hint=_hint(kind, name))
        params[name] = unquote(value)
    if "unit" in params and (params["unit"] != "share" or not params.get("total")):
        raise UsageError(f"found unit={plain(params['unit'], 40)}", where=shown, hint="unit=share, beside total=METRIC")
    if not params.get(NEEDED[kind]):
        raise UsageError(f"found no `{NEEDED[kind]}`", where=shown, hint=f"such as {shown}?{NEEDED[kind]}=…")
    return Address(kind, url, shown + _shown(params), params)


def _hint(kind: str, name: str) -> str:
    return f"{name_hint(name, KINDS[kind], 'parameters')}; an & in a value is written %26"


def _shown(params: Mapping[str, str]) -> str:
    told = [f"{n}={plain(v, 120)}" for n, v in params.items() if n in ("query", "run", "total")]
    return f"?{'&'.join(told)}" if told else ""

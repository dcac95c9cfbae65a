"""Secrets: references of a known form, none resolved here; a literal is told of and never shown."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path as FilePath

from pydantic import BaseModel

from backends.escape import plain
from backends.plan.document import Path
from backends.plan.literals import credential_in
from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.references import Reference, ReferenceForm, google_name, is_literal, parse_references, vault_name
from backends.plan.rules.names import Names
from backends.plan.rules.stores import split_url

_USE = "use a reference: ${env:NAME}, ${file:PATH}, or one to a cloud's manager of secrets"
LITERAL = "literal_credential"  # the code of what stands in the plan itself


def check_secrets(plan: Plan, _names: Names, findings: Findings) -> None:
    for path, text in secret_texts(plan):
        if is_literal(text):
            message = f"found a literal credential in `{path[-1]}`: whoever reads the plan has it"
            findings.warning(path, LITERAL, message, _USE)
        else:
            _check_references(path, text, findings)
    for name, store in plan.stores.items():
        for field in ("endpoint", "account", "region", "profile", "url"):
            text = getattr(store, field)
            if text is not None and not is_literal(text):
                message = f"found a reference in `{field}`, expected it written out"
                findings.error(("stores", name, field), "reference_not_here", message, "references stand for secrets only")
    for path, url in _urls(plan):
        parts = split_url(url)
        if parts is not None and parts.password is not None:
            message = "found a password in a URL: whoever reads the plan has it"
            findings.warning(path, LITERAL, message, "take it out of the URL")
    _check_copies(plan, findings)
    _check_looks(plan, findings)


def _check_references(path: Path, text: str, findings: Findings) -> None:
    try:
        parse_references(text)
    except ReferenceForm as error:
        findings.error(path, "reference", str(error), error.hint)


def check_secret_files(plan: Plan, base: FilePath, findings: Findings) -> None:
    """Files with secrets are their owner's only. Looks at their mode and reads none; what is not there is told when it is needed."""
    for path, text in secret_texts(plan):
        try:
            references = parse_references(text)
        except ReferenceForm:
            continue
        for reference in references:
            if reference.kind != "file":
                continue
            try:
                mode = (base / FilePath(reference.what).expanduser()).stat().st_mode
            except (OSError, ValueError, RuntimeError):
                continue
            if stat.S_ISREG(mode) and mode & 0o077:
                message = f"found mode {stat.S_IMODE(mode):04o} on the secret's file, expected 0600"
                findings.warning(path, "secret_readable", message, f"chmod 600 {plain(reference.what, 120)}")


def whole_reference(text: str) -> Reference | None:
    """The one reference that `text` is, nothing before or behind it; None where it is not one. Raises `ReferenceForm`."""
    found = parse_references(text)
    return found[0] if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)) else None


def _check_copies(plan: Plan, findings: Findings) -> None:
    taken: dict[str, str] = {}
    for i, copy in enumerate(plan.secrets):
        for field, text in (("from", copy.from_), ("to", copy.to)):
            path: Path = ("secrets", i, field)
            try:
                reference = whole_reference(text)
            except ReferenceForm as error:
                findings.error(path, "reference", str(error), error.hint)
                continue
            if reference is None:
                findings.error(
                    path, "not_a_reference", f"found other text in `{field}`, expected one reference and nothing else", _USE
                )
            elif field == "to":
                _check_destination(path, copy.name, reference, taken, findings)
        if copy.from_ == copy.to:
            findings.error(
                ("secrets", i, "to"), "same_secret", "found the same secret in `from` and `to`", "name the one on target"
            )


def _check_destination(path: Path, name: str, reference: Reference, taken: dict[str, str], findings: Findings) -> None:
    if reference.kind == "env":
        findings.error(
            path,
            "not_writable",
            "found a variable, expected a place that a secret can be written to",
            "a manager of secrets, or a file: ${file:PATH}",
        )
    if reference.kind == "gcp-secret" and google_name(reference).version != "latest":
        findings.error(
            path, "not_writable", "found a version, expected none: each write makes a new one", "the same without its version"
        )
    if reference.kind in ("azure-secret", "azure-keyvault") and vault_name(reference).version:
        findings.error(
            path, "not_writable", "found a version, expected none: each write makes a new one", "the same without its version"
        )
    other = taken.setdefault(reference.text, name)
    if other != name:
        findings.error(path, "same_secret", f"found the place that `{other}` is copied to as well", "give each secret its own")


def _check_looks(plan: Plan, findings: Findings) -> None:
    """What looks like a credential where none belongs; the value is not shown."""
    known = {path for path, _ in secret_texts(plan)}
    for path, text in _texts(plan, ()):
        kind = credential_in(text) if path not in known else ""
        if kind:
            message = f"found what looks like {kind}: whoever reads the plan has it"
            findings.warning(path, LITERAL, message, "take it out of the plan, and change it where it is known")


def _texts(part: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(part, str):
        yield path, part
    elif isinstance(part, BaseModel):
        for name, field in type(part).model_fields.items():
            yield from _texts(getattr(part, name), (*path, field.alias or name))
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from _texts(value, (*path, str(key)))
    elif isinstance(part, tuple):
        for i, value in enumerate(part):
            yield from _texts(value, (*path, i))


def secret_texts(plan: Plan) -> Iterator[tuple[Path, str]]:
    """What stands where a secret belongs, and the path of its field."""
    for name, store in plan.stores.items():
        for field in ("access_key", "secret_key", "session_token"):
            text = getattr(store, field)
            if text is not None:
                yield ("stores", name, field), text
    for i, route in enumerate(plan.routes):
        if route.rfc2136 is not None and route.rfc2136.tsig is not None:
            yield ("routes", i, "rfc2136", "tsig"), route.rfc2136.tsig
        for kind, fields in (("route53", ("access_key", "secret_key", "session_token")), ("powerdns", ("key",))):
            for field in fields:
                text = getattr(getattr(route, kind), field, None)
                if text is not None:
                    yield ("routes", i, kind, field), text
    for i, measure in enumerate(plan.measures):
        for side, source in (("legacy", measure.legacy), ("target", measure.target)):
            if source.token is not None:
                yield ("measures", i, side, "token"), source.token
    for i, notify in enumerate(plan.notify):
        yield ("notify", i, "webhook"), notify.webhook


def _urls(plan: Plan) -> Iterator[tuple[Path, str]]:
    for name, store in plan.stores.items():
        yield ("stores", name, "url"), store.url
        if store.endpoint is not None:
            yield ("stores", name, "endpoint"), store.endpoint
    for i, measure in enumerate(plan.measures):
        for side, source in (("legacy", measure.legacy), ("target", measure.target)):
            for field in ("file", "prometheus", "mlflow"):
                text = getattr(source, field)
                if text is not None:
                    yield ("measures", i, side, field), text
    for i, route in enumerate(plan.routes):
        if route.route53 is not None and route.route53.endpoint is not None:
            yield ("routes", i, "route53", "endpoint"), route.route53.endpoint
        if route.powerdns is not None:
            yield ("routes", i, "powerdns", "api"), route.powerdns.api
        if route.sandbox is not None:
            yield ("routes", i, "sandbox", "admin"), route.sandbox.admin
        for field in ("url", "legacy", "target"):
            text = getattr(route.probe, field, None)
            if text is not None:
                yield ("routes", i, "probe", field), text

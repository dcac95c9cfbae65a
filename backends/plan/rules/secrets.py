"""Secrets: references of a known form, none resolved here; a literal is told of and never shown."""

from __future__ import annotations

from collections.abc import Iterator

from backends.plan.document import Path
from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.references import ReferenceForm, is_literal, parse_references
from backends.plan.rules.names import Names
from backends.plan.rules.stores import split_url

_USE = "use a reference: ${env:NAME} or ${file:PATH}"


def check_secrets(plan: Plan, _names: Names, findings: Findings) -> None:
    for path, text in _secrets(plan):
        if is_literal(text):
            message = f"found a literal credential in `{path[-1]}`: whoever reads the plan has it"
            findings.warning(path, "literal_credential", message, _USE)
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
            findings.warning(path, "literal_credential", message, "take it out of the URL")


def _check_references(path: Path, text: str, findings: Findings) -> None:
    try:
        references = parse_references(text)
    except ReferenceForm as error:
        findings.error(path, "reference", str(error), error.hint)
        return
    for reference in references:
        if not reference.is_built:
            what = f"{reference.text} (secrets kept by a cloud)"
            findings.not_yet(path, what, "use ${env:NAME} or ${file:PATH}")


def _secrets(plan: Plan) -> Iterator[tuple[Path, str]]:
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
    for i, notify in enumerate(plan.notify):
        yield ("notify", i, "webhook"), notify.webhook


def _urls(plan: Plan) -> Iterator[tuple[Path, str]]:
    for name, store in plan.stores.items():
        yield ("stores", name, "url"), store.url
        if store.endpoint is not None:
            yield ("stores", name, "endpoint"), store.endpoint
    for i, measure in enumerate(plan.measures):
        for side, source in (("legacy", measure.legacy), ("target", measure.target)):
            for field in ("file", "prometheus"):
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

"""Credentials known by their look, wherever in a text they stand: those of the clouds, model hubs and chat services.

The forms are the services' own: AWS IAM identifiers (AKIA, ASIA), GitHub's token prefixes, Hugging Face `hf_`, Slack `xox` and incoming
webhooks, Google API keys `AIza`, OpenAI-style `sk-`, JSON web tokens, PEM private keys, Azure account keys and shared access signatures.
"""

from __future__ import annotations

import re

HIDDEN = "…hidden…"
_FORMS = {
    "an access key of AWS": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b",
    "a token of Hugging Face": r"\bhf_[A-Za-z0-9]{30,}\b",
    "a token of Slack": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "a webhook of Slack": r"hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+",
    "an API key of Google": r"\bAIza[A-Za-z0-9_-]{35}",
    "an API key": r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "an account key of Azure": r"AccountKey=[A-Za-z0-9+/]{20,}={0,2}|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==",
    "a shared access signature": r"[?&]sig=[A-Za-z0-9%+/]{20,}",
}
_ANY = re.compile("|".join(f"(?P<_{i}>{form})" for i, form in enumerate(_FORMS.values())))
_NAMES = tuple(_FORMS)


def credential_in(text: str) -> str:
    """What kind of credential stands in `text`, in words; empty where none is known by its look."""
    found = _ANY.search(text)
    return _NAMES[int(found.lastgroup[1:])] if found is not None and found.lastgroup is not None else ""


def without_credentials(text: str) -> str:
    """`text`, each of them hidden."""
    return _ANY.sub(HIDDEN, text)

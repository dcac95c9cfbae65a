"""Which keys a dataset leaves out: globs as in .gitignore, matched against the key below the store's prefix.

`*` and `?` stay within one name, `**` crosses folders, `[a-z]` is a class. A pattern with a slash before its end is tied to the
prefix (`tmp/**`, `/top.txt`), one without matches at any depth (`*.tmp`). A pattern also leaves out all below what it matches.
There is no negation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from backends.errors import UsageError
from backends.escape import plain


def excluder(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A function that says whether a key is left out."""
    parts = [_regex(p) for p in patterns]
    if not parts:
        return lambda key: False
    found = re.compile("|".join(f"(?:{p})" for p in parts), re.DOTALL).fullmatch
    return lambda key: found(key) is not None


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A function that says whether a key itself matches one of the patterns; what lies below a match does not."""
    parts = [_regex(p, with_below=False) for p in patterns]
    if not parts:
        return lambda key: False
    found = re.compile("|".join(f"(?:{p})" for p in parts), re.DOTALL).fullmatch
    return lambda key: found(key) is not None


def _regex(pattern: str, *, with_below: bool = True) -> str:
    body = pattern.strip("/")
    if not body or pattern.startswith("!"):
        raise UsageError(f"pattern {plain(pattern)!r} cannot be used", where="exclude", hint="globs such as tmp/** or *.tmp")
    tied = "/" in pattern.rstrip("/")
    below = "" if body.endswith("**") else "/.+" if pattern.endswith("/") else "(?:/.*)?"
    return ("" if tied else "(?:.*/)?") + _glob(body) + (below if with_below else "")


def _glob(body: str) -> str:
    out, i = [], 0
    while i < len(body):
        if body.startswith("**/", i) and (i == 0 or body[i - 1] == "/"):
            out.append("(?:.*/)?")
            i += 3
        elif body.startswith("**", i):
            out.append(".*")
            i += 2
        elif body[i] in "*?":
            out.append("[^/]*" if body[i] == "*" else "[^/]")
            i += 1
        elif body[i] == "[" and (end := body.find("]", i + 2)) > 0:
            out.append(_class(body[i + 1 : end]))
            i = end + 1
        else:
            out.append(re.escape(body[i]))
            i += 1
    return "".join(out)


def _class(inside: str) -> str:
    negated = inside[0] in "!^"
    text = inside[1:] if negated else inside
    text = text.replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
    text = re.sub(r"([&~|])", r"\\\1", text)
    try:
        re.compile(f"[{text}]")
    except re.error as error:
        raise UsageError(f"exclude class [{plain(inside)}] cannot be used: {error}", where="exclude") from error
    return f"[{'^/' if negated else ''}{text}]"

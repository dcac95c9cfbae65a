"""Values changed where they stand: comments, order, quotes and spacing stay as they are, byte for byte, but for what was changed.

`edit(name, text, change)` finds the format by name and content; `change(key, value)` gives the value on target. YAML and JSON are edited inside the spans of
their scalars, TOML through tomlkit, the rest line by line: variables (.env), INI and systemd's units, shell and Slurm scripts.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import tomlkit
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array, String

Change = Callable[[str, str], str]

_UNITS = frozenset({".service", ".socket", ".timer", ".mount", ".path", ".slice", ".target", ".conf"})
_SCRIPTS = frozenset({".sh", ".bash", ".sbatch", ".slurm"})
_INI = frozenset({".ini", ".cfg", ".properties"})
_ENV_LINE = re.compile(r"(\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:]\s*)(.*?)(\s*)$", re.DOTALL)
# A colon ends a key, the one of a URL does not.
_OPTION = re.compile(r"(\s*([^=:\s][^=:]*?)\s*(?:=|:(?!//))\s*)(.*?)(\s*)$", re.DOTALL)
_PLAIN = re.compile(r"(?:-+(?=[A-Za-z0-9]))?[A-Za-z0-9_./$][A-Za-z0-9_./:@%+=,$ -]*[A-Za-z0-9_./%+=-]|[A-Za-z0-9_./]")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")  # an anchor, a tag: they stand before a scalar and in its span
_NOT_TEXT = re.compile(r"(?i)true|false|yes|no|on|off|null|~|[-+.0-9][0-9_.eE+-]*|0x[0-9a-f]+")


class BadFormat(ValueError):
    """The file is not what its name says. `line` from 1, 0 where it is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def format_of(name: str, text: str) -> str:
    """`env`, `ini`, `unit`, `script`, `yaml`, `json`, `toml`; empty where it is none that is written anew."""
    path = PurePosixPath(name)
    base, suffix = path.name.lower(), path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return "yaml"
    if suffix in (".json", ".toml"):
        return suffix[1:]
    if base.startswith(".env") or suffix == ".env" or base == "environment":
        return "env"
    if suffix in _UNITS:
        return "unit"
    if suffix in _INI or base in (".editorconfig", ".npmrc", "config", "credentials"):
        return "ini"
    if suffix in _SCRIPTS or text.startswith("#!"):
        return "script"
    return ""


def edit(name: str, text: str, change: Change) -> str:
    """The whole text for target. Raises `BadFormat`; a format that is not known is given back as it is."""
    editors: dict[str, Callable[[str, Change], str]] = {
        "yaml": _edit_yaml,
        "json": _edit_json,
        "toml": _edit_toml,
        "env": _edit_env,
        "ini": _edit_ini,
        "unit": _edit_unit,
        "script": _edit_script,
    }
    kind = format_of(name, text)
    return editors[kind](text, change) if kind else text


# lines


def _edit_env(text: str, change: Change) -> str:
    return "".join(
        _variable(line, change) if not line.lstrip().startswith("#") else line for line in text.splitlines(keepends=True)
    )


def _variable(line: str, change: Change) -> str:
    match = _ENV_LINE.fullmatch(line)
    if match is None:
        return line
    head, key, value, tail = match.groups()
    value, comment = _without_comment(value)
    quote = value[0] if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0] else ""
    inner = value[1:-1] if quote else value
    changed = change(key, inner)
    if changed == inner:
        return line
    if not quote and re.search(r"[\s#'\"]", changed):
        quote = "'" if '"' in changed else '"'
    return f"{head}{quote}{changed}{quote}{comment}{tail}"


def _without_comment(value: str) -> tuple[str, str]:
    """A `#` after a space begins a comment, outside of quotes."""
    quote = ""
    for i, c in enumerate(value):
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c == "#" and i and value[i - 1].isspace():
            head = value[:i].rstrip()
            return head, value[len(head) :]
    return value, ""


def _edit_ini(text: str, change: Change) -> str:
    return _edit_options(text, change, may_go_on=False)


def _edit_unit(text: str, change: Change) -> str:
    """systemd's: a line that ends in a backslash goes on in the next, comments in between apart (systemd.syntax(7))."""
    return _edit_options(text, change, may_go_on=True)


def _edit_options(text: str, change: Change, *, may_go_on: bool) -> str:
    out, section = [], ""
    name, goes_on = "", False  # the option that the line before belongs to, whether this line does too
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            out.append(line)
            continue
        belongs, goes_on = goes_on, may_go_on and stripped.endswith("\\")
        if belongs:
            body = line.rstrip("\r\n")
            out.append(_option(name, body, change) + line[len(body) :])
        elif not stripped:
            out.append(line)
        elif stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
            out.append(line)
        elif (match := _OPTION.match(line)) is not None:
            head, key, value, tail = match.groups()
            name = f"{section}.{key}" if section else key
            changed = _option(name, value, change)
            out.append(f"{head}{changed}{tail}" if changed != value else line)
        else:
            body = line.rstrip("\r\n")
            out.append(change(section, body) + line[len(body) :])
    return "".join(out)


def _option(name: str, value: str, change: Change) -> str:
    is_environment = name.rpartition(".")[2] in ("Environment", "PassEnvironment")
    return _pairs(value, change) if is_environment else change(name, value)


def _pairs(value: str, change: Change) -> str:
    """systemd's `Environment=`: variables side by side, quoted where they hold spaces."""

    def one(match: re.Match[str]) -> str:
        quote = match["quote"] or ""
        key, inner = (match["key"], match["inner"]) if quote else (match["bare"], match["plain"])
        return f"{quote}{key}={change(key, inner)}{quote}"

    name = "[A-Za-z_][A-Za-z0-9_]*"
    quoted = rf"(?P<quote>[\"'])(?P<key>{name})=(?P<inner>.*?)(?P=quote)(?=\s|$)"
    return re.sub(rf"{quoted}|(?<!\S)(?P<bare>{name})=(?P<plain>[^\s\"']*)", one, value)


def _edit_script(text: str, change: Change) -> str:
    out = []
    for line in text.splitlines(keepends=True):
        stripped = line.lstrip()
        if stripped.startswith("#") and not stripped.startswith(("#SBATCH", "#PBS", "#$ ")):
            out.append(line)
            continue
        match = re.match(r"\s*(?:export\s+|#SBATCH\s+--?)?([A-Za-z_][A-Za-z0-9_-]*)=", line)
        if match is None:
            out.append(change("", line))
        else:
            rest = line[match.end() :]
            body = rest.rstrip("\r\n")
            out.append(line[: match.end()] + _shell_value(match[1], body, change) + rest[len(body) :])
    return "".join(out)


def _shell_value(key: str, value: str, change: Change) -> str:
    quote = value[0] if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0] else ""
    inner = value[1:-1] if quote else value
    changed = change(key, inner)
    if changed == inner:
        return value
    if not quote and re.search(r"\s", changed) and not re.search(r"\s", inner):
        quote = '"'
    return f"{quote}{changed}{quote}"


# trees


def _edit_yaml(text: str, change: Change) -> str:
    try:
        documents = list(YAML(typ="rt", pure=True).compose_all(io.StringIO(text)))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadFormat(
            f"not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}", mark.line + 1 if mark else 0
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadFormat("not YAML: it cannot be read") from error
    edits: list[tuple[int, int, str]] = []
    seen: set[int] = set()
    for node in documents:
        for key, head, scalar in _scalars(node, "", seen):
            new = head + change(key, scalar.value[len(head) :])
            if new != scalar.value:
                start, end = scalar.start_mark.index, scalar.end_mark.index
                start += len(_PROPERTIES.match(text[start:end])[0])  # type: ignore[index]
                edits.append((start, end, _as_yaml(text[start:end], scalar, new, key, change)))
    return _with(text, edits)


def _scalars(node: Node | None, path: str, seen: set[int]) -> Iterator[tuple[str, str, ScalarNode]]:
    """Each scalar that is a value, once: an alias leads to what was seen already. Kubernetes' `- {name: X, value: …}` is named X, and so is compose's
    `- X=…`, whose `X=` is the second of the three: it stands before the value and stays."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        yield path, "", node
    elif isinstance(node, SequenceNode):
        for item in node.value:
            named = re.match(r"([A-Za-z_][A-Za-z0-9_]*)=", item.value) if isinstance(item, ScalarNode) else None
            if named is not None and item.style not in ("|", ">"):
                yield f"{path}.{named[1]}", named[0], item
            else:
                yield from _scalars(item, path, seen)
    elif isinstance(node, MappingNode):
        pairs = {k.value: v for k, v in node.value if isinstance(k, ScalarNode)}
        name = pairs.get("name")
        is_named = isinstance(name, ScalarNode) and "value" in pairs
        for key, value in node.value:
            step = str(key.value) if isinstance(key, ScalarNode) else ""
            inner = str(name.value) if is_named and step == "value" and isinstance(name, ScalarNode) else step
            yield from _scalars(value, f"{path}.{inner}" if path else inner, seen)


def _as_yaml(raw: str, node: ScalarNode, new: str, key: str, change: Change) -> str:
    if node.style in ("|", ">"):
        # The block's own lines are changed where they stand: its indentation and folding stay.
        head, newline, body = raw.partition("\n")
        return head + newline + "".join(change(key, line) for line in body.splitlines(keepends=True))
    if node.style == "'":
        return "'" + new.replace("'", "''") + "'" if new.isprintable() else _quoted(new)
    if (
        node.style == '"'
        or not _PLAIN.fullmatch(new)
        or ": " in new
        or ("," in new and "," not in raw)  # it may stand in a flow, where a comma ends it
        or (_NOT_TEXT.fullmatch(new) and not _NOT_TEXT.fullmatch(node.value))
    ):
        return _quoted(new)
    return new


def _quoted(text: str) -> str:
    """In YAML's double quotes; what it takes in no other form is escaped."""
    return "".join(c if c.isprintable() or ord(c) < 0x20 else f"\\U{ord(c):08x}" for c in json.dumps(text, ensure_ascii=False))


def _with(text: str, edits: list[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _edit_json(text: str, change: Change) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise BadFormat(f"not JSON: {error.msg}", error.lineno) from error
    except RecursionError as error:
        raise BadFormat("not JSON: too deep") from error
    edits: list[tuple[int, int, str]] = []
    stack: list[str | None] = []  # the key of each object that is open, None for a list
    for match in re.finditer(r'[{}\[\]]|"(?:[^"\\]|\\.)*"', text):
        token = match[0]
        if token == "{":
            stack.append("")
        elif token == "[":
            stack.append(None)
        elif token in "}]":
            stack.pop()
        elif stack and stack[-1] is not None and re.match(r"\s*:", text[match.end() :]):
            stack[-1] = json.loads(token)
        else:
            value = json.loads(token)
            new = change(".".join(step for step in stack if step), value)
            if new != value:
                edits.append((match.start(), match.end(), json.dumps(new, ensure_ascii=False)))
    return _with(text, edits)


def _edit_toml(text: str, change: Change) -> str:
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise BadFormat(f"not TOML: {error}", getattr(error, "line", 0)) from error
    _walk_toml(document, "", change)
    return tomlkit.dumps(document)


def _walk_toml(node: Any, path: str, change: Change) -> None:
    items = enumerate(node) if isinstance(node, list | Array | AoT) else list(node.items()) if hasattr(node, "items") else ()
    for step, value in items:
        where = path if isinstance(step, int) else f"{path}.{step}" if path else str(step)
        if isinstance(value, str | String):
            new = change(where, str(value))
            if new != str(value):
                item = tomlkit.string(new, literal=getattr(value, "as_string", lambda: "")().startswith("'") and "'" not in new)
                if hasattr(value, "trivia"):
                    item.trivia.comment, item.trivia.comment_ws = value.trivia.comment, value.trivia.comment_ws
                    item.trivia.indent, item.trivia.trail = value.trivia.indent, value.trivia.trail
                node[step] = item
        else:
            _walk_toml(value, where, change)

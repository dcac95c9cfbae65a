"""Values changed where they stand; all else byte for byte as it was."""

from __future__ import annotations

import io
import json

import pytest
import tomlkit
from hypothesis import given, reject
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from backends.reconfigure.formats import BadFormat, edit, format_of


def moved(name: str, text: str) -> str:
    return edit(name, text, lambda key, value: value.replace("old", "new"))


def keys(name: str, text: str) -> list[str]:
    seen: list[str] = []

    def note(key: str, value: str) -> str:
        seen.append(key)
        return value

    edit(name, text, note)
    return seen


CASES = [
    (
        ".env",
        "# old\nexport A='s3://old/x'  # the old one\nB=plain\n\nC = \"old\"\n",
        "# old\nexport A='s3://new/x'  # the old one\nB=plain\n\nC = \"new\"\n",
    ),
    ("app.ini", "; old\n[db]\nhost = old  \n[x]\nflag\n", "; old\n[db]\nhost = new  \n[x]\nflag\n"),
    (
        "w.service",
        '[Service]\nEnvironment="A=old b" C=old D=x\nExecStart=/bin/run --from old\n',
        '[Service]\nEnvironment="A=new b" C=new D=x\nExecStart=/bin/run --from new\n',
    ),
    (
        "job.sh",
        '#!/bin/bash\n#SBATCH --partition=old\n# old\nexport P="old"\nrun --in old\n',
        '#!/bin/bash\n#SBATCH --partition=new\n# old\nexport P="new"\nrun --in new\n',
    ),
    (
        "a.yaml",
        "# old\na: old # c\nb:\n  - 'old'\n  - \"x old\"\n  - |\n    keep\n    old\nold: 1\n",
        "# old\na: new # c\nb:\n  - 'new'\n  - \"x new\"\n  - |\n    keep\n    new\nold: 1\n",
    ),
    (
        "b.yaml",
        "a: &x old\nb: *x\nc: !!str old\nd: &y\n  u: old/1\n  v: 2\ne:\n  <<: *y\n  w: old\n",
        "a: &x new\nb: *x\nc: !!str new\nd: &y\n  u: new/1\n  v: 2\ne:\n  <<: *y\n  w: new\n",
    ),
    (
        "a.json",
        '{\n "old": ["old", 1, {"k": "a\\nold"}],\t"n": null }\n',
        '{\n "old": ["new", 1, {"k": "a\\nnew"}],\t"n": null }\n',
    ),
    (
        "a.toml",
        "# old\n[db] # old\nhost = \"old\" # why\nlist = [\"old\", 'x']\n[[t]]\nk = 'old'\n",
        "# old\n[db] # old\nhost = \"new\" # why\nlist = [\"new\", 'x']\n[[t]]\nk = 'new'\n",
    ),
    ("README", "old\n", "old\n"),
]


@pytest.mark.parametrize(("name", "text", "wanted"), CASES, ids=[c[0] for c in CASES])
def test_only_values_are_changed(name: str, text: str, wanted: str) -> None:
    assert moved(name, text) == wanted


@pytest.mark.parametrize(("name", "text", "_"), CASES, ids=[c[0] for c in CASES])
def test_where_nothing_is_changed_nothing_changes(name: str, text: str, _: str) -> None:
    assert edit(name, text, lambda key, value: value) == text
    assert edit(name, text.replace("\n", "\r\n"), lambda key, value: value) == text.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        (".env", "DATABASE_URL=x\n", ["DATABASE_URL"]),
        ("a.ini", "[db]\nhost=x\n", ["db.host"]),
        ("a.yaml", "env:\n  - name: DB\n    value: x\nargs: [A=b]\n", ["env.name", "env.DB", "args.A"]),
        ("a.json", '{"a": {"b": ["x"]}}', ["a.b"]),
        ("a.toml", '[a]\nb = "x"\n', ["a.b"]),
        ("a.sh", "export A=x\n", ["A"]),
    ],
)
def test_each_value_is_known_by_where_it_stands(name: str, text: str, wanted: list[str]) -> None:
    assert keys(name, text) == wanted


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", "a: [\n"), ("a.yaml", "a: b: c\n"), ("a.json", "{"), ("a.toml", "a = \n"), ("a.json", "[" * 100_000)],
)
def test_what_is_not_what_its_name_says_is_told(name: str, text: str) -> None:
    with pytest.raises(BadFormat, match="not "):
        moved(name, text)


def test_a_script_is_known_by_its_first_line_too() -> None:
    assert format_of("launch", "#!/usr/bin/env bash\n") == "script"
    assert format_of("compose.yml", "") == "yaml"
    assert format_of("photo.png", "") == ""


NEW = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)


@given(NEW)
def test_whatever_the_new_value_is_yaml_json_and_toml_give_it_back(new: str) -> None:
    def to_new(key: str, value: str) -> str:
        return new if key == "b" else value

    for style in ("old", "'old'", '"old"'):
        text = f"a: 1\nb: {style} # c\nc: [x]\n"
        assert YAML(typ="safe", pure=True).load(edit("a.yaml", text, to_new))["b"] == new
    assert json.loads(edit("a.json", '{"a": 1, "b": "old"}', to_new))["b"] == new
    for quote in "\"'":
        assert tomlkit.parse(edit("a.toml", f"a = 1\nb = {quote}old{quote} # c\n", to_new))["b"] == new


@given(st.sampled_from(["a.yaml", "a.json", "a.toml", ".env", "a.ini", "a.sh"]), st.text(max_size=80))
def test_no_text_ends_in_anything_but_a_text_or_a_bad_format(name: str, text: str) -> None:
    try:
        given_back = edit(name, text, lambda key, value: value)
    except BadFormat:
        return
    assert given_back.rstrip() == text.rstrip()


def test_what_an_alias_leads_to_is_changed_once_however_long_it_becomes() -> None:
    def longer(key: str, value: str) -> str:
        return value.replace("old", "a much longer name")

    text = "a: &x old\nb: *x\nc:\n  - *x\n  - *x\nlast: kept\n"
    assert edit("a.yaml", text, longer) == text.replace("&x old", "&x a much longer name")


_WORDS = st.text(st.sampled_from("old 1:#'\"{}[]&*!|>-,\n\\ü"), max_size=12)
_TREES = st.recursive(
    _WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abcd"), _TREES, min_size=1, max_size=3))
def test_whatever_a_document_holds_its_values_are_changed_and_nothing_else(tree: dict[str, object]) -> None:
    def changed(value: object) -> object:
        if isinstance(value, dict):
            return {k: changed(v) for k, v in value.items()}
        return [changed(v) for v in value] if isinstance(value, list) else str(value).replace("old", "new: one")

    out = io.StringIO()
    YAML(typ="safe", pure=True).dump(tree, out)
    try:
        loaded = YAML(typ="safe", pure=True).load(out.getvalue())
    except YAMLError:
        reject()  # ruamel does not read all that it writes: `{a: :1}`
    text = edit("a.yaml", out.getvalue(), lambda key, value: value.replace("old", "new: one"))
    assert YAML(typ="safe", pure=True).load(text) == changed(loaded)
    assert json.loads(edit("a.json", json.dumps(tree), lambda key, value: value.replace("old", "new: one"))) == changed(tree)

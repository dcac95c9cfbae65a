from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.document import MAX_DEPTH, MAX_NODES, Document, plain_values, read_document


def the_trouble(text: str) -> tuple[str, int]:
    troubles = read_document(text).troubles
    assert len(troubles) == 1, troubles
    return troubles[0].code, troubles[0].line


def test_values_are_those_of_yaml_1_2() -> None:
    text = "a: [1, 0x10, 0o17, 1.5, 2e3, true, null, ~, yes, on, 10s, 0.5%, '1', 2026-11-23, 012]\n"
    document = read_document(text)
    assert document.root is not None
    values, _ = plain_values(document.root)
    expected = (1, 16, 15, 1.5, 2000.0, True, None, None, "yes", "on", "10s", "0.5%", "1", "2026-11-23", 12)
    assert values == {"a": expected}
    assert [type(v) for v in values["a"]] == [type(v) for v in expected]


def test_each_value_has_its_line_and_dotted_path() -> None:
    document = read_document("routes:\n  - name: a\n    steps:\n      - 5\n      - 100\n")
    assert document.root is not None
    _, places = plain_values(document.root)
    place = places.find(("routes", 0, "steps", 1))
    assert (place.line, place.field) == (5, "routes[0].steps[1]")
    missing = places.find(("routes", 0, "soak", "at_least"))
    assert (missing.line, missing.field) == (2, "routes[0].soak.at_least")


def test_a_path_stays_that_of_the_file_when_something_before_it_is_left_out() -> None:
    document = read_document("hosts:\n- a\n- b\n- c\n")
    assert document.root is not None
    values, places = plain_values(document.root, without={("hosts", 0)})
    assert values == {"hosts": ("b", "c")}
    assert places.find(("hosts", 1)).field == "hosts[2]"
    assert places.find(("hosts", 1)).line == 4


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: 1\nb: [1, 2\n", "syntax", 3),
        ("a: 1\n\tb: 2\n", "syntax", 2),
        ("a: 1\n---\nb: 2\n", "more_than_one_document", 2),
        ("a: 1\nb: *missing\n", "unknown_alias", 2),
        ("a: &x\n  b: *x\n", "alias_of_itself", 2),
        ("a: 1\n? [1, 2]\n: 3\n", "key_not_text", 2),
        ("a: 1\nb: 2\na: 3\n", "duplicate_key", 3),
        ("a: 1\nb: !!python/object:os.system x\n", "tag", 2),
        ('a: 1\nb: "x\\e[31m"\n', "control_character", 2),
        ('"a\\u202eb": 1\n', "control_character", 1),
        ("a: 1\nb: \x07\n", "syntax", 2),
        ('a: "\\UFFFFFFFF"\n', "syntax", 0),
        pytest.param("a: 1\n" + "!" * (4 << 20), "too_large", 2, id="long"),
        pytest.param("[" * (MAX_DEPTH + 5), "too_deep", 1, id="deep"),
        pytest.param("a: " + "{b: " * 5000, "too_deep", 1, id="deeper"),
        pytest.param("\n".join("-" for _ in range(MAX_NODES + 10)), "too_large", MAX_NODES, id="many"),
    ],
)
def test_bad_yaml_is_told_by_its_line(text: str, code: str, line: int) -> None:
    assert the_trouble(text) == (code, line)


def test_aliases_that_grow_without_end_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert the_trouble("\n".join(lines))[0] == "too_large"


def test_aliases_that_nest_without_end_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [[[[[[*a{i - 1}]]]]]]" for i in range(1, 60)]
    assert the_trouble("\n".join(lines))[0] == "too_deep"


def test_an_anchor_used_twice_gives_the_same_values() -> None:
    document = read_document("a: &w {dual: 7d}\nb: *w\n")
    assert document.root is not None
    assert not document.troubles
    assert plain_values(document.root)[0] == {"a": {"dual": "7d"}, "b": {"dual": "7d"}}


def test_two_wrong_things_are_both_told() -> None:
    troubles = read_document('a: 1\na: 2\nb: "\\e"\nb: 3\n').troubles
    assert [(t.code, t.line) for t in troubles] == [("duplicate_key", 2), ("control_character", 3), ("duplicate_key", 4)]


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    document = read_document(text)
    assert isinstance(document, Document)
    assert all(t.message.isprintable() for t in document.troubles)


PIECES = [
    "a",
    ":",
    " ",
    "\n",
    "-",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a",
    "*a",
    "!",
    "!!str",
    "|",
    ">",
    "'",
    '"',
    "#",
    "%",
    "?",
    "\t",
    "\\",
    "\\x",
    "---",
    "...",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_no_pieces_of_yaml_raise(text: str) -> None:
    assert isinstance(read_document(text), Document)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text("abc 12:#-", max_size=12))
TREES = st.recursive(
    SCALARS,
    lambda t: st.one_of(st.lists(t, max_size=4), st.dictionaries(st.text("abcd", min_size=1, max_size=4), t, max_size=4)),
    max_leaves=12,
)


@given(TREES)
def test_json_is_read_as_what_it_says(tree: object) -> None:
    document = read_document(json.dumps(tree))
    assert not document.troubles
    assert document.root is not None
    assert _lists(plain_values(document.root)[0]) == tree


def _lists(value: object) -> object:
    if isinstance(value, tuple):
        return [_lists(v) for v in value]
    return {k: _lists(v) for k, v in value.items()} if isinstance(value, dict) else value

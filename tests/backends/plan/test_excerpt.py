from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.excerpt import HIDDEN, Excerpts


def shown(text: str) -> str:
    excerpts = Excerpts(text)
    return "\n".join(excerpts.line(n) for n in range(1, len(text.splitlines()) + 1))


@pytest.mark.parametrize(
    "text",
    [
        "stores:\n  a: {url: x, secret_key: hunter2}\n",
        "stores:\n  a: {secret_key: hunter2, access_key: hunter2, region: us}\n",
        "a:\n  secret_key: |\n    hunter2\n    hunter2\n  b: 1\n",
        "a:\n  secret_key:\n    hunter2\n",
        "a: {secert_key: hunter2}\n",
        "a: {acces_key: 'hunter2'}\n",
        "a: {password: hunter2}\n",
        "notify: [{webhook: 'https://hooks.example.net/hunter2'}]\n",
        "token: [hunter2, {x: hunter2}]\n",
        "url: https://user:hunter2@example.net/\n",
        "a: [\nsecret_key: hunter2\n",
        "b: 1\n\tsecret_key: hunter2\n",
        "secret_key: 'hunter2\n",
    ],
)
def test_no_secret_is_shown_however_it_is_written(text: str) -> None:
    assert "hunter2" not in shown(text)


def test_what_is_no_secret_is_shown_as_it_is_written() -> None:
    text = "stores:\n  a: {url: 's3://b/', secret_key: '${env:KEY}'}  # by the team\n\nlast: ü\n"
    assert shown(text) == text.rstrip("\n")


def test_only_the_value_is_hidden() -> None:
    assert shown("a: {secret_key: hunter2, region: us}") == f"a: {{secret_key: {HIDDEN}, region: us}}"


def test_a_line_does_nothing_to_a_terminal() -> None:
    assert "\x1b" not in shown("a: 1\nb: \x1b[31mred\n")
    assert "\\x1b[31m" in shown("a: 1\nb: \x1b[31mred\n")


def test_a_line_that_is_not_there_is_empty() -> None:
    excerpts = Excerpts("a: 1\n")
    assert [excerpts.line(n) for n in (-1, 0, 2, 10**9)] == ["", "", "", ""]


@given(
    st.lists(
        st.sampled_from(["secret_key", "a", ": ", "\n", " ", "{", "}", "[", "]", ", ", "'", '"', "|", "- ", "hunter2"]),
        max_size=25,
    ).map("".join)
)
def test_no_text_raises(text: str) -> None:
    assert "\x00" not in shown(text)

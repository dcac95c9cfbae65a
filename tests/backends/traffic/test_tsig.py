"""TSIG keys in every form that operators have, and never a word of one in a message."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.traffic.tsig import BadKey, TsigKey, parse_key

SECRET = base64.b64encode(b"sixteen-bytes-ok").decode()
KEY = TsigKey("cutover", "hmac-sha256", b"sixteen-bytes-ok")


@pytest.mark.parametrize(
    "text",
    [
        f"cutover:hmac-sha256:{SECRET}",
        f"Cutover.:HMAC-SHA256:{SECRET}\n",
        f"hmac-sha256:cutover:{SECRET}",  # as nsupdate -y takes it
        f'key "cutover" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n',  # as tsig-keygen writes it
        f"key cutover {{ secret {SECRET}; algorithm HMAC-SHA256; }};",
        f"# hmac-sha256:cutover:{SECRET}\nkey:\n  - id: cutover\n    algorithm: hmac-sha256\n    secret: {SECRET}\n",  # keymgr -t
    ],
)
def test_each_form_is_read(text: str) -> None:
    assert parse_key(text) == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"cutover:{SECRET}",
        f"cutover:hmac-md5:{SECRET}",
        f"cutover:hmac-sha256:{SECRET}!",
        "cutover:hmac-sha256:",
        f"two words:hmac-sha256:{SECRET}",
        f'key "cutover" {{ algorithm hmac-sha256; }}; key "other" {{ secret "{SECRET}"; }};',
        f"key:\n  - id: a\n    algorithm: hmac-sha256\n    secret: {SECRET}\n  - id: b\n    secret: {SECRET}\n",
        f"\x1b[2J{SECRET}",
    ],
)
def test_anything_else_is_told_without_showing_it(text: str) -> None:
    with pytest.raises(BadKey) as caught:
        parse_key(text)
    shown = caught.value.message + caught.value.hint
    assert SECRET not in shown
    assert "\x1b" not in shown


def test_a_key_shows_no_secret() -> None:
    assert "sixteen" not in repr(KEY)


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(BadKey):
        assert parse_key(text).secret

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.errors import ResolveError
from backends.plan.references import ReferenceForm, parse_references
from backends.secrets.resolve import resolve

SECRET = "correct horse battery staple"


def test_a_variable_and_a_file_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_TEST_KEY", SECRET)
    (tmp_path / "key").write_text("from a file\n")
    assert resolve("${env:CUTOVER_TEST_KEY}", base=tmp_path) == SECRET
    assert resolve("a ${file:key} b ${env:CUTOVER_TEST_KEY}.", base=tmp_path) == f"a from a file b {SECRET}."
    assert resolve(f"${{file:{tmp_path / 'key'}}}", base=Path("/")) == "from a file"
    assert resolve("no reference $HOME {x}", base=tmp_path) == "no reference $HOME {x}"


def test_a_reference_inside_a_value_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOVER_TEST_KEY", "${file:/etc/passwd}")
    assert resolve("${env:CUTOVER_TEST_KEY}", base=tmp_path) == "${file:/etc/passwd}"


def test_what_leads_nowhere_is_an_error_that_names_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUTOVER_TEST_NONE", raising=False)
    (tmp_path / "raw").write_bytes(b"\xff" + SECRET.encode())
    (tmp_path / "big").write_bytes(SECRET.encode() * 5000)
    for text, match in [
        ("${env:CUTOVER_TEST_NONE}", r"\$\{env:CUTOVER_TEST_NONE\}: the variable is not set"),
        ("${file:none}", r"\$\{file:none\}: there is no such file"),
        ("${file:.}", "no such file"),
        ("${file:raw}", "not UTF-8"),
        ("${file:big}", "more than"),
        ("${file:a\0b}", "cannot be read|no such file"),
        ("${evn:X}", "one of env, file"),
        ("${env:X", r"without its `\}`"),
    ]:
        with pytest.raises(ResolveError, match=match) as caught:
            resolve(text, base=tmp_path)
        assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value.where}"


@pytest.mark.parametrize(
    "text",
    [
        "${aws-secret:prod/tgt#secret}",
        "${aws-secret:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/tgt-AbCdEf}",
        "${gcp-secret:proj/s}",
        "${gcp-secret:projects/proj/secrets/s/versions/7#password}",
        "${azure-secret:vault/s}",
        "${azure-keyvault:vault.vault.azure.cn/s/0123456789abcdef0123456789abcdef}",
        "${azure-keyvault:https://vault.vault.azure.net/secrets/s}",
        "${azure-keyvault:http://127.0.0.1:8443/s}",
    ],
)
def test_secrets_kept_by_a_cloud_are_known_by_their_form(text: str) -> None:
    [reference] = parse_references(text)
    assert reference.text == reference.source == text
    assert reference.field == {"prod/tgt#secret": "secret"}.get(reference.what, "password" if "#" in text else "")


@pytest.mark.parametrize(
    "text",
    [
        "${aws-secret:a b}",
        "${gcp-secret:only-a-project}",
        "${gcp-secret:proj/../s}",
        "${azure-keyvault:vault}",
        "${azure-keyvault:evil.example.net/s}",
        "${azure-keyvault:https://vault.vault.azure.net.evil.net/s}",
        "${azure-keyvault:https://me@vault.vault.azure.net/s}",
        "${azure-keyvault:http://vault.vault.azure.net/s}",
        "${azure-keyvault:https://vault.vault.azure.net:444/s}",
    ],
)
def test_a_name_that_no_manager_has_or_a_vault_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(ReferenceForm):
        parse_references(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("${env:X", "write it as ${env:NAME}"),
        ("${HOME}", "did you mean ${env:HOME}?"),
        ("${evn:HOME}", "did you mean env?"),
        ("${aws_secret:x}", "did you mean aws-secret?"),
        ("${env:}", ""),
        ("${env:A B}", ""),
        ("${}", "write it as ${env:NAME}"),
    ],
)
def test_a_reference_of_no_known_form_is_refused(text: str, hint: str) -> None:
    with pytest.raises(ReferenceForm) as caught:
        parse_references(text)
    assert caught.value.hint.startswith(hint)


@given(st.lists(st.sampled_from(["${", "}", "env:", "file:", "X", "$", " ", "aws-secret:", "\n"]), max_size=12).map("".join))
def test_no_text_ends_in_anything_but_references_or_a_form_error(text: str) -> None:
    try:
        shown = [(text[r.start : r.end], f"${{{r.kind}:{r.what}}}") for r in parse_references(text)]
    except ReferenceForm as error:
        shown = [(str(error) != "", True)]
    assert all(written == meant for written, meant in shown)

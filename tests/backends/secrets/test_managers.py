"""What each cloud's manager keeps, read and written: AWS's by ministack, the others' by servers that speak as their references say."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from backends.plan.errors import ResolveError
from backends.plan.references import Reference, parse_references
from backends.secrets.errors import SecretDenied, SecretMissing, SecretUnreachable
from backends.secrets.resolve import HELD, HELD_SECONDS, manager_of, resolve, resolved_before
from tests.peers.ministack import MiniStack
from tests.peers.secret_managers import Kept

VALUE = 'correct "horse"\nbattery é'


def one(text: str) -> Reference:
    [reference] = parse_references(text)
    return reference


async def read(text: str) -> str:
    return await asyncio.to_thread(resolve, text, base=Path("/"))


async def write(text: str, value: str) -> None:
    reference = one(text)
    await asyncio.to_thread(manager_of(reference.kind).write, reference, value)


def vault(kept: Kept, rest: str) -> str:
    return f"${{azure-keyvault:{kept.http.endpoint}/{rest}}}"


async def test_aws_gives_back_what_was_written_and_the_newest_version(aws: MiniStack) -> None:
    text = f"${{aws-secret:prod/{uuid.uuid4()}}}"
    with pytest.raises(SecretMissing, match="ResourceNotFoundException"):
        await read(text)
    await write(text, VALUE)
    assert await read(text) == VALUE
    await write(text, "rotated")
    assert await asyncio.to_thread(manager_of("aws-secret").read, one(text)) == "rotated"


async def test_a_field_of_a_json_secret_is_taken_and_its_lack_names_those_there_are(aws: MiniStack) -> None:
    name = f"prod/{uuid.uuid4()}"
    await write(f"${{aws-secret:{name}}}", '{"user": "u", "port": 5432, "password": "hunter2 of all"}')
    assert await read(f"postgres://${{aws-secret:{name}#user}}:${{aws-secret:{name}#port}}") == "postgres://u:5432"
    with pytest.raises(SecretMissing, match="no such field") as caught:
        await read(f"${{aws-secret:{name}#pasword}}")
    assert caught.value.hint == "it has: password, port, user"
    await write(f"${{aws-secret:{name}-plain}}", "hunter2 of all")
    with pytest.raises(ResolveError, match="expected a JSON object") as caught_plain:
        await read(f"${{aws-secret:{name}-plain#user}}")
    assert "hunter2" not in str(caught_plain.value)


async def test_aws_that_nobody_reaches_is_told_as_such(monkeypatch: pytest.MonkeyPatch, aws: MiniStack) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    with pytest.raises(SecretUnreachable, match="no answer from AWS"):
        await read("${aws-secret:any}")


async def test_aws_without_credentials_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch, aws: MiniStack) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SecretDenied, match="no credentials found"):
        await read("${aws-secret:any}")


async def test_google_gives_back_what_was_written_and_any_version(google: Kept) -> None:
    with pytest.raises(SecretMissing, match="no such version"):
        await read("${gcp-secret:proj/db}")
    await write("${gcp-secret:proj/db}", VALUE)
    await write("${gcp-secret:projects/proj/secrets/db}", "rotated")
    assert await read("${gcp-secret:proj/db}") == "rotated"
    assert await read("${gcp-secret:projects/proj/secrets/db/versions/1}") == VALUE


async def test_a_value_that_came_spoilt_from_google_is_not_taken(google: Kept) -> None:
    google.secrets["db"] = ["value"]
    google.spoil = True
    with pytest.raises(SecretUnreachable, match="CRC32C"):
        await read("${gcp-secret:proj/db}")


async def test_azure_gives_back_what_was_written_and_any_version(azure: Kept) -> None:
    with pytest.raises(SecretMissing, match="SecretNotFound"):
        await read(vault(azure, "db"))
    await write(vault(azure, "db"), VALUE)
    await write(vault(azure, "db"), "rotated")
    assert await read(vault(azure, "db")) == "rotated"
    assert await read(vault(azure, f"db/{1:032x}")) == VALUE


@pytest.mark.parametrize(
    ("status", "error"), [(403, SecretDenied), (429, SecretUnreachable), (503, SecretUnreachable), (302, SecretDenied)]
)
async def test_what_a_manager_answers_decides_whether_it_is_asked_again(
    google: Kept, status: int, error: type[Exception]
) -> None:
    google.refuse = status
    with pytest.raises(error, match=f"status {status}"):
        await read("${gcp-secret:proj/db}")


async def test_what_was_read_serves_on_while_its_manager_is_away(google: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    google.secrets["db"] = ["value"]
    assert await read("${gcp-secret:proj/db}") == "value"
    asked = len(google.http.asked)
    assert await read("${gcp-secret:proj/db}") == "value"
    assert len(google.http.asked) == asked, "held, not asked again"
    google.secrets["db"].append("rotated")
    google.refuse = 503
    monkeypatch.setattr("backends.secrets.resolve.time.monotonic", lambda: HELD_SECONDS * 1e6)
    assert await read("${gcp-secret:proj/db}") == "value"
    google.refuse = 0
    assert await asyncio.to_thread(resolve, "${gcp-secret:proj/db}", base=Path("/"), anew=True) == "rotated"


async def test_many_who_want_one_secret_ask_once(google: Kept) -> None:
    google.secrets["db"] = ['{"a": "1", "b": "2"}']
    texts = ["${gcp-secret:proj/db#a}", "${gcp-secret:proj/db#b}"] * 8
    assert await asyncio.gather(*(read(text) for text in texts)) == ["1", "2"] * 8
    assert len([a for a in google.http.asked if "access" in a.target]) == 1


async def test_what_was_never_asked_for_is_not_fetched_to_be_blacked_out(google: Kept) -> None:
    google.secrets["db"] = ["value"]
    with pytest.raises(ResolveError, match="not asked for yet"):
        resolved_before("${gcp-secret:proj/db}", base=Path("/"))
    assert google.http.asked == []
    await read("${gcp-secret:proj/db}")
    assert resolved_before("a ${gcp-secret:proj/db}", base=Path("/")) == "a value"
    HELD.forget()

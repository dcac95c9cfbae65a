"""Where the two clouds' credentials come from: each source of the chains, against servers that say what theirs say."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from backends.plan.models import Store as StoreSpec
from backends.secrets import google
from backends.secrets.errors import SecretDenied, SecretUnreachable
from backends.secrets.oauth import Tokens, ask_token
from backends.stores import azure_credentials
from backends.stores.azure_credentials import Sas, SharedKey
from backends.stores.errors import StoreDenied
from backends.stores.gcs_credentials import SCOPE
from backends.stores.open_cloud import open_azure, open_gcs
from tests.peers.azurite import Azurite
from tests.peers.scripted_http import Asked, ScriptedHttp, answer, scripted_http

_NAMES = (
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
)


@pytest_asyncio.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ScriptedHttp]:
    """Gives a token to whoever asks. Every place where credentials are looked for leads here or nowhere."""
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    said = json.dumps({"access_token": "the-token", "expires_in": "3600"})
    async with scripted_http(lambda _: answer(200, said)) as scripted:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", scripted.endpoint)
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", scripted.endpoint)
        monkeypatch.setenv("GCE_METADATA_HOST", scripted.endpoint.removeprefix("http://"))
        yield scripted


def form_of(asked: Asked) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}


async def azure_token() -> str:
    found = await azure_credentials.chain("corpus", "acme")()
    assert isinstance(found, Tokens)
    return await found.get()


async def gcs_token() -> str:
    return await (await google.chain("corpus", SCOPE)()).get()


# Azure


async def test_the_environment_of_the_storage_tools_comes_first(server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?sig=a%2Bb")
    assert await azure_credentials.chain("corpus", "acme")() == Sas((("sig", "a+b"),))
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    assert await azure_credentials.chain("corpus", "acme")() == SharedKey("a2V5")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "another")  # then its key is not ours
    assert await azure_token() == "the-token"


async def test_a_client_with_a_secret(server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TENANT_ID": "tenant", "CLIENT_ID": "client", "CLIENT_SECRET": "hunter2"}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    assert await azure_token() == "the-token"
    assert server.asked[0].target == "/tenant/oauth2/v2.0/token"
    form = form_of(server.asked[0])
    assert (form["client_id"], form["client_secret"]) == ("client", "hunter2")
    assert form["scope"] == "https://storage.azure.com/.default"


async def test_a_workload_with_a_federated_token(server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "federated").write_text("a.b.c\n")
    for name, value in {"TENANT_ID": "t", "CLIENT_ID": "c", "FEDERATED_TOKEN_FILE": str(tmp_path / "federated")}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    assert await azure_token() == "the-token"
    assert form_of(server.asked[0])["client_assertion"] == "a.b.c"


async def test_a_machine_of_azure(server: ScriptedHttp) -> None:
    assert await azure_token() == "the-token"
    assert server.asked[0].headers["metadata"] == "true"
    assert "resource=https%3A%2F%2Fstorage.azure.com" in server.asked[0].target


async def test_az_login_where_no_machine_answers(server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with scripted_http(lambda _: answer(404)) as nobody:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", nobody.endpoint)
        with pytest.raises(SecretDenied, match="no credentials") as denied:
            await azure_credentials.chain("corpus", "acme")()
        assert "az login" in denied.value.hint
        program = tmp_path / "bin" / "az"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\necho \'{"accessToken": "of-az", "expires_on": 4102444800}\'\n')
        program.chmod(0o755)
        assert await azure_token() == "of-az"
        program.write_text("#!/bin/sh\necho 'Please run az login' >&2\nexit 1\n")
        with pytest.raises(SecretDenied, match="Please run az login"):
            await azure_token()


# Google Cloud


def service_account(uri: str) -> tuple[str, rsa.RSAPrivateKey]:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    key = {"type": "service_account", "client_email": "me@corp", "private_key": pem, "private_key_id": "k1", "token_uri": uri}
    return json.dumps(key), private


async def test_a_service_account_signs_for_itself(server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text, private = service_account(f"{server.endpoint}/token")
    (tmp_path / "key.json").write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    assert await gcs_token() == "the-token"
    head, claims, signature = form_of(server.asked[0])["assertion"].split(".")
    private.public_key().verify(unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    said = json.loads(unpadded(claims))
    assert (said["iss"], said["aud"], said["exp"] - said["iat"]) == ("me@corp", f"{server.endpoint}/token", 3600)


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_what_gcloud_leaves_is_refreshed(server: ScriptedHttp, tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    user["token_uri"] = f"{server.endpoint}/token"
    (folder / "application_default_credentials.json").write_text(json.dumps(user))
    assert await gcs_token() == "the-token"
    assert form_of(server.asked[0])["refresh_token"] == "r"


async def test_a_machine_of_google(server: ScriptedHttp) -> None:
    assert await gcs_token() == "the-token"
    assert server.asked[0].headers["metadata-flavor"] == "Google"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "not JSON"),
        ('{"type": "external_account"}', "external_account"),
        ('{"type": "service_account", "client_email": "me"}', "private_key"),
        ('{"type": "service_account", "client_email": "me", "private_key": "hunter2"}', "private key"),
    ],
)
async def test_a_key_that_cannot_be_used_is_named_and_not_shown(text: str, says: str) -> None:
    with pytest.raises(SecretDenied, match=says) as denied:
        await google.from_key("corpus", text, SCOPE).get()
    assert "hunter2" not in str(denied.value)


async def test_credentials_that_are_nowhere_are_denied_with_a_cure(
    server: ScriptedHttp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with scripted_http(lambda _: answer(404)) as nobody:
        monkeypatch.setenv("GCE_METADATA_HOST", nobody.endpoint.removeprefix("http://"))
        with pytest.raises(SecretDenied, match="no credentials") as denied:
            await gcs_token()
    assert "session_token" in denied.value.hint
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(SecretDenied, match="not there"):
        await gcs_token()


# both


async def test_a_token_is_kept_until_it_is_about_to_end() -> None:
    lasting = iter(["3600", "200", "3600"])

    def script(asked: Asked) -> bytes:
        return answer(200, json.dumps({"access_token": f"t{len(server.asked)}", "expires_in": next(lasting)}))

    async with scripted_http(script) as server:
        long = Tokens(lambda: ask_token("corpus", server.endpoint, form={}))
        assert [await long.get(), await long.get()] == ["t1", "t1"]
        short = Tokens(lambda: ask_token("corpus", server.endpoint, form={}))
        assert [await short.get(), await short.get()] == ["t2", "t3"]


@pytest.mark.parametrize(
    ("said", "kind", "says"),
    [
        (answer(400, '{"error": "invalid_grant", "error_description": "Bad \\u001b[31m"}'), SecretDenied, "Bad "),
        (answer(200, '{"token_type": "Bearer"}'), SecretDenied, "no access_token"),
        (answer(200, "<html>"), SecretDenied, "no access_token"),
        (answer(503), SecretUnreachable, "503"),
    ],
)
async def test_a_token_that_is_not_given(said: bytes, kind: type[Exception], says: str) -> None:
    async with scripted_http(lambda _: said) as server:
        with pytest.raises(kind, match=says) as failed:
            await ask_token("corpus", f"{server.endpoint}/?sig=secret", form={"client_secret": "hunter2"})
    assert not [text for text in ("hunter2", "sig=", "\x1b") if text in str(failed.value)]


async def test_a_plan_s_secrets_are_resolved_with_the_first_request(blobs: Azurite, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(blobs.key + "\n")
    spec = StoreSpec.model_validate({"url": "az://x/", "secret_key": "${file:key}", "endpoint": blobs.endpoint})
    async with open_azure("corpus", spec, blobs.account, "from-a-plan/pre/", base=tmp_path) as store:
        await store.create_bucket()
        await store.prepare()
        assert store.url == f"az://{blobs.account}/from-a-plan/pre/"
    absent = StoreSpec.model_validate({"url": "gs://x/", "session_token": "${file:none}"})
    async with open_gcs("corpus", absent, "x", "", base=tmp_path) as google:
        with pytest.raises(StoreDenied, match="session_token"):
            await google.head("k")

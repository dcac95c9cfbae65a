"""Keys that end in the middle of a run, from each place of the chain: looked up again at once, the request signed anew."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.credentials import SSOProvider

from backends.plan.models import Store as StoreSpec
from backends.stores.errors import ListingFailed, StoreDenied
from backends.stores.open_s3 import PlanCredentials
from backends.stores.s3_credentials import ChainCredentials, CredentialSource
from backends.stores.sigv4 import Credentials
from tests.faults.transfer.rig import SMALL, Rig, assert_same, go, put, s3_store
from tests.peers.fault_proxy import Request, Rule, fault_proxy, xml_error
from tests.peers.scripted_http import Asked, answer, scripted_http
from tests.peers.seaweedfs import ADMIN, READONLY

FIRST, LATER = READONLY, ADMIN  # both may read and list: the server knows both, the proxy ends the first


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anybody's keys."""
    folder = tmp_path / "home"
    (folder / ".aws").mkdir(parents=True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / ".aws" / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / ".aws" / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return folder


@contextlib.asynccontextmanager
async def ended(
    rig: Rig, source: CredentialSource, *, after: int, code: str = "ExpiredToken", status: int = 400
) -> AsyncIterator[Rule]:
    """The rig's source store signs with `source`; its first keys end after so many requests."""
    async with fault_proxy(rig.server.endpoint) as proxy:
        rule = proxy.add("answer", lambda r: r.access_key == FIRST[0], times=None, after=after, said=xml_error(status, code))
        async with s3_store("source", rig.server, f"{rig.prefix}old/", endpoint=proxy.endpoint, credentials=source) as store:
            rig.source, rig.legacy = store, proxy
            yield rule


def profile(home: Path, keys: tuple[str, str], token: str = "") -> None:
    more = f"aws_session_token = {token}\n" if token else ""
    (home / ".aws" / "credentials").write_text(f"[old]\naws_access_key_id = {keys[0]}\naws_secret_access_key = {keys[1]}\n{more}")


@pytest.mark.parametrize(
    ("code", "status"), [("ExpiredToken", 400), ("ExpiredToken", 403), ("InvalidToken", 400), ("InvalidAccessKeyId", 403)]
)
async def test_a_profile_written_anew_is_taken_up_in_mid_run(rig: Rig, home: Path, code: str, status: int) -> None:
    await put(rig.old, SMALL)
    profile(home, FIRST)
    chain = ChainCredentials("source", "old")
    await chain.get()
    profile(home, LATER)  # as a tool does that fetches a new session in the background
    async with ended(rig, chain, after=5, code=code, status=status) as rule:
        result = await rig.round()
    assert rule.struck > 0
    assert (result.copied, result.failed) == (len(SMALL), 0)
    await assert_same(rig.new, SMALL)
    late = [seen for seen in rig.legacy.seen if seen.request.access_key == LATER[0]]
    assert {seen.status for seen in late} <= {200, 206}


async def test_keys_of_a_file_that_the_plan_names_are_read_again(rig: Rig, tmp_path: Path) -> None:
    await put(rig.old, SMALL)
    (tmp_path / "key").write_text(FIRST[0])
    (tmp_path / "secret").write_text(FIRST[1])
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "secret").chmod(0o600)
    spec = StoreSpec(url="s3://faults/", access_key="${file:key}", secret_key="${file:secret}")
    source = PlanCredentials("source", spec, tmp_path)
    await source.get()
    (tmp_path / "key").write_text(LATER[0])
    (tmp_path / "secret").write_text(LATER[1])
    async with ended(rig, source, after=5):
        result = await rig.round()
    assert (result.copied, result.failed) == (len(SMALL), 0)
    await assert_same(rig.new, SMALL)


async def test_a_head_that_is_refused_without_a_word_looks_too(rig: Rig, home: Path) -> None:
    await put(rig.old, SMALL)
    profile(home, FIRST)
    chain = ChainCredentials("source", "old")
    await chain.get()
    profile(home, LATER)
    async with ended(rig, chain, after=0):
        head = await rig.source.head("set/03.bin")
    assert head is not None
    assert head.size == len(SMALL["set/03.bin"])


async def test_keys_that_ended_with_no_others_end_the_round_with_the_cure_and_one_look(
    rig: Rig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {f"{i:03}": b"x" for i in range(60)}
    await put(rig.old, many)
    profile(home, FIRST)
    chain, looks = ChainCredentials("source", "old"), list[bool]()
    look = chain._ask

    def counted(anew: bool) -> tuple[Credentials, float]:
        looks.append(anew)
        return look(anew)

    monkeypatch.setattr(chain, "_look", counted)
    async with ended(rig, chain, after=10):
        with pytest.raises(StoreDenied, match="ExpiredToken") as denied:
            await rig.round()
    assert "get new ones" in denied.value.hint
    assert looks == [False, True]
    assert FIRST[1] not in f"{denied.value}{denied.value!r}{chain!r}"
    rest = await go(rig.old, rig.target, rig.index)
    assert (rest.failed, rest.lag_objects) == (0, 0)
    await assert_same(rig.new, many)


async def test_keys_that_ended_before_the_listing_conclude_nothing(rig: Rig, home: Path) -> None:
    await put(rig.old, SMALL)
    await rig.round()
    profile(home, FIRST)
    async with ended(rig, ChainCredentials("source", "old"), after=0):
        with pytest.raises(ListingFailed, match="ExpiredToken"):
            await rig.round()
    await assert_same(rig.new, SMALL)


# -- the chain refreshes by itself before they end


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds").replace("+00:00", "Z")


async def test_a_process_that_gives_keys_for_seconds_is_asked_again_before_they_end(rig: Rig, home: Path, tmp_path: Path) -> None:
    """The first keys say that they end in four seconds; they are held for one at most, so none that has ended is ever sent."""
    await put(rig.old, SMALL)
    script, count = tmp_path / "keys.py", tmp_path / "count"
    count.write_text("")
    script.write_text(
        f"""import json, pathlib
count = pathlib.Path({str(count)!r})
count.write_text(count.read_text() + "x")
key, secret = {FIRST!r} if len(count.read_text()) < 3 else {LATER!r}
ends = {soon(4)!r} if key == {FIRST[0]!r} else {soon(3600)!r}
print(json.dumps(dict(Version=1, AccessKeyId=key, SecretAccessKey=secret, SessionToken=None, Expiration=ends)))
"""
    )
    (home / ".aws" / "config").write_text(f"[profile old]\ncredential_process = {sys.executable} {script}\n")
    chain = ChainCredentials("source", "old")
    async with s3_store("source", rig.server, f"{rig.prefix}old/", endpoint=rig.legacy.endpoint, credentials=chain) as store:
        rig.legacy.delay = 0.1
        result = await go(store, rig.target, rig.index, parallel=1)
    assert (result.copied, result.failed) == (len(SMALL), 0)
    await assert_same(rig.new, SMALL)
    used = [seen.request.access_key for seen in rig.legacy.seen]
    assert used[0] == FIRST[0]
    assert used[-1] == LATER[0]
    assert used == sorted(used, key=[FIRST[0], LATER[0]].index)
    assert {seen.status for seen in rig.legacy.seen} == {200}


async def test_an_instance_role_that_ended_is_asked_of_its_metadata_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore takes a role's keys for longer than the metadata says where these end soon: the server's word counts."""
    await put(rig.old, SMALL)
    current = [FIRST]

    def metadata(asked: Asked) -> bytes:
        if asked.method == "PUT":
            return answer(200, "token")
        if asked.target.endswith("/security-credentials/"):
            return answer(200, "role")
        key, secret = current[0]
        body = {"Code": "Success", "AccessKeyId": key, "SecretAccessKey": secret, "Token": "", "Expiration": soon(3600)}
        return answer(200, json.dumps(body))

    async with scripted_http(metadata) as server:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint)
        chain = ChainCredentials("source", None)
        await chain.get()
        current[0] = LATER
        async with ended(rig, chain, after=5) as rule:
            result = await rig.round()
    assert rule.struck > 0
    assert (result.copied, result.failed) == (len(SMALL), 0)
    await assert_same(rig.new, SMALL)


async def test_a_sign_on_session_is_turned_into_keys(rig: Rig, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(rig.old, SMALL)
    start = "https://example.awsapps.com/start"
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))  # botocore looks at HOME when it is imported
    kept = {"startUrl": start, "region": "us-east-1", "accessToken": "signed-on", "expiresAt": soon(3600)}
    (cache / f"{hashlib.sha1(start.encode()).hexdigest()}.json").write_text(json.dumps(kept))
    (home / ".aws" / "config").write_text(
        f"[profile old]\nsso_start_url = {start}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = mover\n"
    )
    ends = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000)
    given = iter([FIRST, LATER, LATER])

    def portal(asked: Asked) -> bytes:
        assert asked.headers["x-amz-sso_bearer_token"] == "signed-on"
        key, secret = next(given)
        keys = {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": "", "expiration": ends}
        return answer(200, json.dumps({"roleCredentials": keys}), content_type="application/json")

    async with scripted_http(portal) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", server.endpoint)
        async with ended(rig, ChainCredentials("source", "old"), after=5):
            result = await rig.round()
    assert (result.copied, result.failed) == (len(SMALL), 0)
    await assert_same(rig.new, SMALL)


async def test_a_sign_on_that_has_ended_is_denied_by_name(home: Path) -> None:
    start = "https://example.awsapps.com/start"
    (home / ".aws" / "config").write_text(
        f"[profile old]\nsso_start_url = {start}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = mover\n"
    )
    with pytest.raises(StoreDenied, match="source: no credentials") as denied:
        await ChainCredentials("source", "old").get()
    assert "profile old" in denied.value.hint


def test_what_the_proxy_takes_for_the_signer_is_what_the_request_says() -> None:
    header = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20261125/us-east-1/s3/aws4_request,SignedHeaders=host"}
    assert Request("GET", "/", header, b"", b"").access_key == "AKIA"

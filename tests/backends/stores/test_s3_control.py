"""Settings of buckets, asked of real servers: expiry rules beside those that are there already."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from backends.errors import UsageError
from backends.stores.errors import StoreDenied, StoreError, StoreUnreachable
from backends.stores.s3 import S3Store
from backends.stores.s3_errors import BucketMissing, Unsupported
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.backends.stores.test_s3_faults import SECRET, scripted, store_at
from tests.peers.ministack import MiniStack
from tests.peers.process import free_ports
from tests.peers.scripted_http import answer
from tests.peers.seaweedfs import STRANGER, SeaweedFs

THEIRS = {
    "ID": "theirs",
    "Status": "Enabled",
    "Filter": {"Prefix": "logs/"},
    "Expiration": {"Days": 30},
}
ENABLED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@pytest.fixture(params=["weed", "mini"])
def server(request: pytest.FixtureRequest) -> SeaweedFs | MiniStack:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SeaweedFs | MiniStack)
    return found


async def put_rules(store: S3Store, rules: list[dict[str, Any]]) -> None:
    """As an operator did before us."""

    async def put(s3: Any) -> None:
        await s3.put_bucket_lifecycle_configuration(Bucket=store._bucket.bucket, LifecycleConfiguration={"Rules": rules})

    await store.control._run("rules", put)


def days(rules: list[dict[str, Any]]) -> dict[str, int]:
    return {rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")): rule["Expiration"]["Days"] for rule in rules}


async def test_an_expiry_rule_stands_beside_those_that_are_there(server: SeaweedFs | MiniStack) -> None:
    async with s3_store(server, new_bucket(), prefix="hub/") as store:
        await store.create_bucket()
        assert await store.control.lifecycle() == []
        await put_rules(store, [THEIRS])
        await store.set_expiry("cutover/plan/", 7)
        assert days(await store.control.lifecycle()) == {"logs/": 30, "hub/cutover/plan/": 7}
        first = await store.control.lifecycle()
        await store.set_expiry("cutover/plan/", 7)
        assert await store.control.lifecycle() == first
        await store.set_expiry("cutover/plan/", 3)
        await store.set_expiry("cutover/other/", 9)
        assert days(await store.control.lifecycle()) == {"logs/": 30, "hub/cutover/plan/": 3, "hub/cutover/other/": 9}


async def test_a_rule_that_ends_open_uploads_is_seen_for_its_prefix_only(mini: MiniStack) -> None:
    async with s3_store(mini, new_bucket(), prefix="") as store:
        await store.create_bucket()
        assert await store.control.upload_expiry_days("data/") is None
        off = {
            "ID": "off",
            "Status": "Disabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        by_tag = {
            "ID": "tag",
            "Status": "Enabled",
            "Filter": {"Tag": {"Key": "a", "Value": "b"}},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        await put_rules(store, [off, by_tag])
        await store.set_expiry("data/", 5)
        assert await store.control.upload_expiry_days("data/x/") == 5
        assert await store.control.upload_expiry_days("other/") is None


async def test_a_bucket_with_versions_loses_old_ones_too(mini: MiniStack) -> None:
    async with s3_store(mini, new_bucket(), prefix="") as store:
        await store.create_bucket()
        assert await store.control.versioning() == ""
        await store._bucket.client.call("PUT", None, what="versions", params=(("versioning", ""),), body=ENABLED)
        assert await store.control.versioning() == "Enabled"
        await store.set_expiry("data/", 5)
        [rule] = await store.control.lifecycle()
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


async def test_default_encryption_is_told(server: SeaweedFs | MiniStack) -> None:
    async with s3_store(server, new_bucket()) as store:
        await store.create_bucket()
        assert await store.control.encryption() in (None, "AES256")
        body = (
            b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
            b"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
        )
        await store._bucket.client.call("PUT", None, what="encryption", params=(("encryption", ""),), body=body)
        assert await store.control.encryption() == "AES256"


@pytest.mark.parametrize(("prefix", "after"), [("", 7), ("data/", 0), ("data/", -1)])
async def test_an_expiry_of_everything_or_at_once_is_refused(prefix: str, after: int) -> None:
    async with scripted(lambda _: answer(500)) as (store, server):
        with pytest.raises(UsageError):
            await store.set_expiry(prefix, after)
        assert server.asked == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", StoreDenied),
        (404, "NoSuchBucket", BucketMissing),
        (501, "NotImplemented", Unsupported),
        (405, "MethodNotAllowed", Unsupported),
        (400, "Odd", StoreError),
    ],
)
async def test_errors_of_settings_are_those_of_stores_and_hold_no_secret(status: int, code: str, kind: type[StoreError]) -> None:
    said = answer(status, f"<Error><Code>{code}</Code><Message>\u202eno</Message></Error>")
    async with scripted(lambda _: said) as (store, _):
        with pytest.raises(StoreError) as failed:
            await store.set_expiry("data/", 7)
    assert type(failed.value) is kind
    assert SECRET not in f"{failed.value!r}"
    assert "\u202e" not in failed.value.message


async def test_a_wrong_secret_may_not_look_at_settings(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as store:
        await store.create_bucket()
    async with s3_store(weed, bucket, keys=STRANGER) as store:
        with pytest.raises(StoreDenied):
            await store.control.versioning()


async def test_nobody_at_the_address_is_unreachable() -> None:
    (port,) = free_ports(1)
    async with store_at(f"http://127.0.0.1:{port}") as store:
        with pytest.raises(StoreUnreachable):
            await store.control.versioning()


async def test_settings_are_asked_by_a_thread_with_a_loop_of_its_own(mini: MiniStack) -> None:
    """Making a client stalls its loop for a second."""

    async def ask(_: Any) -> tuple[int, asyncio.AbstractEventLoop]:
        return threading.get_ident(), asyncio.get_running_loop()

    async with s3_store(mini, new_bucket()) as store:
        thread, loop = await store.control._run("nothing", ask)
    assert thread != threading.get_ident()
    assert loop is not asyncio.get_running_loop()

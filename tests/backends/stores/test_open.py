from __future__ import annotations

from pathlib import Path

import pytest

from backends.errors import UsageError
from backends.plan.models import Store as StoreSpec
from backends.ssh.models import SshHost, SshSettings
from backends.ssh.pool import SshPool
from backends.stores.azure import AzureStore
from backends.stores.errors import ListingFailed, StoreDenied
from backends.stores.gcs import GcsStore
from backends.stores.local import LocalStore
from backends.stores.open import StoreUrl, open_store, parse_url
from backends.stores.open_s3 import PlanCredentials
from backends.stores.s3 import S3Store
from backends.stores.s3_client import bucket_address
from backends.stores.s3_credentials import ChainCredentials
from backends.stores.sftp import SftpStore


def opened(tmp_path: Path, **spec: object) -> object:
    return open_store("corpus", StoreSpec.model_validate(spec), ssh=SshPool(SshSettings(), [SshHost("box", "h")]), base=tmp_path)


@pytest.mark.parametrize(
    ("url", "kind", "shown"),
    [
        ("s3://bucket/", S3Store, "s3://bucket/"),
        ("s3://bucket", S3Store, "s3://bucket/"),
        ("s3://bucket/a/b", S3Store, "s3://bucket/a/b/"),
        ("gs://bucket/a/b", GcsStore, "gs://bucket/a/b/"),
        ("az://account/container/a", AzureStore, "az://account/container/a/"),
        ("az://account/container", AzureStore, "az://account/container/"),
        ("file:///srv/data/", LocalStore, "file:///srv/data/"),
        ("ssh://box/mnt/ckpt/", SftpStore, "ssh://box/mnt/ckpt/"),
        ("ssh://box/", SftpStore, "ssh://box/"),
    ],
)
def test_a_url_opens_its_kind_of_store(tmp_path: Path, url: str, kind: type, shown: str) -> None:
    store = opened(tmp_path, url=url)
    assert isinstance(store, kind)
    assert store.url == shown  # type: ignore[attr-defined]
    assert store.name == "corpus"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    [
        "bucket",
        "http://x/",
        "s3:/bucket",
        "file://data/",
        "ssh://user@box/x",
        "ssh://box:22/x",
        "s3:///x",
        "ssh:///x",
        "gs:///x",
        "az://account/",
    ],
)
def test_a_url_that_is_none_of_ours_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="corpus"):
        opened(tmp_path, url=url)


def test_a_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(UsageError) as refused:
        parse_url("corpus", "ssh://me:hunter2@box/x")
    assert "hunter2" not in str(refused.value)


def test_nothing_in_a_url_is_decoded() -> None:
    assert parse_url("corpus", "s3://b/a%20b/c d/") == StoreUrl("s3", "b", "a%20b/c d/")


@pytest.mark.parametrize(
    ("endpoint", "path_style", "bucket", "origin", "base"),
    [
        (None, None, "corpus", "https://corpus.s3.eu-west-1.amazonaws.com", "/"),
        (None, True, "corpus", "https://s3.eu-west-1.amazonaws.com", "/corpus/"),
        (None, None, "with.dots", "https://s3.eu-west-1.amazonaws.com", "/with.dots/"),
        ("http://127.0.0.1:9000", None, "corpus", "http://127.0.0.1:9000", "/corpus/"),
        ("https://objects.example.net:443/", None, "corpus", "https://objects.example.net", "/corpus/"),
        ("https://objects.example.net/s3", None, "corpus", "https://objects.example.net", "/s3/corpus/"),
        ("https://objects.example.net", False, "corpus", "https://corpus.objects.example.net", "/"),
        ("http://[::1]:9000", None, "corpus", "http://[::1]:9000", "/corpus/"),
    ],
)
def test_a_bucket_has_its_address(endpoint: str | None, path_style: bool | None, bucket: str, origin: str, base: str) -> None:
    address = bucket_address(bucket, endpoint=endpoint, region="eu-west-1", path_style=path_style)
    assert (address.origin, address.base) == (origin, base)


@pytest.mark.parametrize("endpoint", ["objects.example.net", "ftp://x", "http://", "https://user:pw@host", "http://x/?a=b"])
def test_an_endpoint_that_is_none_is_named_without_its_password(endpoint: str) -> None:
    with pytest.raises(UsageError, match="endpoint") as refused:
        bucket_address("corpus", endpoint=endpoint, region="us-east-1", path_style=None)
    assert "pw" not in str(refused.value)


async def test_references_are_resolved_when_first_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    spec = StoreSpec.model_validate(
        {"url": "s3://b/", "access_key": "${env:CUTOVER_TEST_KEY}", "secret_key": "${file:secret}", "session_token": "plain"}
    )
    source = PlanCredentials("corpus", spec, tmp_path)
    monkeypatch.setenv("CUTOVER_TEST_KEY", "AKIA")
    found = await source.get()
    assert (found.access_key, found.secret_key, found.session_token) == ("AKIA", "from a file", "plain")


async def test_a_missing_secret_is_denied_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUTOVER_TEST_KEY", raising=False)
    lacking = StoreSpec.model_validate({"url": "s3://b/", "access_key": "${env:CUTOVER_TEST_KEY}", "secret_key": "x"})
    with pytest.raises(StoreDenied, match=r"corpus.*access_key"):
        await PlanCredentials("corpus", lacking, tmp_path).get()
    half = StoreSpec.model_validate({"url": "s3://b/", "access_key": "AKIA"})
    with pytest.raises(StoreDenied, match=r"corpus.*secret_key"):
        await PlanCredentials("corpus", half, tmp_path).get()


@pytest.fixture
def no_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator without any AWS settings but a file of our own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path / "credentials"


async def test_a_profile_gives_its_keys(no_aws: Path) -> None:
    no_aws.write_text("[migration]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\naws_session_token = t\n")
    found = await ChainCredentials("corpus", "migration").get()
    assert (found.access_key, found.secret_key, found.session_token) == ("AKIAPROFILE", "s", "t")


async def test_no_credentials_anywhere_is_denied_with_a_cure(no_aws: Path) -> None:
    with pytest.raises(StoreDenied, match="no credentials") as denied:
        await ChainCredentials("corpus", None).get()
    assert "access_key" in denied.value.hint
    with pytest.raises(StoreDenied, match="no credentials") as denied:
        await ChainCredentials("corpus", "nobody").get()
    assert "nobody" in denied.value.hint


async def test_opening_touches_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path, url=f"file://{tmp_path}/absent/")
    assert isinstance(store, LocalStore)
    async with store:
        with pytest.raises(ListingFailed):
            [page async for page in store.list_pages()]
    assert not (tmp_path / "absent").exists()

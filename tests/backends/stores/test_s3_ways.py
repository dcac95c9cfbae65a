"""Which way a request to S3 takes: over TLS, by way of a proxy, with keys and metadata that some clients cannot say."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from backends.stores.base import ObjectInfo
from backends.stores.checksum import crc64nvme
from backends.stores.errors import ShortBody, StoreError, StoreUnreachable
from tests.backends.stores.test_s3_faults import scripted, store_at
from tests.peers.certificate import Certificate, make_certificate
from tests.peers.process import free_ports
from tests.peers.scripted_http import Asked, answer, scripted_http

LARGE = random.Random(3).randbytes((2 << 20) + 17)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def object_of(held: dict[str, bytes]) -> Callable[[Asked], bytes]:
    """A server that keeps bodies by the path that was asked for."""

    def script(asked: Asked) -> bytes:
        if asked.method == "PUT":
            held[asked.target] = asked.body
            return answer(200, b"", etag='"e"')
        body = held[asked.target]
        if "range" in asked.headers:
            first, last = map(int, asked.headers["range"].removeprefix("bytes=").split("-"))
            return answer(206, body[first : last + 1], etag='"e"', x_amz_meta_n="caf\u00e9")
        return answer(200, body, etag='"e"')

    return script


@pytest.mark.parametrize("key", ["k", "a/../b", "a//b", "\u00e9 \U0001f600"])
@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
async def test_over_tls_bodies_arrive_whole_under_their_very_keys(
    key: str, body: bytes, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.authority))
    held: dict[str, bytes] = {}
    async with scripted_http(object_of(held), certificate.context()) as server, store_at(server.endpoint) as store:
        store._bucket.found.keeps_crc = False
        for _ in range(2):
            await store.write(key, body, crc64nvme=crc64nvme(body))
            assert bytes(await store.read(key, length=len(body))) == body
            assert bytes(await store.read(key)) == body
        assert list(held.values()) == [body]


async def test_over_tls_an_untrusted_server_is_told_at_once_whatever_is_asked(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    async with scripted_http(lambda _: answer(200), certificate.context()) as server, store_at(server.endpoint) as store:
        with pytest.raises(StoreError, match="not trusted") as refused:
            await store.read("k", length=10)
        assert not isinstance(refused.value, StoreUnreachable)
        assert "AWS_CA_BUNDLE" in (refused.value.hint or "")
        with pytest.raises(StoreError, match="not trusted") as refused:
            await store.read("k", length=len(LARGE))
        assert not isinstance(refused.value, StoreUnreachable)
        assert server.asked == []


async def test_over_tls_a_large_body_that_breaks_off_is_short(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.authority))
    said = answer(206, LARGE[:-9], content_length=str(len(LARGE)))
    async with scripted_http(lambda _: said, certificate.context()) as server, store_at(server.endpoint) as store:
        with pytest.raises((ShortBody, StoreUnreachable)):
            await store.read("k", length=len(LARGE))


@pytest.mark.parametrize("key", ["k", "a/./b"])
@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
async def test_a_proxy_of_the_environment_is_asked_for_what_lies_behind_it(
    key: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[str, bytes] = {}
    async with scripted_http(object_of(held)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.endpoint)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with store_at("http://store.invalid") as store:
            store._bucket.found.keeps_crc = False
            await store.write(key, body, crc64nvme=crc64nvme(body))
            assert bytes(await store.read(key, length=len(body))) == body
        assert [asked.target for asked in proxy.asked] == [f"http://store.invalid/bucket/{key}"] * 2


async def test_loopback_and_what_no_proxy_names_are_asked_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    (nobody,) = free_ports(1)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{nobody}")
    async with scripted(lambda _: answer(200, b"x")) as (store, _):
        assert bytes(await store.read("k")) == b"x"


async def test_metadata_beyond_ascii_survives_a_large_read_and_a_fetch_over_tls(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.authority))
    head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(LARGE)}\r\netag: e\r\nx-amz-meta-n: caf\u00e9\r\n\r\n"
    said = head.encode() + LARGE
    async with scripted_http(lambda _: said, certificate.context()) as server, store_at(server.endpoint) as store:
        fetched, body = await store.fetch(ObjectInfo("k", len(LARGE)))
        assert (fetched.metadata, bytes(body)) == ({"n": "caf\u00e9"}, LARGE)

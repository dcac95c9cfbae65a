"""By way of a real hub: SeaweedFS, a local tree and one over SFTP; compressed objects read by zstd alone."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
import zstandard

from backends.plan.models import Dataset, Plan, Side, Transfer
from backends.plan.models import Store as StoreSpec
from backends.stores.base import Store
from backends.stores.s3 import S3Store
from backends.transfer.hub.copier import Hub, HubOptions
from backends.transfer.hub.names import key_of_name, name_of, root_of
from backends.transfer.hub.round import sync_round_by_hub
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.session import TransferSession
from backends.transfer.sums import Sums
from backends.transfer.verify import verify_dataset
from tests.backends.transfer.conftest import Stores
from tests.backends.transfer.test_real_stores import contents, put

ROOT = root_of("move", "d")
LOG = "".join(
    f"2026-11-{i % 28 + 1:02}T12:{i % 60:02}:{i * 7 % 60:02}.{i * 7919 % 1000:03}Z worker-{i * 31 % 97} INFO step={i} "
    f"loss={1 / (i + 1):.6f} grad={i * 104729 % 9973 / 1000:.3f} took {i * 37 % 1000} ms\n"
    for i in range(250_000)
).encode()
ODD = {
    key: key.encode() * 50
    for key in ("a b", "plus+and&", "100%", "%2F", "new\nline", "caf\u00e9", "cafe\u0301", "q?x=1#f", "A", "a")
}


async def through(hub: Store, source: Store, target: Store, index: Index, **way: object) -> RoundResult:
    options = HubOptions("move", "d", 6, **way)  # type: ignore[arg-type]
    return await sync_round_by_hub(hub, options, source, target, index, RoundOptions(parallel=6), Progress())


@pytest.mark.parametrize("kind", ["s3", "local", "sftp"])
@pytest.mark.parametrize("compress", ["never", "zstd"])
async def test_a_round_by_way_of_a_hub_copies_all_and_the_next_copies_nothing(
    stores: Stores, index: Index, kind: str, compress: str
) -> None:
    source, hub, target = await stores.make("s3", "old"), await stores.make(kind, "hub"), await stores.make("s3", "new")
    objects = ODD | {"logs/big.log": LOG[: 20 << 20], "noise": random.Random(1).randbytes(17 << 20), "empty": b""}
    await put(source, objects)
    first = await through(hub, source, target, index, compress=compress)
    assert (first.copied, first.failed, first.lag_objects) == (len(objects), 0, 0)
    assert await contents(target) == objects
    assert first.proofs == {"stored_checksums": len(objects)}
    second = await through(hub, source, target, index, compress=compress)
    assert (second.copied, second.unchanged, second.hub_bytes) == (0, len(objects), 0)
    verified = await verify_dataset("d", source, target, index, re_read=False, report=None)
    assert (verified.equal, verified.problems) == (len(objects), ())
    assert await hub.list_uploads() == await target.list_uploads() == []


@pytest.mark.parametrize("compress", ["auto", "zstd"])
async def test_text_logs_take_a_fraction_of_their_volume_and_noise_goes_as_it_is(
    stores: Stores, index: Index, compress: str
) -> None:
    source, hub, target = [await stores.make("s3", name) for name in ("old", "hub", "new")]
    logs = {f"logs/{i:02}.log": LOG[i * 300_000 : (i + 1) * 300_000] for i in range(20)} | {"logs/whole.log": LOG}
    await put(source, logs)
    result = await through(hub, source, target, index, compress=compress)
    volume = sum(map(len, logs.values()))
    print(f"{compress}: {volume:,} bytes of text became {result.hub_bytes:,} on the way to the hub")
    assert result.hub_bytes <= 0.5 * volume
    assert result.saved_bytes == volume - result.hub_bytes
    assert await contents(target) == logs
    noise = {f"n/{i}.bin": random.Random(i).randbytes(200_000) for i in range(10)}
    images = {f"n/{i}.png": LOG[:100_000] for i in range(3)}
    await put(source, noise | images)
    more = await through(hub, source, target, index, compress=compress)
    if compress == "auto":
        assert (more.saved_bytes, more.hub_bytes) == (0, sum(map(len, (noise | images).values())))
    assert await contents(target) == logs | noise | images


async def test_what_lies_on_the_hub_is_a_file_that_zstd_reads_and_says_what_it_is(stores: Stores, index: Index) -> None:
    source, hub = await stores.make("s3", "old"), await stores.make("s3", "hub")
    body = LOG[: 20 << 20]
    await put(source, {"logs/big.log": body, "small.log": LOG[:50_000]})
    target = await stores.make("s3", "new")
    assert isinstance(hub, S3Store)
    await through(hub, source, target, index, compress="zstd", days=3)
    held = {info.key: info async for page in hub.list_pages() for info in page}
    assert {key_of_name(name.removeprefix(ROOT)) for name in held} == {("logs/big.log", "zstd"), ("small.log", "zstd")}
    for name in held:
        key = key_of_name(name.removeprefix(ROOT))[0]  # type: ignore[index]
        info = await hub.head(name)
        assert info is not None
        assert info.metadata["cutovercodec"] == "zstd"
        assert info.metadata["cutovercrc64nvme"] == Sums.of(body if key == "logs/big.log" else LOG[:50_000]).crc64nvme
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(await hub.read(name)), read_across_frames=True) as reader:
            assert reader.read() == (body if key == "logs/big.log" else LOG[:50_000])


async def test_objects_of_an_s3_hub_expire_by_a_rule_of_the_bucket(stores: Stores, index: Index) -> None:
    source, hub, target = [await stores.make("s3", name) for name in ("old", "hub", "new")]
    assert isinstance(hub, S3Store)
    await put(source, {"a": b"1" * 2000})
    for days in (3, 5):
        async with Hub(hub, HubOptions("move", "d", 2, days=days), index) as way:
            assert await way.open(source) == ""
    rules = [r for r in await hub.control.lifecycle() if r.get("Filter", {}).get("Prefix", r.get("Prefix", "")).endswith(ROOT)]
    assert [rule["Expiration"]["Days"] for rule in rules] == [5]
    await through(hub, source, target, index)
    assert [info.key async for page in hub.list_pages() for info in page] == [ROOT + name_of("a", "plain")]


async def test_metadata_and_content_type_survive_the_way(stores: Stores, index: Index) -> None:
    source, hub, target = [await stores.make("s3", name) for name in ("old", "hub", "new")]
    for key, body in {"a.log": LOG[:20_000], "big.log": LOG[: 18 << 20]}.items():
        like = (await source.write("tmp", b"", crc64nvme=Sums.of(b"").crc64nvme))._replace(
            content_type="text/x-log", metadata={"owner": "ops"}, headers={"cache-control": "no-store"}
        )
        if len(body) < 1 << 20:
            await source.write(key, body, crc64nvme=Sums.of(body).crc64nvme, like=like)
        else:
            upload = await source.create_upload(key, like=like)
            part = await source.write_part(key, upload, 1, 0, body, crc64nvme=Sums.of(body).crc64nvme)
            await source.complete_upload(key, upload, [part], size=len(body), crc64nvme=Sums.of(body).crc64nvme, like=like)
    await source.delete("tmp")
    await through(hub, source, target, index, compress="zstd")
    for key in ("a.log", "big.log"):
        info = await target.head(key)
        assert info is not None
        assert (info.content_type, info.headers.get("cache-control")) == ("text/x-log", "no-store")
        assert dict(info.metadata) == {"owner": "ops"}


async def test_a_session_goes_by_the_hub_of_its_plan_and_back_without_it(stores: Stores, tmp_path: Path) -> None:
    opened = {name: await stores.make("s3", name) for name in ("old", "between", "new")}
    spec = {"name": "d", "from": "old", "hub": "between", "to": "new", "compress": "zstd", "reverse": True}
    specs = {name: StoreSpec(url=f"s3://{name}/") for name in opened}
    plan = Plan(
        version=1,
        name="move",
        legacy=Side(provider="a"),
        target=Side(provider="b"),
        stores=specs,
        datasets=(Dataset.model_validate(spec),),
        transfer=Transfer(parallel=4),
    )
    await put(opened["old"], {"a.log": LOG[:30_000]})
    async with TransferSession(plan, tmp_path, tmp_path / "state", None, opener=lambda name, spec: opened[name]) as session:
        dry = await session.round("d", dry_run=True)
        assert (dry.lag_objects, await contents(opened["between"])) == (1, {})
        forward = await session.round("d")
        assert (forward.copied, forward.hub_bytes + forward.saved_bytes) == (1, 30_000)
        await put(opened["new"], {"b": b"2" * 3000})
        on_hub = await contents(opened["between"])
        back = await session.round("d", "reverse")
        assert (back.copied, back.hub_bytes) == (1, 0)
        assert await contents(opened["between"]) == on_hub
        assert (await session.verify("d")).equal == 2
        assert await contents(opened["old"]) == {"a.log": LOG[:30_000], "b": b"2" * 3000}

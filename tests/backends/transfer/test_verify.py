"""What `verify` concludes from checksums that stores keep, and that an auditor can check its evidence without us."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from backends.stores.base import ObjectInfo
from backends.stores.local import LocalStore
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
from backends.transfer.verify import VerifyResult, verify_dataset
from tests.backends.transfer.memory import MemoryStore

FOUR = {f"k{i}": bytes([i]) * (i + 1) for i in range(4)}


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with Index(tmp_path / "index.db") as opened:
        yield opened


class Keeps(MemoryStore):
    """A store that keeps one algorithm of the whole, and may join another from its parts."""

    def __init__(self, name: str, objects: dict[str, bytes] | None = None, *, kept: str = "", joined: str = "") -> None:
        self.kept, self.joined, self.lies = kept, joined, ""
        super().__init__(name, objects)
        self.capabilities = replace(self.capabilities, stored_checksum=frozenset({kept or joined}))

    def put(self, key: str, body: bytes, mtime: object = None) -> ObjectInfo:
        info = super().put(key, body)
        self.infos[key] = info._replace(checksums={self.kept: _value(self.kept, body)} if self.kept else {})
        return self.infos[key]

    async def joined_checksums(self, info: ObjectInfo) -> Mapping[str, str]:
        self.calls["joined_checksums"] += 1
        body = b"other" if info.key == self.lies else self.data[info.key]
        return {self.joined: _value(self.joined, body)} if self.joined else {}


def _value(algorithm: str, body: bytes) -> str:
    sums = Sums.of(body)
    return sums.crc64nvme if algorithm == "crc64nvme" else f"{sums.crc32c:08x}"


async def verified(
    source: MemoryStore, target: MemoryStore, index: Index, report: Path
) -> tuple[VerifyResult, list[dict[str, object]]]:
    result = await verify_dataset("d", source, target, index, re_read=False, report=report)
    return result, [json.loads(line) for line in report.read_text().splitlines()]


async def test_what_parts_combine_to_proves_without_reading(index: Index, tmp_path: Path) -> None:
    source, target = Keeps("gcs", FOUR, kept="crc32c"), Keeps("s3", joined="crc32c")
    await sync_round("d", source, target, index, RoundOptions(), Progress())
    source.calls.clear()
    target.calls.clear()
    result, lines = await verified(source, target, index, tmp_path / "evidence.jsonl")
    assert (result.checked, result.equal) == (4, 4)
    assert not source.calls["read"] + target.calls["read"]
    assert {(line["method"], line["algorithm"]) for line in lines} == {("combined_parts", "crc32c")}
    assert {line["key"]: (line["legacy"], line["target"]) for line in lines} == {
        key: (_value("crc32c", body),) * 2 for key, body in FOUR.items()
    }


async def test_parts_that_combine_to_another_value_are_a_difference(index: Index, tmp_path: Path) -> None:
    source, target = Keeps("gcs", FOUR, kept="crc32c"), Keeps("s3", joined="crc32c")
    await sync_round("d", source, target, index, RoundOptions(), Progress())
    target.lies = "k2"
    result, _ = await verified(source, target, index, tmp_path / "evidence.jsonl")
    assert [(p.key, p.problem) for p in result.problems] == [("k2", "differs")]


async def test_without_a_common_checksum_both_sides_are_read(index: Index, tmp_path: Path) -> None:
    source, target = Keeps("gcs", FOUR, kept="crc32c"), Keeps("s3", kept="crc64nvme")
    await sync_round("d", source, target, index, RoundOptions(), Progress())
    _, lines = await verified(source, target, index, tmp_path / "evidence.jsonl")
    assert {line["method"] for line in lines} == {"re_read"}


async def test_the_same_size_alone_is_never_called_equal(index: Index, tmp_path: Path) -> None:
    source, target = Keeps("a", FOUR), Keeps("b", {**FOUR, "k3": b"\x09\x03\x03\x03"})
    result, lines = await verified(source, target, index, tmp_path / "evidence.jsonl")
    assert [(p.key, p.problem) for p in result.problems] == [("k3", "differs")]
    assert not [line for line in lines if line["verdict"] == "equal" and line["method"] in ("size", "listing")]


def auditor_crc64nvme(data: bytes) -> str:
    """As docs/transfer.md describes it, with nothing of ours: CRC-64/NVME, bit by bit."""
    crc = 0xFFFF_FFFF_FFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x9A6C_9329_AC4B_C9B5 if crc & 1 else 0)
    return f"{crc ^ 0xFFFF_FFFF_FFFF_FFFF:016x}"


async def test_an_auditor_can_check_the_evidence_without_us(index: Index, tmp_path: Path) -> None:
    assert auditor_crc64nvme(b"123456789") == "ae8b14860a799888"
    for side in ("old", "new"):
        (tmp_path / side / "deep").mkdir(parents=True)
        for key, body in FOUR.items():
            (tmp_path / side / "deep" / key).write_bytes(body * 40)
    flipped = tmp_path / "new" / "deep" / "k3"
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\x02")
    (tmp_path / "new" / "deep" / "k0").write_bytes(b"")
    (tmp_path / "old" / "only").write_bytes(b"1")
    async with LocalStore("old", tmp_path / "old") as source, LocalStore("new", tmp_path / "new") as target:
        report = tmp_path / "evidence.jsonl"
        await verify_dataset("d", source, target, index, re_read=False, report=report)
    judged = {}
    for line in map(json.loads, report.read_text().splitlines()):
        sides = [tmp_path / side / line["key"] for side in ("old", "new")]
        if line["algorithm"] == "crc64nvme":
            assert [line["legacy"], line["target"]] == [auditor_crc64nvme(path.read_bytes()) for path in sides]
            assert (line["legacy"] == line["target"]) == (line["verdict"] == "equal")
        elif line["algorithm"] == "size":
            assert [line["legacy"], line["target"]] == [str(path.stat().st_size) for path in sides]
        else:
            assert [path.exists() for path in sides] == [True, False]
        judged[line["key"]] = line["verdict"]
    assert judged == {"deep/k0": "differs", "deep/k1": "equal", "deep/k2": "equal", "deep/k3": "differs", "only": "missing"}

"""Headers: those that the safetensors library writes are read, hostile ones are each a clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from backends.validation.checkpoint.safetensors import PREFIX, header_size, read_header
from backends.validation.checkpoint.shards import read_index
from backends.validation.errors import CheckpointRefused
from tests.backends.validation.checkpoint.conftest import compared, saved

FINE = save({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.int64)})


def read(data: bytes) -> dict[str, Any]:
    size = header_size(data[:PREFIX], len(data), "x")
    return {t.name: t for t in read_header(data[PREFIX : PREFIX + size], "x", len(data), "x")}


def made(header: Any, data: bytes = bytes(16)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (2, 2), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_what_the_library_writes_is_read() -> None:
    found = read(FINE)
    assert {(t.name, t.kind.name, t.shape) for t in found.values()} == {("a", "F32", (2, 3)), ("b", "I64", (4,))}
    assert np.frombuffer(FINE[found["a"].start :][: found["a"].size], "<f4").tolist() == [0, 1, 2, 3, 4, 5]


HOSTILE = {
    "a length beyond the file": ((1 << 62).to_bytes(8, "little") + b"{}", "the header says"),
    "no length": (b"\x02\0", "too short"),
    "no JSON": (made(b"[1"), "no JSON"),
    "deep JSON": (made(b"[" * 100_000), "no JSON"),
    "digits without end": (made(b'{"a":{"shape":[' + b"9" * 9999 + b"]}}"), "no JSON"),
    "a list": (made([1]), "no JSON object"),
    "a name given twice": (made(b'{"a":1,"a":2}'), "twice"),
    "overlapping": (made({"a": entry(offsets=(0, 16)), "b": entry(shape=(2,), offsets=(8, 16))}), "overlap"),
    "a hole": (made({"a": entry(shape=(2,), offsets=(8, 16))}), "belong to no tensor"),
    "bytes at the end": (made({"a": entry(shape=(2,), offsets=(0, 8))}), "at the end belong to no tensor"),
    "past the end": (made({"a": entry(shape=(2, 4), offsets=(0, 32))}), "ends 16 bytes after the file"),
    "backwards": (made({"a": entry(offsets=(16, 0))}), "no begin and end"),
    "negative": (made({"a": entry(offsets=(-16, 0))}), "no begin and end"),
    "a shape that does not fit": (made({"a": entry(shape=(3, 2))}), "its offsets 16"),
    "a shape beyond all files": (made({"a": entry(shape=(2**62, 2**62))}), "more than any file holds"),
    "a shape of truths": (made({"a": entry(shape=(True, 4))}), "no list of whole numbers"),
    "an unknown dtype": (made({"a": entry(dtype="F128")}), "dtype F128 is not known"),
    "a path": (made({"../../etc/passwd": entry()}), "is a path"),
    "an absolute path": (made({"/etc/passwd": entry()}), "is a path"),
    "half a byte": (made({"a": entry(dtype="F4", shape=(3,), offsets=(0, 1))}), "no whole number of bytes"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_a_clear_error(case: str) -> None:
    data, words = HOSTILE[case]
    with pytest.raises(CheckpointRefused, match=words):
        read(data)


@given(st.binary(max_size=8), st.integers(0, len(FINE) - 1), st.integers(0, len(FINE)))
def test_no_bytes_whatever_raise_anything_else(more: bytes, at: int, end: int) -> None:
    broken = (FINE[:at] + more + FINE[at + len(more) :])[:end]
    try:
        for tensor in read(broken).values():
            assert 0 <= tensor.start <= tensor.start + tensor.size <= len(broken)
    except CheckpointRefused:
        pass


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/passwd", "sub/x.safetensors", "..\\x", ".hidden", "", 3, "a\0b"])
def test_an_index_never_leads_out_of_its_folder(file: Any) -> None:
    with pytest.raises(CheckpointRefused, match="not a file of this folder"):
        read_index(json.dumps({"weight_map": {"a": file}}).encode(), "x")


async def test_shards_are_followed_by_the_index_and_may_be_cut_otherwise_on_the_other_side(
    tmp_path: Path, weights: dict[str, Any]
) -> None:
    one = saved(tmp_path / "one" / "model.safetensors", weights).parent
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    where = {"a.weight": names[0], "b.bias": names[1], "c.table": names[0]}
    for name in names:
        saved(tmp_path / "two" / name, {k: v for k, v in weights.items() if where[k] == name})
    index = tmp_path / "two" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": where}))
    report = await compared(one, tmp_path / "two")
    assert report.verdict == "PASS"
    assert len(report.tensors) == 3

    index.write_text(json.dumps({"weight_map": where | {"d": names[0]}}))
    with pytest.raises(CheckpointRefused, match="does not hold d"):
        await compared(one, tmp_path / "two")
    index.write_text(json.dumps({"weight_map": where}))
    (tmp_path / "two" / names[1]).unlink()
    with pytest.raises(CheckpointRefused, match=f"shard {names[1]} is missing"):
        await compared(one, tmp_path / "two")


async def test_one_name_in_two_shards_is_an_error(tmp_path: Path, weights: dict[str, Any]) -> None:
    for name in ("one", "two"):
        saved(tmp_path / "x" / f"{name}.safetensors", weights)
    with pytest.raises(CheckpointRefused, match=r"is in one.safetensors as well"):
        await compared(tmp_path / "x", tmp_path / "x")

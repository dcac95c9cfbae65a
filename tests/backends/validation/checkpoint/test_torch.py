"""PyTorch's files, written by a real torch (tests/fixtures/torch/make_torch.py), read without torch and without unpickling."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.validation.checkpoint.pairs import in_order
from backends.validation.checkpoint.pickled import read_pickle
from backends.validation.checkpoint.side import LocalSide
from backends.validation.checkpoint.table import read_table
from backends.validation.checkpoint.tensor import Table
from backends.validation.checkpoint.torch_table import described
from backends.validation.errors import CheckpointRefused
from tests.backends.validation.checkpoint.conftest import TORCH, compared


async def table(path: Path) -> Table:
    async with LocalSide(path) as side:
        return await read_table(side, is_one=side.is_one)


async def refused(path: Path) -> str:
    with pytest.raises(CheckpointRefused) as caught:
        await compared(path, path)
    return caught.value.message


async def test_tensors_of_every_make_are_found_where_they_lie() -> None:
    found = (await table(TORCH / "plain.pt")).tensors
    data = (TORCH / "plain.pt").read_bytes()

    def values(name: str, dtype: str) -> Any:
        tensor = found[name]
        return np.frombuffer(in_order(tensor, data[tensor.start : tensor.start + tensor.size]), dtype).reshape(tensor.shape)

    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(values("turned", "<f4"), base.T)
    np.testing.assert_array_equal(values("part", "<f4"), base[1:3])
    np.testing.assert_array_equal(values("column", "<f4"), base[:, 1])
    np.testing.assert_array_equal(values("spread", "<f4"), [1.5] * 5)
    np.testing.assert_array_equal(values("parameter", "<f4"), base[0])
    np.testing.assert_array_equal(values("half", "<f2"), (base / 7).astype(np.float16))
    np.testing.assert_array_equal(values("ints", "<i8"), [[-(2**62), 2**62]])
    assert values("scalar", "<f8") == 3.5
    assert {name: t.kind.name for name, t in found.items()} | {"bf16": "BF16", "flags": "BOOL", "complex": "C64"} == {
        name: t.kind.name for name, t in found.items()
    }
    assert found["empty"].shape == (0, 3)


async def test_a_training_state_is_told_and_what_it_needs_to_go_on() -> None:
    found = await table(TORCH / "resume.pt")
    assert found.values["global_step"] == 2
    assert found.values["args.lr"] == 0.01  # an argparse.Namespace: written down, not made
    assert found.values["optimizer.param_groups.0.lr"] == 0.01
    report = await compared(TORCH / "resume.pt", TORCH / "later.pt")
    assert {part.part: (part.legacy, part.target) for part in report.resume} == {
        "optimizer": ("optimizer.state.0.step",) * 2,
        "step": ("global_step",) * 2,
        "rng": ("rng_state",) * 2,
        "data": ("sampler.seed",) * 2,
    }
    assert next(p.values for p in report.resume if p.part == "step") == (2, 3)
    assert [(v.name, v.legacy, v.target) for v in report.values] == [("global_step", 2, 3), ("sampler.position", 16, 24)]
    assert report.verdict == "BREACH"


async def test_a_checkpoint_equals_itself_to_the_bit() -> None:
    for name in ("plain.pt", "resume.pt"):
        report = await compared(TORCH / name, TORCH / name)
        assert report.verdict == "PASS", report.reason


async def test_what_target_lacks_for_going_on_is_a_breach(tmp_path: Path) -> None:
    for side, names in (("old", ("model.pt", "optimizer.pt")), ("new", ("model.pt",))):
        (tmp_path / side).mkdir()
        for name in names:
            shutil.copy(TORCH / "plain.pt", tmp_path / side / name)
    report = await compared(tmp_path / "old", tmp_path / "new", ignored=["optimizer.pt:*"])
    assert report.reason == "training cannot go on from target: no optimizer state"


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/cutover-was-unpickled",)


def rezipped(path: Path, pickled: bytes, **more: Any) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(zipfile.ZipInfo("x/data.pkl"), pickled, **more)
        out.writestr(zipfile.ZipInfo("x/data/0"), bytes(16))
    return path


@pytest.mark.parametrize("protocol", range(2, 6))
async def test_what_a_pickle_would_call_is_written_down_and_not_called(tmp_path: Path, protocol: int) -> None:
    node = read_pickle(pickle.dumps({"weights": _Evil()}, protocol), "x")
    assert node["weights"].name == f"{os.mkdir.__module__}.mkdir"
    assert described(node, "x")[1]["weights.args.0"] == "/tmp/cutover-was-unpickled"
    assert not Path("/tmp/cutover-was-unpickled").exists()
    assert await refused(rezipped(tmp_path / "evil.pt", pickle.dumps(_Evil(), protocol))) == "no tensor in it"


@pytest.mark.parametrize("opcode", [b"i__builtin__\neval\n", b"c__builtin__\neval\n(S'1'\no", b"\x82\x01", b"Pid\n"])
def test_opcodes_that_torch_does_not_write_are_refused_by_name(opcode: bytes) -> None:
    with pytest.raises(CheckpointRefused, match=r"opcode (INST|STRING|OBJ|EXT1|PERSID)"):
        read_pickle(b"\x80\x02(" + opcode + b".", "x")


def test_a_structure_that_holds_itself_comes_to_an_end() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    assert described(read_pickle(pickle.dumps(ring), "x"), "x")[1] == {"0": 1, "1": "itself"}
    laughs: Any = "ha"
    for _ in range(60):
        laughs = [laughs] * 10
    with pytest.raises(CheckpointRefused, match="more than 200,000 plain values"):
        described(read_pickle(pickle.dumps(laughs), "x"), "x")


PLAIN = (TORCH / "plain.pt").read_bytes()
PICKLE = zipfile.ZipFile(io.BytesIO(PLAIN)).read("plain/data.pkl")


@given(st.integers(0, len(PICKLE)), st.binary(max_size=6))
@settings(max_examples=150)
def test_no_pickle_whatever_raises_anything_else(at: int, more: bytes) -> None:
    try:
        tensors, _ = described(read_pickle(PICKLE[:at] + more + PICKLE[at + len(more) :], "x"), "x")
        list(tensors)
    except CheckpointRefused:
        pass


@given(at=st.integers(0, len(PLAIN)), more=st.binary(max_size=6), cut=st.booleans())
@settings(max_examples=60)
def test_no_file_whatever_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, at: int, more: bytes, cut: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.pt"
    path.write_bytes(PLAIN[:at] if cut else PLAIN[:at] + more + PLAIN[at + len(more) :])

    async def main() -> None:
        report = await compared(path, TORCH / "plain.pt")
        assert report.verdict in ("PASS", "BREACH")

    with contextlib.suppress(CheckpointRefused):
        asyncio.run(main())


async def test_old_torch_files_compressed_ones_and_storages_that_are_too_short_are_clear_errors(tmp_path: Path) -> None:
    assert "no zip file of torch.save" in await refused(TORCH / "legacy.pt")
    assert "is compressed" in await refused(rezipped(tmp_path / "small.pt", PICKLE, compress_type=zipfile.ZIP_DEFLATED))
    one_storage = re.sub(rb"X\x01\0\0\0[1-9]|X\x02\0\0\x001[01]", b"X\x01\0\0\x000", PICKLE)
    assert "of a storage that has 16" in await refused(rezipped(tmp_path / "short.pt", one_storage))

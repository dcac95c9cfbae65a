"""Secrets from one manager to another: what is there is compared, what lacks is written and read back, and nothing is shown."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import stat
from pathlib import Path

import pytest

from backends.plan.models import SecretCopy
from backends.secrets.copying import Salt, Standing, settle
from tests.backends.secrets.test_managers import vault, write
from tests.peers.ministack import MiniStack
from tests.peers.secret_managers import Kept

VALUE = "correct horse battery"


async def settled(tmp_path: Path, from_: str, to: str, **how: bool) -> Standing:
    copy = SecretCopy.model_validate({"name": "db", "from": from_, "to": to})
    found = await asyncio.to_thread(settle, copy, Salt(), base=tmp_path, **how)
    assert VALUE not in json.dumps(dataclasses.asdict(found), default=str)
    return found


async def test_from_aws_to_google_and_on_to_azure(aws: MiniStack, google: Kept, azure: Kept, tmp_path: Path) -> None:
    await write("${aws-secret:copied/db}", json.dumps({"user": "u", "password": VALUE}))
    first = "${aws-secret:copied/db#password}", "${gcp-secret:proj/db}"
    assert (await settled(tmp_path, *first)).state == "missing"
    assert google.secrets == {}, "a look writes nothing"
    assert (await settled(tmp_path, *first, write=True)).state == "copied"
    assert google.secrets == {"db": [VALUE]}
    assert (await settled(tmp_path, *first, write=True)).state == "equal"
    assert (await settled(tmp_path, first[1], vault(azure, "db"), write=True)).state == "copied"
    assert azure.secrets == {"db": [VALUE]}


async def test_another_value_stays_until_it_is_to_be_replaced(google: Kept, azure: Kept, tmp_path: Path) -> None:
    google.secrets["db"] = [VALUE]
    azure.secrets["db"] = ["of somebody else"]
    pair = "${gcp-secret:proj/db}", vault(azure, "db")
    assert (await settled(tmp_path, *pair, write=True)).state == "differs"
    assert azure.secrets == {"db": ["of somebody else"]}
    assert (await settled(tmp_path, *pair, write=True, overwrite=True)).state == "copied"
    assert azure.secrets == {"db": ["of somebody else", VALUE]}


async def test_a_field_is_written_beside_the_others_of_its_secret(google: Kept, tmp_path: Path) -> None:
    google.secrets["db"] = ['{"user": "u"}']
    (tmp_path / "key").write_text(VALUE)
    assert (await settled(tmp_path, "${file:key}", "${gcp-secret:proj/db#password}", write=True)).state == "copied"
    assert json.loads(google.secrets["db"][-1]) == {"user": "u", "password": VALUE}
    google.secrets["plain"] = ["no object"]
    refused = await settled(tmp_path, "${file:key}", "${gcp-secret:proj/plain#password}", write=True)
    assert (refused.state, google.secrets["plain"]) == ("unreadable", ["no object"])


async def test_a_file_is_its_owners_only(google: Kept, tmp_path: Path) -> None:
    google.secrets["db"] = [VALUE]
    assert (await settled(tmp_path, "${gcp-secret:proj/db}", "${file:key}", write=True)).state == "copied"
    assert (tmp_path / "key").read_text() == VALUE
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]
    found = await settled(tmp_path, "${gcp-secret:proj/db}", "${file:none/key}", write=True)
    assert (found.state, "none" in found.reason) == ("unreadable", True)


async def test_what_cannot_be_read_is_told_and_nothing_is_written(google: Kept, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(VALUE)
    google.refuse = 403
    found = await settled(tmp_path, "${file:key}", "${gcp-secret:proj/db}", write=True)
    assert (found.state, google.secrets) == ("unreadable", {})
    assert (await settled(tmp_path, "${env:CUTOVER_TEST_NONE}", "${gcp-secret:proj/db}")).state == "unreadable"


@pytest.mark.parametrize("value", ["a", "", VALUE])
def test_proofs_of_one_run_are_equal_where_values_are_and_tell_nothing_in_another(value: str) -> None:
    salt = Salt()
    assert salt.proof(value) == salt.proof(value) != salt.proof(value + "x")
    assert salt.proof(value) != Salt().proof(value)

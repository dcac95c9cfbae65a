"""The folder of a sandbox: never somebody else's, never two at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.sandbox.errors import FolderNotOurs, SandboxError
from backends.sandbox.layout import claim


def test_a_folder_that_holds_something_foreign_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FolderNotOurs, match=r"thesis\.tex") as caught:
        claim(tmp_path, 0)
    assert caught.value.exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderNotOurs, match="not a folder"):
        claim(tmp_path / "file", 0)


def test_two_sandboxes_do_not_share_a_folder_and_another_seed_gets_its_own(tmp_path: Path) -> None:
    first = claim(tmp_path / "dir", 0)
    with pytest.raises(SandboxError, match="already running"):
        claim(tmp_path / "dir", 0)
    ports = dict(first.ports)
    first.close()
    with pytest.raises(FolderNotOurs, match="another seed"):
        claim(tmp_path / "dir", 1)
    again = claim(tmp_path / "dir", 0)
    assert again.ports == ports
    again.close()


def test_private_keys_are_private_and_kept(tmp_path: Path) -> None:
    first = claim(tmp_path / "dir", 0)
    key = (tmp_path / "dir" / "id_ed25519").read_bytes()
    first.close()
    claim(tmp_path / "dir", 0).close()
    assert (tmp_path / "dir" / "id_ed25519").read_bytes() == key
    assert (tmp_path / "dir" / "id_ed25519").stat().st_mode & 0o077 == 0
    assert (tmp_path / "dir" / "keys").stat().st_mode & 0o077 == 0

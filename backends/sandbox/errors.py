"""Errors of the sandbox.

CutoverError
├── UsageError
│   └── FolderNotOurs     the folder holds something that no sandbox put there
└── CouldNot
    └── SandboxError      a part of the sandbox did not come up
"""

from __future__ import annotations

from backends.errors import CouldNot, UsageError


class FolderNotOurs(UsageError):
    """The folder holds something that no sandbox put there, or another seed's world."""

    code = "folder_not_ours"


class SandboxError(CouldNot):
    """A part of the sandbox did not come up, or the folder is in use."""

    code = "sandbox_failed"

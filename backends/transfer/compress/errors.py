"""Errors of compression.

CutoverError
└── CouldNot
    └── Damaged
        └── NotSeekable  what should be compressed frames with a table is not, or is damaged
"""

from __future__ import annotations

from backends.transfer.errors import Damaged


class NotSeekable(Damaged):
    code = "not_seekable"

"""Errors of the catalogue.

UsageError
└── UnknownGpu   no GPU of that name, or several: the message names those that were near
"""

from __future__ import annotations

from backends.errors import UsageError


class UnknownGpu(UsageError):
    """The name fits none or more than one."""

    code = "unknown_gpu"

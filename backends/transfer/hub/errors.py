"""Errors of the way through a hub.

CutoverError
└── CouldNot
    └── HubObjectGone  what had arrived on the hub is not there any more, or is another: it is sent again
"""

from __future__ import annotations

from backends.errors import CouldNot


class HubObjectGone(CouldNot):
    code = "hub_object_gone"

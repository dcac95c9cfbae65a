"""The writer's token asked before anything is copied."""

from __future__ import annotations

from backends.errors import RefusedByRule


def check_token(writer: str, dataset: str, direction: str, *, has_engine: bool = True) -> None:
    """SR2: nothing is copied onto the side that holds the token. Raises `RefusedByRule`.

    Without a migration's journal (`has_engine` false) legacy writes, as before any handover.
    """
    onto = "target" if direction == "forward" else "legacy"
    if writer == onto:
        hint = "cutover status shows the tokens" if has_engine else "reverse sync is for after a handover"
        raise RefusedByRule("SR2", f"{onto} writes {dataset}: nothing is copied onto it", hint=hint)

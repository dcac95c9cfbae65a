"""One secret of a store, from what the plan writes of it."""

from __future__ import annotations

from pathlib import Path

from backends.errors import CutoverError
from backends.plan.references import resolve
from backends.stores.errors import StoreDenied


def plan_secret(store: str, field: str, text: str, *, base: Path) -> str:
    """With its references resolved, read from the environment and from files below `base`. Raises `StoreDenied` naming the field."""
    try:
        return resolve(text, base=base).strip()
    except CutoverError as error:
        raise StoreDenied(f"store {store}: {field}: {error.message}", hint=error.hint) from error

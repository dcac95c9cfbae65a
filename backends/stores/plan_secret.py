"""One secret of a store, from what the plan writes of it, and the errors of secrets as errors of stores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from backends.errors import CutoverError
from backends.plan.errors import ResolveError
from backends.secrets.errors import SecretUnreachable
from backends.secrets.resolve import resolve
from backends.stores.errors import StoreDenied, StoreUnreachable


def plan_secret(store: str, field: str, text: str, *, base: Path, anew: bool = False) -> str:
    """With its references resolved, relative files below `base`; `anew` where a server refused the last. Blocking. Raises `StoreDenied` naming the field, and `StoreUnreachable`."""
    try:
        return resolve(text, base=base, anew=anew).strip()
    except SecretUnreachable as error:
        raise StoreUnreachable(f"store {store}: {field}: {error.message}", hint=error.hint) from error
    except CutoverError as error:
        raise StoreDenied(f"store {store}: {field}: {error.message}", hint=error.hint) from error


@contextlib.contextmanager
def of_store() -> Iterator[None]:
    """Errors of credentials inside it are the store's: tried again or not, as those are."""
    try:
        yield
    except SecretUnreachable as error:
        raise StoreUnreachable(error.message, hint=error.hint) from error
    except ResolveError as error:
        raise StoreDenied(error.message, hint=error.hint) from error

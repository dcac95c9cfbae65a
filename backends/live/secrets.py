"""References of the plan, resolved and forgotten; secrets of target beside legacy's, compared by hash and not copied."""

from __future__ import annotations

import asyncio
from pathlib import Path

from backends.errors import CutoverError
from backends.live.found import Found
from backends.plan.models import Plan, SecretCopy
from backends.plan.references import is_literal
from backends.plan.rules.secrets import secret_texts
from backends.secrets.copying import Salt, settle
from backends.secrets.resolve import resolve

LIMIT = 40.0
AT_ONCE = 8
_CURE = "the reference, and the rights of who runs this"


async def try_secrets(plan: Plan, base: Path) -> list[Found]:
    """Each that does not resolve, is missing on target, or is another there. No value is kept or told."""
    turn, salt = asyncio.Semaphore(AT_ONCE), Salt()

    async def reference(path: tuple[str | int, ...], text: str) -> Found | None:
        message = "a secret of the plan does not resolve"
        try:
            async with asyncio.timeout(LIMIT), turn:
                await asyncio.to_thread(resolve, text, base=base)
        except CutoverError as error:
            return Found("error", "secret", message, error.message, error.hint or _CURE, path)
        except TimeoutError:
            return Found("error", "secret", message, f"nobody answers within {LIMIT:.0f} s", _CURE, path)
        return None

    async def copy(index: int, wanted: SecretCopy) -> Found | None:
        path = ("secrets", index)
        try:
            async with asyncio.timeout(LIMIT), turn:
                stands = await asyncio.to_thread(settle, wanted, salt, base=base)
        except TimeoutError:
            told = f"nobody answers within {LIMIT:.0f} s"
            return Found("error", "secret", f"secret {wanted.name} cannot be read", told, _CURE, path)
        if stands.state == "equal":
            return None
        if stands.state == "missing":
            cure = "cutover secrets --copy carries it over"
            return Found(
                "error",
                "secret_missing",
                f"secret {wanted.name} is not there for target",
                f"{stands.to} holds nothing",
                cure,
                path,
                "target",
            )
        if stands.state == "differs":
            text = f"{stands.from_} and {stands.to} hold different values"
            return Found(
                "warning",
                "secret_differs",
                f"secret {wanted.name} is another on target",
                text,
                "that may be meant; see cutover secrets",
                path,
                "target",
            )
        return Found("error", "secret", f"secret {wanted.name} cannot be read", stands.reason, "rights of who runs this", path)

    texts = [(path, text) for path, text in secret_texts(plan) if not is_literal(text) and path[0] != "secrets"]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reference(path, text)) for path, text in texts]
        tasks += [group.create_task(copy(i, wanted)) for i, wanted in enumerate(plan.secrets)]
    return [found for task in tasks if (found := task.result()) is not None]

"""Lowering legacy's capacity by the plan's commands: where they run, what they said, and whether it is so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from backends.children import Children
from backends.errors import CouldNot
from backends.escape import plain
from backends.plan.models import Plan, RetireStep
from backends.ssh.pool import SshPool


class LoweringFailed(CouldNot):
    """The command that lowers legacy's capacity did not succeed."""

    code = "lowering_failed"


class Retiring:
    """The commands of `retire`. What was sent in this process is remembered where the plan gives no way to ask."""

    def __init__(self, plan: Plan, base: Path, children: Children, ssh: SshPool) -> None:
        self._plan = plan
        self._base = base
        self._children = children
        self._ssh = ssh
        self._sent: set[float] = set()

    async def lower(self, to: float) -> None:
        """Run the command of this step. Raises `LoweringFailed`."""
        step = self._step(to)
        failed = await self._run(step.command)
        if failed:
            raise LoweringFailed(f"legacy was not lowered to {to * 100:g} %: {failed}", where="retire.steps")
        self._sent.add(to)

    async def lowered(self, to: float) -> tuple[bool, str]:
        """Is it so, and how that is known."""
        step = self._step(to)
        if step.check is not None:
            failed = await self._run(step.check)
            return not failed, failed or f"`{plain(step.check[0], 80)}` says so"
        return to in self._sent, "its command succeeded" if to in self._sent else "nothing tells whether it is so"

    def _step(self, to: float) -> RetireStep:
        for step in self._plan.retire.steps:
            if step.to == to:
                return step
        raise LoweringFailed(f"the plan has no retire step to {to * 100:g} %", where="retire.steps")

    async def _run(self, argv: Sequence[str]) -> str:
        """Empty where it ended with 0 everywhere, else what went wrong."""
        retire = self._plan.retire
        if retire.on == "engine":
            child = await self._children.run(argv, cwd=self._base, timeout=retire.timeout)
            return _said(argv, "the engine", child.exit_status, child.stderr or child.stdout)
        hosts = [h.name for h in self._plan.legacy.hosts]
        results = await asyncio.gather(*(self._ssh.run(h, argv, timeout=retire.timeout) for h in hosts))
        told = [_said(argv, h, r.exit_status, r.stderr or r.stdout) for h, r in zip(hosts, results, strict=True)]
        return "; ".join(t for t in told if t)


def _said(argv: Sequence[str], place: str, status: int, output: bytes) -> str:
    if status == 0:
        return ""
    text = plain(output.strip()[:200])
    return f"`{plain(argv[0], 80)}` on {place} ended with {status}" + (f": {text}" if text else "")

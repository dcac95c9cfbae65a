"""A workload that is a systemd unit, on each host of its side: `systemctl`, of the system's manager or of the user's own.

`systemctl show` prints `Name=value` lines in an order of its own (measured on 252). A user's own manager is found by XDG_RUNTIME_DIR, which
an SSH session has only where pam_systemd gives it; the same path is tried by the user's id where it is not set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backends.errors import CouldNot
from backends.escape import plain
from backends.plan.ways import SystemdUnit, Way
from backends.ssh.place import Places, Said, shown
from backends.vocabulary import SideName
from backends.workloads.base import NoWay, Outcome, RunState, Standing, WorkloadError
from backends.workloads.waiting import ASK_TIMEOUT

_ASKED = ("LoadState", "ActiveState", "SubState", "Result", "TriggeredBy")
_STATES: dict[str, RunState] = {
    "active": "running",
    "reloading": "running",
    "activating": "running",  # it may write already, and auto-restart goes on by itself
    "deactivating": "draining",
    "inactive": "quiesced",
    "failed": "quiesced",  # nothing of it runs; how it ended is told
}
_IN_SESSION = 'XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" exec systemctl "$@"'


@dataclass(frozen=True, slots=True)
class UnitState:
    """What `systemctl show` says of a unit."""

    load: str
    active: str
    sub: str
    result: str
    triggered_by: tuple[str, ...] = ()

    @property
    def state(self) -> RunState:
        return _STATES.get(self.active, "unknown") if self.load == "loaded" else "unknown"

    @property
    def text(self) -> str:
        how = f", {self.result}" if self.result not in ("", "success") else ""
        return f"{self.active}, {self.sub}{how}" if self.load == "loaded" else self.load


def parse_show(text: str) -> UnitState:
    """The answer of `systemctl show`. Raises ValueError where it is none: a line missing, twice, or of another form."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not equals or name not in _ASKED or name in found:
            raise ValueError(f"an odd line `{plain(line, 80)}`")
        found[name] = value
    for name in _ASKED[:3]:
        if not re.fullmatch(r"[a-z][a-z-]*", found.get(name, "")):
            raise ValueError(f"no {name}")
    load, active, sub, result = (plain(found.get(name, ""), 40) for name in _ASKED[:4])
    return UnitState(load, active, sub, result, tuple(plain(word, 80) for word in found.get("TriggeredBy", "").split()))


class SystemdSide:
    """One workload on one side, as a unit."""

    def __init__(self, name: str, side: SideName, way: Way, unit: SystemdUnit, places: Places) -> None:
        self._name, self._side, self._way, self._unit, self._places = name, side, way, unit, places

    async def quiesce(self) -> Outcome:
        return await self._act("stop", "stopped")

    async def resume(self, pinned: Mapping[str, Any]) -> Outcome:
        return await self._act("start", "started")

    async def stop_new_work(self) -> Outcome:
        raise NoWay(
            f"workload {self._name} on {self._side}: a unit cannot be told to take nothing new, only to stop",
            where=f"workloads.{self._name}.quiesce.systemd",
            hint="quiesce it, or use command with `drain` and `idle`",
        )

    async def drain(self) -> Outcome:
        return await self.stop_new_work()

    async def look(self) -> Standing:
        units = await self._show()
        states = {unit.state if isinstance(unit, UnitState) else "unknown" for unit in units.values()}
        detail = "; ".join(
            f"{self._unit.unit} on {shown(host)}: {unit.text if isinstance(unit, UnitState) else unit.message}"
            for host, unit in units.items()
        )
        for state in ("running", "draining", "unknown"):
            if state in states:
                return Standing(state, detail, False if state != "unknown" else None)
        return Standing("quiesced", detail, True)

    async def pin(self) -> dict[str, Any]:
        return {}

    async def _act(self, verb: str, done: str) -> Outcome:
        answers = await self._places.run_all(self._argv(verb, "--", self._unit.unit), self._way.timeout)
        failures = [f"on {shown(host)} {text}" for host, answer in answers.items() if (text := self._failure(verb, answer))]
        if failures:
            raise WorkloadError(
                f"workload {self._name} on {self._side} is not {done}: {'; '.join(failures)}",
                where=f"workloads.{self._name}.quiesce.systemd",
                hint=self._hint(" ".join(failures)),
            )
        seen = await self.look()
        text = f"{self._name} {done} on {self._side}: {seen.detail}"
        units = [unit for unit in (await self._show()).values() if isinstance(unit, UnitState)]
        triggers = sorted({trigger for unit in units for trigger in unit.triggered_by})
        if verb == "stop" and triggers:
            text += f"; {', '.join(triggers)} can start it again"
        return Outcome(text, seen)

    async def _show(self) -> dict[str | None, UnitState | CouldNot]:
        argv = self._argv("show", f"--property={','.join(_ASKED)}", "--", self._unit.unit)
        answers = await self._places.run_all(argv, min(self._way.timeout, ASK_TIMEOUT))
        return {host: self._unit_state(answer) for host, answer in answers.items()}

    def _unit_state(self, answer: Said | CouldNot) -> UnitState | CouldNot:
        if isinstance(answer, CouldNot):
            return answer
        if answer.status != 0:
            return WorkloadError(f"systemctl ended with {answer.status}: {answer.words}", hint=self._hint(answer.words))
        try:
            return parse_show(answer.out)
        except ValueError as error:
            return WorkloadError(f"systemctl answered {error}")

    def _argv(self, verb: str, *words: str) -> tuple[str, ...]:
        argv = ("--no-ask-password", "--no-pager", verb, *words)
        if self._unit.user:
            return ("sh", "-c", _IN_SESSION, "systemctl", "--user", *argv)
        return ("systemctl", *argv)

    def _failure(self, verb: str, answer: Said | CouldNot) -> str:
        if isinstance(answer, CouldNot):
            return answer.message
        return "" if answer.status == 0 else f"`systemctl {verb}` ended with {answer.status}: {answer.words}"

    def _hint(self, words: str) -> str:
        """The cure for what systemctl complains of."""
        low, unit = words.lower(), self._unit.unit
        if "interactive authentication required" in low or "access denied" in low:
            return f"give that host's user a polkit rule for {unit}, or make it a unit of the user's own (user: true)"
        if "is masked" in low:
            return f"somebody masked it: systemctl unmask {unit}, if it is to run again"
        if "not found" in low or "not loaded" in low:
            return f"there is no unit {unit} there: see its name, and `user: true` for a unit of the user's own"
        if "failed to connect to bus" in low or "not been booted with systemd" in low:
            return (
                "no manager answers there: loginctl enable-linger USER keeps a user's own one running" if self._unit.user else ""
            )
        return f"see journalctl -u {unit} there; it is safe to repeat"

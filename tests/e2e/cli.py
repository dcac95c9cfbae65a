"""The `cutover` command as a process of its own, with a home and a state folder of the test's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]
LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended and what it said."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which holds one JSON object and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The contract's error object."""
        body: dict[str, Any] = self.json["error"]
        assert {"code", "message", "where", "hint"} <= set(body), body
        return body

    def __str__(self) -> str:
        return f"cutover {' '.join(self.argv)} -> {self.code}\n{self.out}\n{self.err}"


@dataclass(slots=True)
class Cli:
    """Runs `cutover` with `--state` where one is given."""

    home: Path
    state: Path | None = None
    env: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {k: os.environ[k] for k in ("PATH", "LANG", "COVERAGE_PROCESS_START") if k in os.environ}
        return kept | {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "TERM": "xterm-256color"} | self.env

    def argv(self, *args: str) -> list[str]:
        return [*CUTOVER, *args, *(["--state", str(self.state)] if self.state is not None else [])]

    def __call__(self, *args: str, limit: float = LIMIT) -> Answer:
        """Run to the end; stdin is no terminal."""
        done = subprocess.run(
            self.argv(*args), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment(), timeout=limit
        )  # fmt: skip
        return Answer(args, done.returncode, done.stdout, done.stderr)

    def good(self, *args: str, code: int = 0) -> Any:
        """Run with `--json`, see that it ends with `code`; its object."""
        answer = self(*args, "--json")
        assert answer.code == code, str(answer)
        return answer.json

    def status(self) -> Any:
        return self.good("status")

    def until(self, condition: Any, seconds: float = 90.0) -> Any:
        """Ask for the status until `condition(status)` holds; returns it."""
        deadline = time.monotonic() + seconds
        while not condition(now := self.status()):
            assert time.monotonic() < deadline, now["events"][:8]
            time.sleep(0.2)
        return now

    def advance(self, *, until: Any, seconds: float = 120.0) -> Any:
        """Advance again and again, as the gates and the soak allow, until `until(answer)` holds for one that was confirmed."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self("advance", "--json", "--reason", "by hand")
            if answer.code == 0 and until(answer.json):
                return answer.json
            allowed = ("BUSY", "GATE", "SOAK", "SR3", "SR5", "WINDOW")  # BUSY: the engine has just been started
            assert answer.code == 0 or answer.error["refused_by"] in allowed, str(answer)
            assert time.monotonic() < deadline, str(answer)
            time.sleep(0.2)

    @contextlib.contextmanager
    def started(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on, ended with the block."""
        with subprocess.Popen(
            self.argv(*args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment()
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def end_engine(self) -> None:
        """Whatever state it is in: no engine is left after a test."""
        answer = self("status", "--json")
        engine = answer.json.get("engine") if answer.code == 0 else None
        if engine is not None and self("down", "--anyway").code != 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine["pid"], signal.SIGKILL)


def weights(status: Any) -> dict[str, Sequence[int | None]]:
    """What is wanted and what is seen of each route, from a status."""
    return {r["name"]: (r["desired"], r["observed"]) for r in status["routes"]}

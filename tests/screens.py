"""Screenshots of the console from made snapshots (`make screens`), and a live run to look at.

python -m tests.screens                     docs/screens/*.svg
python -m tests.screens --live [--spans 0]  the console on a made engine that moves twice a second
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backends.live.look import Looked
from backends.live.scope import Scope
from backends.plan.load import CheckedPlan
from backends.snapshot import EventView, Level, PreviewView, RunView, Snapshot, State, StepView
from console import spans
from console.app import CutoverApp
from console.attach import run_console
from console.live_view import LiveView
from console.planning import PlanningApp
from console.terminal import Terminal
from tests.console.link import STEPS, MadeLink, rollback_preview
from tests.fixtures.live_findings import looked, write_plan
from tests.fixtures.plan_moments import proving, retiring
from tests.fixtures.snapshots import soaking
from themes.themes import THEMES

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "screens"
ACTOR = "ops@bastion1"


async def shoot(
    path: Path,
    *,
    size: tuple[int, int],
    theme: str = "cutover-dark",
    keys: tuple[str, ...] = (),
    moment: Callable[[], Snapshot] = soaking,
) -> None:
    """One screenshot of a made moment, the one at 25 % where none is named."""
    link = MadeLink(moment())
    terminal = Terminal(theme=theme, mouse=False, ascii_only=False, no_colour=False)
    app = CutoverApp(link, actor=ACTOR, terminal=terminal)
    async with app.run_test(size=size) as pilot:
        while app.view.snapshot is None:
            await pilot.pause(0.02)
        await pilot.press(*keys)
        await pilot.pause(0.2)
        path.write_text(self_contained(app.export_screenshot(title="cutover attach chat-2026")))


async def shoot_live_check(path: Path) -> None:
    """The findings of a live check, made ones, with some of them done."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.yaml"
        write_plan(plan)

        async def look(checked: CheckedPlan, scope: Scope | None) -> Looked:
            return looked(checked) if scope is None else looked(checked, ())

        live = LiveView(look, now=lambda: datetime(2026, 11, 29, 14, 3, 11, tzinfo=UTC))
        app = PlanningApp(plan, live=live)
        async with app.run_test(size=(120, 34)) as pilot:
            await pilot.press("4", "C")
            while live.looked is None:
                await pilot.pause(0.02)
            await pilot.press("space", "down", "down", "c")
            while not any(item.standing == "gone" for item in live.worklist.items):
                await pilot.pause(0.02)
            await pilot.pause(0.2)
            svg = self_contained(app.export_screenshot(title="cutover plan plan.yaml"))
            path.write_text(svg.replace(f"{folder}/", ""))


def self_contained(svg: str) -> str:
    """Without fonts from elsewhere: a picture must not ask the network for anything."""
    own = re.sub(r"@font-face \{.*?\n    \}", "", svg, flags=re.DOTALL)
    return own.replace("Fira Code, monospace", "'Fira Code', 'DejaVu Sans Mono', Menlo, Consolas, monospace")


async def shoot_all(folder: Path) -> list[Path]:
    """All pictures of docs/screens."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for theme in THEMES:
        made.append(folder / f"main-{theme.name.removeprefix('cutover-')}.svg")
        await shoot(made[-1], size=(120, 40), theme=theme.name)
    for width, height in ((80, 24), (200, 60)):
        made.append(folder / f"main-{width}x{height}.svg")
        await shoot(made[-1], size=(width, height))
    made.append(folder / "rollback-preview.svg")
    await shoot(made[-1], size=(100, 30), keys=("R",))
    for name, moment in (("plan-staging", proving), ("plan-decommission", retiring)):
        made.append(folder / f"{name}.svg")
        await shoot(made[-1], size=(120, 40), keys=("7",), moment=moment)
    made.append(folder / "live-check.svg")
    await shoot_live_check(made[-1])
    made.append(folder / "sign.svg")
    await shoot(made[-1], size=(100, 30), keys=("7", *["down"] * 6, "S"), moment=proving)
    return made


class MovingLink(MadeLink):
    """A made engine whose figures move, that runs a rollback step by step when it is ordered."""

    def __init__(self, beat: float = 0.5) -> None:
        super().__init__(soaking())
        self.beat = beat
        self.chance = random.Random(7)
        self.ticks = 0
        self.previews = lambda command, args: (
            rollback_preview(args.get("mode", "graceful"))
            if command == "rollback"
            else PreviewView(command=command, hash="a1", steps=(StepView(text=f"{command} chat"),), seconds=3)
        )

    async def play(self) -> None:
        """Tell a new snapshot each beat."""
        while True:
            await asyncio.sleep(self.beat)
            assert self.now is not None
            self.ticks += 1
            self.tell(moved(self.now, self.ticks, self.chance))

    async def command(self, name: str, args: dict[str, object] | None = None) -> dict[str, object]:
        self.ordered.append((name, args or {}))
        if name == "rollback":
            await self._roll_back()
            return {"state": "rolled_back"}
        return {"text": "confirmed"}

    async def _roll_back(self) -> None:
        assert self.now is not None
        started = self.now.at
        for done in range(len(STEPS) + 1):
            assert self.now is not None
            steps = tuple(_step(step, i, done) for i, step in enumerate(STEPS))
            over = done == len(STEPS)
            run = RunView(
                kind="rollback",
                mode="graceful",
                actor=ACTOR,
                started_at=started,
                ended_at=self.now.at if over else None,
                outcome="rolled_back" if over else None,
                steps=steps,
            )
            routes = tuple(r.model_copy(update={"desired": 0, "observed": 0 if done > 1 else 25}) for r in self.now.routes)
            state = State.ROLLED_BACK if over else State.ROLLING_BACK
            self.tell(self.now.model_copy(update={"state": state, "run": run, "routes": routes}))
            await asyncio.sleep(1.5)


def _step(step: StepView, index: int, done: int) -> StepView:
    status = "confirmed" if index < done else "running" if index == done else "waiting"
    return step.model_copy(update={"status": status})


def moved(snapshot: Snapshot, tick: int, chance: random.Random) -> Snapshot:
    """The next moment: figures wander as real ones do."""
    at = snapshot.at + timedelta(seconds=0.5)
    triggers = tuple(
        t.model_copy(update={"value": new, "history": (*t.history[1:], new)})
        if t.value is not None and (new := t.value + chance.uniform(-0.1, 0.1) * abs(t.limit or 1) * 0.1) is not None
        else t
        for t in snapshot.triggers
    )
    hosts = tuple(
        h.model_copy(
            update={
                "gpus": tuple(
                    g.model_copy(
                        update={
                            "utilization": (u := min(1.0, 0.93 + 0.05 * math.sin(tick / 5 + g.index))),
                            "history": (*g.history[1:], u),
                            "power_w": (g.power_limit_w or 400) * chance.uniform(0.88, 0.93),
                        }
                    )
                    for g in h.gpus
                )
            }
        )
        for h in snapshot.hosts
    )
    datasets = tuple(
        d.model_copy(
            update={
                "bytes_done": min(d.bytes_total or 0, d.bytes_done + int((d.rate or 0) * 0.5)),
                "rate": d.rate and d.rate * chance.uniform(0.97, 1.03),
            }
        )
        for d in snapshot.datasets
    )
    events = snapshot.events
    if tick % 12 == 0:
        new_event = EventView(
            seq=snapshot.seq + 1, at=at, kind="transfer", text=f"corpus round {tick}: 3 objects", level=Level.GOOD
        )
        events = (*events[-40:], new_event)
    changes = {"at": at, "triggers": triggers, "hosts": hosts, "datasets": datasets, "events": events}
    return snapshot.model_copy(update=changes)


class LiveLink(MovingLink):
    """Plays by itself as soon as somebody listens."""

    async def events(self) -> AsyncIterator[Snapshot]:
        player = asyncio.create_task(self.play(), name="made engine")
        try:
            async for snapshot in super().events():
                yield snapshot
        finally:
            player.cancel()


def live(with_spans: bool, theme: str | None) -> int:
    """The console in this terminal."""
    if not with_spans:
        spans.install = _no_spans  # type: ignore[assignment]
    return run_console(Path("/tmp/chat-2026"), "chat-2026", theme=theme, link=LiveLink())


def _no_spans() -> bool:
    return False


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--spans", type=int, default=1)
    parser.add_argument("--theme")
    options = parser.parse_args(argv)
    if options.live:
        sys.exit(live(bool(options.spans), options.theme))
    for path in asyncio.run(shoot_all(FOLDER)):
        print(path)


if __name__ == "__main__":
    main()

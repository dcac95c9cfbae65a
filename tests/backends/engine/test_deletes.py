"""SR4 where it acts: the engine's own world, over real trees, deletes by what the journal says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from backends.cutover.migration import Migration
from backends.engine.world import LiveWorld
from backends.plan.models import Dataset, Plan, Side, Store, Transfer
from backends.snapshot import State


@dataclass
class Keeper:
    """Keeps a fold, as the engine does."""

    migration: Migration = field(default_factory=Migration)

    def observed_now(self) -> float:
        return 0.0

    def stamp(self) -> float:
        return 0.0


def plan_of(folder: Path) -> Plan:
    for side in ("old", "new"):
        (folder / side).mkdir()
    stores = {side: Store(url=f"file://{folder}/{side}/") for side in ("old", "new")}
    spec = {"name": "corpus", "from": "old", "to": "new", "delete": "after-commit"}
    sides = {"legacy": Side(provider="a"), "target": Side(provider="b")}
    transfer = Transfer.model_validate({"max_delete": "50%"})
    return Plan(version=1, name="try", **sides, stores=stores, datasets=(Dataset.model_validate(spec),), transfer=transfer)  # type: ignore[arg-type]


async def test_sr4_the_engine_deletes_nothing_before_the_commit(tmp_path: Path) -> None:
    plan, keeper = plan_of(tmp_path), Keeper()
    for name in "abcd":
        (tmp_path / "old" / name).write_text(name)
    state = tmp_path / "state"
    state.mkdir()
    async with LiveWorld(plan, tmp_path, state, keeper) as world:
        await world.round("corpus", "forward")
        (tmp_path / "old" / "a").unlink()
        keeper.migration.state = State.DUAL
        held = await world.round("corpus", "forward")
        assert (held.deleted, held.deletes.deletable, held.deletes.rule) == (0, 1, "SR4")
        assert (tmp_path / "new" / "a").exists()
        keeper.migration.state = State.COMMITTED
        dry = await world.round("corpus", "forward", dry_run=True)
        assert (dry.deleted, dry.deletes.listed) == (0, ("a",))
        keeper.migration.token("corpus").was_target = True
        assert (await world.round("corpus", "forward")).deletes.rule == "SR4"
        keeper.migration.token("corpus").was_target = False
        assert (await world.round("corpus", "forward")).deleted == 1
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["b", "c", "d"]

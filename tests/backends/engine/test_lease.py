"""The lease on real places: a store with conditional writes, and a host behind SSH."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from backends.engine import lease as lease_module
from backends.engine.errors import JournalBroken, LeaseChanged, LeaseElsewhere, LeaseHeld, LeaseUnusable
from backends.engine.journal import Journal
from backends.engine.lease import ASK_LIMIT, Holder, Lease, Record, Standing
from backends.engine.lease_place import HostPlace, Lying, Place, place_of
from backends.errors import RefusedByRule
from backends.plan.load import parse_plan
from backends.plan.models import Plan
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from backends.stores.errors import StoreUnreachable
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.peers.fault_proxy import fault_proxy
from tests.peers.openssh import openssh
from tests.peers.seaweedfs import SeaweedFs

SHORT = 1.5  # seconds that a lease of these tests lasts
NAME = "chat"
Opener = Callable[[], Awaitable[Place]]

PLAN = """
version: 1
name: chat
legacy: {{provider: a, hosts: [{{name: old, address: 10.9.9.9}}]}}
target: {{provider: b, hosts: [{{name: here, address: local}}, {{name: new, address: 10.9.9.8}}]}}
stores:
  old: {{url: "file:///srv/old/"}}
  new: {{url: "{url}"{keys}}}
datasets: [{{name: corpus, from: old, to: new}}]
{more}
"""


def plan_of(url: str, endpoint: str = "http://127.0.0.1:1", access: str = "a", secret: str = "b", more: str = "") -> Plan:
    keys = f', endpoint: "{endpoint}", access_key: "{access}", secret_key: "{secret}"' if url.startswith("s3:") else ""
    text = PLAN.format(url=url, keys=keys, more=more)
    plan = parse_plan(text, Path("plan.yaml")).plan
    assert plan is not None
    return plan


@asynccontextmanager
async def on_store(server: SeaweedFs) -> AsyncIterator[Opener]:
    bucket = new_bucket()
    async with AsyncExitStack() as stack, s3_store(server, bucket) as made:
        await made.create_bucket()
        plan = plan_of(f"s3://{bucket}/data/", server.endpoint, server.access_key, server.secret_key)

        async def opened() -> Place:
            pool = await stack.enter_async_context(no_ssh())
            place = place_of(plan, ssh=pool, base=Path("/"))
            assert place is not None
            stack.push_async_callback(place.close)
            return place

        yield opened


def no_ssh() -> SshPool:
    return SshPool(SshSettings(), [])


@asynccontextmanager
async def on_host(folder: Path) -> AsyncIterator[Opener]:
    async with openssh(folder / "sshd") as server, AsyncExitStack() as stack:

        async def opened() -> Place:
            return HostPlace(NAME, "box", await stack.enter_async_context(SshPool(server.settings, [server.host()])))

        yield opened


@pytest_asyncio.fixture(params=["store", "host"])
async def opener(request: pytest.FixtureRequest, weed: SeaweedFs, tmp_path: Path) -> AsyncIterator[Opener]:
    async with on_store(weed) if request.param == "store" else on_host(tmp_path) as opened:
        yield opened


class Bastion:
    """One machine's engine, as far as the lease knows it."""

    def __init__(self, place: Place, name: str, seconds: float = SHORT) -> None:
        self.standing = Standing(0, "", "planned", False)
        self.hashes: dict[int, str] = {}
        self.lease = Lease(
            place, NAME, seconds, Holder(name, f"ops@{name}:/state"), standing=lambda: self.standing, hash_at=self.hash_at
        )

    async def hash_at(self, seq: int) -> str | None:
        return self.hashes.get(seq)

    def at(self, seq: int, *, has_effects: bool = False) -> None:
        """Its journal has come so far."""
        self.hashes |= {n: f"{n:064}" for n in range(1, seq + 1)}
        self.standing = Standing(seq, self.hashes[seq], "dual" if has_effects else "preparing", has_effects)


@asynccontextmanager
async def renewing(bastion: Bastion) -> AsyncIterator[None]:
    task = asyncio.create_task(bastion.lease.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def parked(asked: Awaitable[None]) -> bool:
    """Does it wait for the engine's end?"""
    try:
        await asyncio.wait_for(asked, 0.3)
    except TimeoutError:
        return True
    return False


async def test_a_second_bastion_is_refused_while_the_first_lives_and_told_whose_it_is(opener: Opener) -> None:
    first, second = Bastion(await opener(), "one"), Bastion(await opener(), "two")
    await first.lease.take()
    assert first.lease.is_held
    async with renewing(first):
        with pytest.raises(LeaseHeld, match="ops@one:/state") as refused:
            await second.lease.take()
    assert refused.value.rule == "LEASE"
    assert refused.value.exit_code == 3
    assert "--take-over chat" in refused.value.hint
    assert not second.lease.is_held


async def test_a_lease_that_nobody_renews_may_be_taken_and_its_old_holder_acts_no_more(opener: Opener) -> None:
    first, second = Bastion(await opener(), "one"), Bastion(await opener(), "two")
    await first.lease.take()  # and stops, as by SIGSTOP
    await second.lease.take()
    assert second.lease.is_held
    assert second.lease.taken_from == "ops@one:/state"
    await second.lease.require("forward")
    assert await parked(first.lease.require("back")), "awake again, it asks before its next effect, and never sends it"
    assert first.lease.gone.is_set()
    assert "ops@two:/state has it since" in first.lease.note
    async with renewing(first):
        await second.lease.require("back")


async def test_of_several_that_take_it_at_once_one_has_it(opener: Opener) -> None:
    bastions = [Bastion(await opener(), f"b{n}", 3.0) for n in range(5)]

    async def taken(bastion: Bastion) -> None:
        await bastion.lease.take()
        keeping.append(asyncio.create_task(bastion.lease.run()))

    keeping: list[asyncio.Task[None]] = []
    results = await asyncio.gather(*(taken(b) for b in bastions), return_exceptions=True)
    for task in keeping:
        task.cancel()
    assert sorted(b.lease.is_held for b in bastions) == [False] * 4 + [True]
    assert [type(r) for r in results if r is not None] == [LeaseHeld] * 4


async def test_given_up_it_may_be_taken_at_once_and_an_engine_started_again_has_its_own_at_once(opener: Opener) -> None:
    first, again = Bastion(await opener(), "one", 60.0), Bastion(await opener(), "one", 60.0)
    second = Bastion(await opener(), "two", 60.0)
    await first.lease.take()  # and is killed
    await again.lease.take()
    assert again.lease.taken_from == ""
    await again.lease.release()
    assert not again.lease.is_held
    await second.lease.take()
    assert second.lease.is_held


async def test_typed_it_is_taken_from_a_living_holder_and_nothing_is_done_before_that_one_knows(opener: Opener) -> None:
    first, second = Bastion(await opener(), "one"), Bastion(await opener(), "two")
    await first.lease.take()
    async with renewing(first):
        await second.lease.take(by_name=True)
        first_knew = False

        async def knows() -> None:
            nonlocal first_knew
            await first.lease.gone.wait()
            first_knew = True

        watching = asyncio.create_task(knows())
        await second.lease.require("back")
        assert first_knew or not first.lease.is_held, "who has not heard of it in time is no longer certain, by its own clock"
        await watching


async def test_where_only_the_other_journal_knows_what_is_to_be_undone_a_bastion_without_it_is_refused(opener: Opener) -> None:
    first, stranger, heir = [Bastion(await opener(), name) for name in ("one", "two", "three")]
    first.at(7, has_effects=True)
    await first.lease.take()
    await first.lease.release()
    with pytest.raises(LeaseElsewhere, match=r"dual, 7 events.*ops@one:/state"):
        await stranger.lease.take()
    heir.at(9, has_effects=True)  # the same journal, copied here
    await heir.lease.take()
    assert heir.lease.is_held
    await stranger.lease.take(by_name=True)
    assert stranger.lease.is_held, "typed, it begins without"


async def test_the_first_effect_is_told_of_before_it_is_sent_and_not_at_the_next_renewal(opener: Opener) -> None:
    first, stranger = Bastion(await opener(), "one", 60.0), Bastion(await opener(), "two", 60.0)
    first.at(4)
    await first.lease.take()
    first.at(5, has_effects=True)  # its INTENT is in the journal
    await first.lease.require("forward")
    await first.lease.release()
    with pytest.raises(LeaseElsewhere, match=r"dual, 5 events"):
        await stranger.lease.take()


async def test_a_first_effect_of_which_the_lease_cannot_tell_is_not_sent(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as made, fault_proxy(weed.endpoint) as link, no_ssh() as pool:
        await made.create_bucket()
        place = place_of(plan_of(f"s3://{bucket}/", link.endpoint, weed.access_key, weed.secret_key), ssh=pool, base=Path("/"))
        assert place is not None
        first = Bastion(place, "one", 60.0)
        await first.lease.take()
        gone = link.add("refuse", times=None)
        first.at(5, has_effects=True)
        assert first.lease.is_held
        with pytest.raises(RefusedByRule, match="LEASE: the lease at store new cannot be told that there is something to undo"):
            await first.lease.require("forward")
        await first.lease.require("back")
        link.rules.remove(gone)
        await first.lease.require("forward")
        await place.close()


async def test_a_journal_that_lost_its_tail_is_told_by_the_lease(opener: Opener) -> None:
    first, restored = Bastion(await opener(), "one"), Bastion(await opener(), "one")
    first.at(30)
    await first.lease.take()
    restored.at(20)
    with pytest.raises(JournalBroken, match=r"ends at event 20, but the lease at .* knows event 30"):
        await restored.lease.take()


async def test_a_place_that_cannot_be_asked_stops_what_moves_forward_and_never_a_rollback() -> None:
    async with no_ssh() as pool:
        place = place_of(plan_of("s3://gone/"), ssh=pool, base=Path("/"))
        assert place is not None
        bastion = Bastion(place, "one", 5.0)
        try:
            await bastion.lease.take()
            assert not bastion.lease.is_held
            await bastion.lease.require("back")
            with pytest.raises(RefusedByRule, match="LEASE: the lease at store new is not ours for certain"):
                await bastion.lease.require("forward")
            assert "nothing moves forward" in bastion.lease.view().note
        finally:
            await place.close()


async def test_what_lies_there_and_is_no_lease_is_never_overwritten(opener: Opener) -> None:
    place = await opener()
    await place.write('{"holder": 1}', None)
    bastion = Bastion(await opener(), "one")
    await bastion.lease.take()
    assert not bastion.lease.is_held
    assert "no lease of ours" in bastion.lease.error
    lying = await place.read()
    assert lying is not None
    assert lying.text == '{"holder": 1}'


async def test_the_lease_is_no_object_of_a_dataset(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket, prefix="data/") as made, no_ssh() as pool:
        await made.create_bucket()
        plan = plan_of(f"s3://{bucket}/data/", weed.endpoint, weed.access_key, weed.secret_key)
        place = place_of(plan, ssh=pool, base=Path("/"))
        assert place is not None
        await place.prepare()
        await place.write(Record(migration="m", holder="h", who="w", seconds=1).model_dump_json(), None)
        assert [o.key async for page in made.list_pages() for o in page] == []
        assert await made.head(".cutover-lease/chat") is not None
        await place.close()


def test_every_engine_of_a_plan_looks_at_the_same_place() -> None:
    pool = no_ssh()

    def text(plan: Plan) -> str | None:
        place = place_of(plan, ssh=pool, base=Path("/"))
        return place.text if place is not None else None

    assert text(plan_of("s3://bucket/")) == "store new"
    assert text(plan_of("file:///srv/new/")) == "host new", (
        "of local trees none: the first host of target that is not this machine"
    )
    assert text(plan_of("s3://bucket/", more="lease: {host: old}")) == "host old"
    assert text(plan_of("s3://bucket/", more="lease: none")) is None


async def test_the_journal_tells_the_hash_of_an_event(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.open()
    await journal.append("note", {"text": "x"}, actor="a", observed=0.0)
    assert await journal.hash_at(1) == journal.head.hash
    assert await journal.hash_at(2) is None
    await journal.close()


class _Asleep:
    """A place whose first answer to a renewal is met by a process that has slept: it comes too late, and the lease is another's by then."""

    text = "a place"

    def __init__(self) -> None:
        self.slept = 0.0
        self.lying: Lying | None = None
        self.sleeps = False
        self.is_deaf = False
        self.is_silent = False
        self.reads = 0

    async def read(self) -> Lying | None:
        self.reads += 1
        if self.is_silent:
            self.slept += ASK_LIMIT
            raise TimeoutError
        return self.lying

    async def write(self, text: str, version: str | None) -> str:
        if self.is_deaf:
            raise StoreUnreachable("a place: nobody answers")
        if self.sleeps:
            self.sleeps, self.slept = False, 60.0
            taken = Record(migration=NAME, holder="other", who="ops@two:/state", seconds=SHORT, epoch=7)
            self.lying = Lying(taken.model_dump_json(), "theirs")
            raise TimeoutError
        if self.lying is not None and self.lying.version != version:
            raise LeaseChanged
        self.lying = Lying(text, f"v{len(text)}-{self.slept}")
        return self.lying.version

    async def prepare(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> _Asleep:
    """Its time is that of the boot clock."""
    made = _Asleep()
    monkeypatch.setattr(lease_module, "boot_clock", lambda: 1000.0 + made.slept)
    return made


async def test_a_renewal_that_was_slept_through_is_no_silent_place_and_nothing_goes_on_without_asking(place: _Asleep) -> None:
    one = Bastion(place, "one")
    await one.lease.take()
    assert one.lease.is_held
    place.sleeps = True
    renewing = asyncio.create_task(one.lease.run())
    back = asyncio.create_task(one.lease.require("back"))
    async with asyncio.timeout(10):
        await one.lease.gone.wait()
        await renewing
    assert not back.done(), "what was asked meanwhile has no answer that lets it go on"
    later = asyncio.create_task(one.lease.require("back"))
    done, _ = await asyncio.wait({later}, timeout=0.1)
    assert not done, "it has been taken from us: nothing is sent any more"
    assert one.lease.error == ""
    for task in (later, back):
        task.cancel()
    await asyncio.gather(later, back, return_exceptions=True)


async def test_who_stood_still_asks_for_the_length_of_the_lease_before_anything_leads_back_without_an_answer(
    place: _Asleep,
) -> None:
    """Who was awake while the place died does not wait: it may have died with what is rolled back from."""
    one = Bastion(place, "one")
    await one.lease.take()
    renewing = asyncio.create_task(one.lease.run())
    place.is_deaf = True
    for _ in range(4):
        await one.lease._keep(1.0)
        place.slept += SHORT / 3
    assert not one.lease.is_held
    async with asyncio.timeout(10):
        await one.lease.require("back")

    place.slept += 60.0
    back = asyncio.create_task(one.lease.require("back"))
    done, _ = await asyncio.wait({back}, timeout=0.3)
    assert not done
    async with asyncio.timeout(10):
        while not back.done():  # time goes on, and it asks meanwhile
            place.slept += SHORT / 10
            await asyncio.wait({back}, timeout=0.15)
    assert place.slept > 60.0 + SHORT
    renewing.cancel()
    await asyncio.gather(renewing, return_exceptions=True)


async def test_a_place_that_was_silent_from_the_start_is_asked_once_and_keeps_no_rollback_waiting(place: _Asleep) -> None:
    """What has no limit of the holder's own takes as long as it takes: nobody has slept."""
    one, place.is_silent = Bastion(place, "one"), True
    async with asyncio.timeout(10):
        await one.lease.require("back")
    assert (place.reads, place.slept) == (1, ASK_LIMIT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("ForceCommand internal-sftp\n", "This service allows sftp connections only."),
        ("ForceCommand exit 7\n", "ended with 7, and said nothing"),
        ("ForceCommand echo no >&2; exit 1\n", "no"),
    ],
)
async def test_a_host_that_runs_no_commands_says_why_it_keeps_no_lease(tmp_path: Path, options: str, said: str) -> None:
    async with openssh(tmp_path / "sshd", options=options) as server, SshPool(server.settings, [server.host()]) as pool:
        place = HostPlace(NAME, "box", pool)
        for ask, verb in ((place.read(), "read"), (place.write("{}", None), "written")):
            with pytest.raises(LeaseUnusable) as caught:
                await ask
            assert caught.value.message == f"host box: the lease cannot be {verb}: {said}"
            assert "not SFTP alone" in caught.value.hint

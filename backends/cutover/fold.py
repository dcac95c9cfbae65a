"""The migration's state as a fold of its journal. Nothing that matters is only in memory.

An event of a kind that `apply` does not know changes nothing, so that an older engine can read a newer journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from backends.cutover.events import Event, Kind
from backends.cutover.migration import (
    WAIVE,
    Armed,
    Asked,
    BackupFold,
    Hold,
    LongAnswerFold,
    Migration,
    Op,
    Override,
    RunFold,
    Signature,
    StepStatus,
    Token,
    Told,
    TtlFold,
    VerdictFold,
    Writer,
    thing,
)
from backends.vocabulary import Phase, State


def fold(events: Iterable[Event]) -> Migration:
    """The state after these events."""
    state = Migration()
    for event in events:
        apply(state, event)
    return state


def apply(m: Migration, event: Event) -> None:
    """Take one event into the state."""
    m.seq = event.seq
    m.observed = max(m.observed, event.observed)
    handler = _HANDLERS.get(event.kind)
    if handler is not None:
        handler(m, event, event.data)


def _created(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.name = str(data.get("name", ""))


def _plan(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.plan_path, m.plan_hash, m.plan_text = data["path"], data["hash"], data["text"]
    for name in data.get("routes", ()):
        m.route(name)
    for name in data.get("datasets", ()):
        m.token(name)


def _state(m: Migration, event: Event, data: dict[str, Any]) -> None:
    before, m.state = m.state, State(data["state"])
    m.phase = Phase(data["phase"]) if data.get("phase") else None
    m.evacuating = bool(data.get("evacuate"))
    m.window_told = False
    if m.evacuating:
        m.needs_resume = False
    if m.state is State.ROLLING_BACK:
        m.evacuated = False
    if m.state is State.ROLLBACK_BLOCKED and before is not State.ROLLBACK_BLOCKED:
        m.before_block = State(data["came_from"]) if data.get("came_from") else before
    if m.state in (State.DUAL, State.RETIRING) and before is not State.ROLLBACK_BLOCKED:
        m.window_from = event.observed
    if m.state in (State.ROLLED_BACK, State.RECONCILING):
        m.needs_resume = True
        m.window_from = None
    if m.state not in (State.ROLLING_BACK, State.ROLLBACK_BLOCKED):
        m.away.clear()
    if m.state is State.ROLLED_BACK:
        m.unfenced = False
        m.unfenced_target.clear()
    if data.get("rearm"):
        m.needs_resume = False
        m.armed = None
        m.gates.clear()
        m.archived.clear()
        for backup in m.backups_taken.values():
            backup.is_fresh = False
        m.signed = {item: s for item, s in m.signed.items() if not item.startswith(WAIVE)}


def _held(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.holds = [h for h in m.holds if h.by != data["by"]]
    m.holds.append(Hold(data["by"], data["reason"], event.at))


def _released(m: Migration, event: Event, data: dict[str, Any]) -> None:
    by = data.get("by")
    m.holds = [h for h in m.holds if by is not None and h.by != by]


def _armed(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.armed = Armed(data["plan_hash"], dict(data["weights"]), dict(data.get("scripts", {})), dict(data.get("pins", {})))


def _intent(m: Migration, event: Event, data: dict[str, Any]) -> None:
    op = Op(data["id"], data["kind"], data["args"], data["direction"], data.get("run", ""), began=event.observed)
    op.limit = float(data.get("limit", 30.0))
    op.boot, op.boot_at = str(data.get("boot", "")), float(data.get("boot_at", 0.0))
    m.ops[op.id] = op
    _mark(m, data, "running")
    if op.kind == "lower_legacy":
        m.legacy_left = min(m.legacy_left, float(op.args["to"]))
    if op.kind == "weight":
        route = m.route(op.args["route"])
        route.fell(op.args["weight"])
        route.desired, route.in_flight = op.args["weight"], True
    elif op.kind == "ttl" and op.args["route"] in m.ttls:
        m.ttls[op.args["route"]].is_meant = True
    elif op.kind == "resume":
        m.still.pop((op.args["workload"], op.args["side"]), None)  # from now on it may write


def _sent(m: Migration, event: Event, data: dict[str, Any]) -> None:
    if op := m.ops.get(data["id"]):
        op.status = "SENT"


def _observed(m: Migration, event: Event, data: dict[str, Any]) -> None:
    if op := m.ops.get(data["id"]):
        op.status = "OBSERVED"


def _confirmed(m: Migration, event: Event, data: dict[str, Any]) -> None:
    op = m.ops.pop(data["id"], None)
    _mark(m, data, "confirmed", data.get("detail", ""))
    if op is None:
        return
    seconds = event.observed - op.began
    m.took[thing(op.kind, op.args)] = seconds
    run, index = m.open_run, data.get("step")
    if run is not None and index is not None and 0 <= index < len(run.took):
        run.took[index] = seconds
    if op.kind == "weight":
        route = m.route(op.args["route"])
        route.desired = route.confirmed = op.args["weight"]
        route.in_flight, route.foreign, route.failed = False, None, None
        route.since = event.observed
        if op.direction == "forward":
            m.last_shift = event.observed
    elif op.kind in ("drain", "expel"):
        m.route(op.args["route"]).leaving = False
    elif op.kind == "note_ttl":
        noted = m.ttls.setdefault(op.args["route"], TtlFold(data["ttl"]))
        noted.before = max(noted.before, data["ttl"])
    elif op.kind == "ttl":
        _ttl_set(m, op, event, data)
    elif op.kind in ("pin", "stop_new_work"):
        _noted(m, op.kind, (op.args["workload"], op.args["side"]), data)
    elif op.kind == "quiesce":
        _quiesced(m, op.args["workload"], op.args["side"])
        m.still[op.args["workload"], op.args["side"]] = event.observed
        if isinstance(data.get("at_step"), int):
            m.at_step[op.args["workload"]] = data["at_step"]
        m.doubts.pop((op.args["workload"], op.args["side"]), None)
    elif op.kind == "resume":
        where = (op.args["workload"], op.args["side"])
        _resumed(m, *where)
        if event.observed >= m.doubts.get(where, event.observed):
            m.doubts.pop(where, None)
    elif op.kind == "token":
        token = m.token(op.args["dataset"])
        if op.args["writer"] == "legacy" and token.epoch % 2 == 1 and m.open_run is not None and m.open_run.mode == "emergency":
            m.unsettled.add(op.args["dataset"])
        _forced(m, op.args["dataset"], token, op.args["writer"], op.args["epoch"])
        token.writer, token.epoch = op.args["writer"], op.args["epoch"]
        token.was_target = token.was_target or token.writer == "target"
        if token.writer == "target":
            m.at_zero.pop((op.args["dataset"], "reverse"), None)
        if token.writer == "target" and m.run is not None:
            m.run.committed = True
    elif op.kind == "fence":
        _fenced(m, op.args["workload"], op.args.get("side", "target"), event, is_loose=bool(data.get("unfenced")))
    elif op.kind == "last_round":
        m.at_zero[op.args["dataset"], "reverse" if op.args["reverse"] else "forward"] = op.began
    elif op.kind in ("compare", "restore") and "equal" in data:
        m.compared[op.args["dataset"]] = bool(data["equal"])
        m.uncompared -= {op.args["dataset"]}
        if data.get("uncompared"):
            m.uncompared.add(op.args["dataset"])
    elif op.kind == "lower_legacy":
        m.lowered_to = float(op.args["to"])
    elif op.kind == "verify_archive":
        m.archived.add(op.args["dataset"])
    elif op.kind == "settle_gap" and data.get("settled") and not m.unfenced:  # while it runs there, it writes on
        m.unsettled.discard(op.args["dataset"])


def _fenced(m: Migration, workload: str, side: str, event: Event, *, is_loose: bool) -> None:
    if not is_loose:
        m.still[workload, side] = event.observed
    if side == "legacy":
        m.quiesced.add((workload, side))  # as far as it could be: whoever leads home starts it
        (m.unfenced_legacy.add if is_loose else m.unfenced_legacy.discard)(workload)
        return
    (m.unfenced_target.add if is_loose else m.unfenced_target.discard)(workload)
    if not is_loose:
        m.started.discard((workload, side))
    m.unfenced = bool(m.unfenced_target)


def _ttl_set(m: Migration, op: Op, event: Event, data: dict[str, Any]) -> None:
    if op.direction == "forward":
        noted = m.ttls.setdefault(op.args["route"], TtlFold(data["ttl"]))
        noted.now, noted.since, noted.is_meant = data["ttl"], event.observed, False
    elif not data.get("left"):
        m.ttls.pop(op.args["route"], None)


def _forced(m: Migration, dataset: str, token: Token, writer: Writer, epoch: int) -> None:
    """An evacuation hands a dataset over without a last round; it is so until legacy writes it again."""
    if writer == "legacy":
        m.forced.discard(dataset)
    elif writer == "target" and epoch > token.epoch and m.open_run is not None and m.open_run.kind == "evacuate":
        m.forced.add(dataset)


def _noted(m: Migration, kind: str, where: tuple[str, str], data: dict[str, Any]) -> None:
    """What was pinned before stays where there is nothing new to pin."""
    if kind == "pin" and data.get("pinned"):
        m.pinned[where] = dict(data["pinned"])
    elif kind == "stop_new_work" and data.get("closed"):
        m.closed.add(where)


def _quiesced(m: Migration, workload: str, side: str) -> None:
    if (workload, side) in m.started:
        m.started.discard((workload, side))
    else:
        m.quiesced.add((workload, side))


def _resumed(m: Migration, workload: str, side: str) -> None:
    m.closed.discard((workload, side))
    if side == "legacy":
        m.unfenced_legacy.discard(workload)
    if (workload, side) in m.quiesced:
        m.quiesced.discard((workload, side))
    else:
        m.started.add((workload, side))


def _failed(m: Migration, event: Event, data: dict[str, Any]) -> None:
    op = m.ops.pop(data["id"], None)
    _mark(m, data, "failed", data.get("reason", ""))
    if op is not None and op.kind == "weight":
        route = m.route(op.args["route"])
        route.in_flight, route.failed = False, op.args["weight"]
        found = data.get("found")
        # Where it could not be read, what was meant may be so: it stays `desired`, and a rollback undoes it.
        if found is not None:
            route.found(int(found), event.observed)
    elif op is not None and op.kind == "quiesce":
        where = (op.args["workload"], op.args["side"])
        if where[1] == "legacy" or where in m.started:
            _quiesced(m, *where)  # it may have stopped in part: whoever needs it there starts it
        m.doubts[where] = event.observed + op.limit  # and it may yet stop: it is started again when that is over


def _foreign(m: Migration, event: Event, data: dict[str, Any]) -> None:
    if data.get("id"):
        m.ops.pop(data["id"], None)
        _mark(m, data, "failed", data.get("reason", ""))
    if data.get("route"):
        route = m.route(data["route"])
        route.in_flight = False
        found, was_foreign = data.get("found"), route.foreign is not None
        route.leaving = route.leaving or bool(found)  # clients are on target, whoever has sent them there
        route.foreign = str(data.get("reason", "")) if found != route.confirmed or not data.get("adopted") else None
        if data.get("adopted") and found is not None:
            route.found(int(found), event.observed, was_foreign=was_foreign)
            route.foreign = None


def _mark(m: Migration, data: dict[str, Any], status: StepStatus, detail: str = "") -> None:
    """Note a step's status in the open run."""
    run, index = m.open_run, data.get("step")
    if run is not None and index is not None and 0 <= index < len(run.status):
        run.status[index] = status
        if detail:
            run.detail[index] = detail


def _run_started(m: Migration, event: Event, data: dict[str, Any]) -> None:
    steps = list(data["steps"])
    m.run = RunFold(
        data["id"], data["kind"], data.get("mode", ""), data.get("reason", ""), event.actor, event.at, steps,
        ["waiting"] * len(steps), [""] * len(steps), [None] * len(steps),
    )  # fmt: skip
    if data["kind"] == "rollback":
        m.rollbacks += 1
        m.compared.clear()
        m.uncompared.clear()


def _run_ended(m: Migration, event: Event, data: dict[str, Any]) -> None:
    if m.run is not None and m.run.id == data["id"]:
        m.run.ended_at, m.run.outcome = event.at, data.get("outcome", "")
        m.away = set(data.get("away", ())) if m.run.kind == "rollback" else m.away
        m.run.status = ["skipped" if s in ("waiting", "running") else s for s in m.run.status]
        m.evacuated = m.evacuated or (m.run.kind == "evacuate" and m.run.outcome == "evacuated")


def _verdict(into: str) -> Any:
    def handler(m: Migration, event: Event, data: dict[str, Any]) -> None:
        getattr(m, into)[data["name"]] = VerdictFold(
            data["verdict"], data.get("value"), data.get("limit"), data.get("reason", ""), event.at, data.get("phase", ""),
            data.get("unit", ""),
        )  # fmt: skip

    return handler


def _side(m: Migration, event: Event, data: dict[str, Any]) -> None:
    if data.get("side") == "legacy" and data.get("health") == "alive":
        m.evacuated = False


def _round(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.rounds[data["dataset"]] = {**data, "at": event.at}


def _long_answer(m: Migration, event: Event, data: dict[str, Any]) -> None:
    until = None if data.get("given") else event.observed - float(data.get("ago", 0.0))
    m.long_answers[data["route"]] = LongAnswerFold(float(data.get("ttl", 0.0)), bool(data.get("names_target")), until)


def _seat(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.seat, m.seat_since, m.seat_uid = data.get("holder"), event.at, data.get("uid")


def _override(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.overrides[data["rule"]] = Override(
        data["rule"], data.get("reason", ""), event.actor, event.at, float(data.get("until", 0.0))
    )


def _override_ended(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.overrides.pop(data["rule"], None)


def _asked(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.asked = Asked(
        str(data.get("id", "")), str(data.get("what", "")), data.get("only"), str(data.get("hash", "")), str(data.get("reason", "")),
        event.actor, int(data.get("uid", -1)), str(data.get("person", "")), float(data.get("until", 0.0)),
    )  # fmt: skip


def _approved(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.asked = None


def _window_over(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.window_told = True


def _command(m: Migration, event: Event, data: dict[str, Any]) -> None:
    if data.get("key"):
        m.commands.setdefault(data["key"], Told(data["command"], data.get("digest", "")))


def _command_ended(m: Migration, event: Event, data: dict[str, Any]) -> None:
    told = m.commands.get(data.get("key", ""))
    if told is not None and told.outcome is None:
        told.outcome = dict(data.get("outcome") or {})


def _signed(m: Migration, event: Event, data: dict[str, Any]) -> None:
    if data.get("withdrawn"):
        m.signed.pop(data["item"], None)
    else:
        m.signed[data["item"]] = Signature(event.actor, data.get("reason", ""), event.at)


def _baseline(m: Migration, event: Event, data: dict[str, Any]) -> None:
    for told in data["measures"]:
        m.baselines[told["measure"]] = dict(told)


def _validated(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.validated[data["workload"]] = dict(data)


def _checkpoints(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.checkpoints[str(data.get("workload", ""))] = {"at": event.at} | dict(data)


def _backup_taken(m: Migration, event: Event, data: dict[str, Any]) -> None:
    taken = BackupFold(
        int(data["number"]), str(data.get("kind", "")), int(data.get("objects", 0)), int(data.get("bytes", 0)),
        str(data.get("where", "")), str(data.get("sum", "")), event.at,
    )  # fmt: skip
    m.backups[data["dataset"]] = m.backups_taken[data["dataset"], taken.number] = taken


def _backup_tried(m: Migration, event: Event, data: dict[str, Any]) -> None:
    tried = m.backups_taken.get((data["dataset"], int(data["number"])))
    if tried is not None and not tried.ends:
        tried.good, tried.tried, tried.tried_at = bool(data["good"]), str(data.get("text", "")), event.at


def _backup_ending(m: Migration, event: Event, data: dict[str, Any]) -> None:
    ending = m.backups_taken.get((data["dataset"], int(data["number"])))
    if ending is not None:
        ending.good, ending.ends = None, True


def _backup_removed(m: Migration, event: Event, data: dict[str, Any]) -> None:
    m.backups_taken.pop((data["dataset"], int(data["number"])), None)


_HANDLERS: dict[str, Callable[[Migration, Event, dict[str, Any]], None]] = {
    Kind.CREATED: _created,
    Kind.PLAN_LOADED: _plan,
    Kind.STATE: _state,
    Kind.HELD: _held,
    Kind.RELEASED: _released,
    Kind.ARMED: _armed,
    Kind.INTENT: _intent,
    Kind.SENT: _sent,
    Kind.OBSERVED: _observed,
    Kind.CONFIRMED: _confirmed,
    Kind.FAILED: _failed,
    Kind.FOREIGN: _foreign,
    Kind.RUN_STARTED: _run_started,
    Kind.RUN_ENDED: _run_ended,
    Kind.GATE: _verdict("gates"),
    Kind.TRIGGER: _verdict("triggers"),
    Kind.ROUND: _round,
    Kind.SIDE: _side,
    Kind.LONG_ANSWER: _long_answer,
    Kind.SEAT: _seat,
    Kind.OVERRIDE: _override,
    Kind.OVERRIDE_ENDED: _override_ended,
    Kind.ASKED: _asked,
    Kind.APPROVED: _approved,
    Kind.WINDOW_OVER: _window_over,
    Kind.COMMAND: _command,
    Kind.COMMAND_ENDED: _command_ended,
    Kind.SIGNED: _signed,
    Kind.BASELINE: _baseline,
    Kind.VALIDATED: _validated,
    Kind.CHECKPOINTS: _checkpoints,
    Kind.BACKUP_TAKEN: _backup_taken,
    Kind.BACKUP_TRIED: _backup_tried,
    Kind.BACKUP_ENDING: _backup_ending,
    Kind.BACKUP_REMOVED: _backup_removed,
}

"""Events told in words: one line each, short and concrete. Nothing is said that the journal does not hold."""

from __future__ import annotations

from typing import Any

from backends.cutover.events import Event, Kind
from backends.escape import plain
from backends.snapshot import EventView
from backends.vocabulary import Level

_LEVELS = {
    "PASS": Level.GOOD,
    "BREACH": Level.BREACH,
    "INCONCLUSIVE": Level.WAITING,
    "ERROR": Level.HELD,
}
# Told in detail by `history`; left out of the console's short event line.
QUIET = frozenset({Kind.TICK, Kind.SENT, Kind.OBSERVED, Kind.INTENT, Kind.COMMAND, Kind.COMMAND_ENDED})


def view(event: Event) -> EventView:
    """The event as a line for people."""
    text, level = describe(event)
    return EventView(seq=event.seq, at=event.at, kind=event.kind, text=text, actor=event.actor, level=level)


def describe(event: Event) -> tuple[str, Level | None]:
    """Text and meaning of an event."""
    teller = _TELLERS.get(event.kind)
    if teller is None:
        return plain(event.kind), None
    text, level = teller(event, event.data)
    return text, level


def op_text(data: dict[str, Any]) -> str:
    """An operation in words."""
    args = data.get("args", {})
    match data.get("kind"):
        case "weight":
            return f"{plain(args['route'])} to {args['weight']} %"
        case "quiesce" | "resume":
            verb = "quiesce" if data["kind"] == "quiesce" else "start"
            return f"{verb} {plain(args['workload'])} on {args['side']}"
        case "token":
            return f"{plain(args['dataset'])}: writer {args['writer']}, epoch {args['epoch']}"
        case "last_round":
            return f"{plain(args['dataset'])}: last round {'back to legacy' if args.get('reverse') else 'to target'}"
        case kind:
            what = args.get("side") or args.get("route") or args.get("dataset") or args.get("workload") or ""
            return f"{str(kind).replace('_', ' ')} {plain(str(what))}".strip()


def _state(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    phase = f", phase {data['phase']}" if data["state"] == "preparing" else ""
    reason = f": {plain(data['reason'])}" if data.get("reason") else ""
    bad = {"rollback_blocked": Level.BREACH, "rolling_back": Level.HELD, "reconciling": Level.HELD}
    return f"{data['state']}{phase}{reason}", bad.get(data["state"], Level.GOOD)


def _armed(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    weights = ", ".join(f"{plain(r)} at {w} %" for r, w in data["weights"].items())
    return f"armed by {plain(event.actor)}, plan {data['plan_hash'][:6]}, {weights}", Level.GOOD


def _verdict(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    reason = f": {plain(data['reason'])}" if data.get("reason") else ""
    causes = data.get("causes") or []
    likely = f"; likely {plain(causes[0]['cause'])} ({plain(causes[0]['evidence'])})" if causes else ""
    return f"{event.kind} {plain(data['name'])} {data['verdict']}{reason}{likely}", _LEVELS.get(data["verdict"])


def _round(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    way = " back to legacy" if data.get("direction") == "reverse" else ""
    parts = [f"{data['copied']} copied"] if data.get("copied") else []
    parts += [f"{data['failed']} failed"] if data.get("failed") else []
    repaired = data.get("repaired", [])
    keys = ", ".join(plain(r["key"]) for r in repaired[:3])
    parts += [f"{len(repaired)} damaged on the way and copied again ({keys})"] if repaired else []
    if data.get("error"):
        return f"sync {plain(data['dataset'])}{way} failed: {plain(data['error'])}", Level.HELD
    level = Level.HELD if data.get("failed") or repaired else Level.GOOD
    proven = f"{data.get('proven', 0)} of {data.get('objects_total', 0)} proven"
    return f"sync {plain(data['dataset'])}{way}: {', '.join([*parts, proven])}", level


def _run_started(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    mode = f" {data['mode']}" if data.get("mode") else ""
    reason = f": {plain(data['reason'])}" if data.get("reason") else ""
    return f"{data['kind']}{mode} begun by {plain(event.actor)}{reason}", Level.HELD if data["kind"] == "rollback" else None


def _run_ended(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    good = data.get("outcome") in ("confirmed", "rolled_back")
    return f"{data.get('kind', 'run')} ended: {plain(str(data.get('outcome', '')))}", Level.GOOD if good else Level.HELD


def _tried(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    good = bool(data.get("good"))
    said = "" if good else " and is not what was taken"
    text = f"backup {data.get('number')} of {plain(data['dataset'])} tried{said}: {plain(str(data.get('text', '')))}"
    return text, Level.GOOD if good else Level.BREACH


def _seat(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
    if not data.get("holder"):
        return f"seat given up by {plain(event.actor)}", None
    if data.get("from"):
        return f"seat taken over by {plain(data['holder'])} from {plain(data['from'])}", Level.HELD
    return f"seat taken by {plain(data['holder'])}", None


def _op(word: str, level: Level | None) -> Any:
    def tell(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
        why = data.get("reason") or data.get("detail") or ""
        return f"{op_text(data)} {word}" + (f": {plain(why)}" if why else ""), level

    return tell


def _simple(text: str, level: Level | None = None) -> Any:
    def tell(event: Event, data: dict[str, Any]) -> tuple[str, Level | None]:
        safe = {k: plain(str(v)) for k, v in data.items()}
        return text.format_map(_Missing(safe)), level

    return tell


class _Missing(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "-"


_TELLERS: dict[str, Any] = {
    Kind.CREATED: _simple("migration {name} begun"),
    Kind.PLAN_LOADED: _simple("plan {path} loaded"),
    Kind.ENGINE_STARTED: _simple("engine started, pid {pid}"),
    Kind.ENGINE_STOPPED: _simple("engine ended: {reason}"),
    Kind.RECOVERED: _simple("engine recovered: {text}", Level.HELD),
    Kind.STATE: _state,
    Kind.HELD: _simple("held by {by}: {reason}", Level.HELD),
    Kind.RELEASED: _simple("hold lifted: {reason}"),
    Kind.ARMED: _armed,
    Kind.INTENT: _op("meant", None),
    Kind.SENT: _op("sent", None),
    Kind.OBSERVED: _op("observed", None),
    Kind.CONFIRMED: _op("confirmed", Level.GOOD),
    Kind.FAILED: _op("failed", Level.BREACH),
    Kind.FOREIGN: _simple("somebody else's change: {reason}", Level.HELD),
    Kind.RUN_STARTED: _run_started,
    Kind.RUN_ENDED: _run_ended,
    Kind.GATE: _verdict,
    Kind.TRIGGER: _verdict,
    Kind.SIDE: _simple("{side} is {health}: {reason}"),
    Kind.ROUND: _round,
    Kind.REFUSED: _simple("{command} refused by {rule}: {reason}", Level.HELD),
    Kind.SEAT: _seat,
    Kind.OVERRIDE: _simple("{rule} overridden for {hours}: {reason}", Level.HELD),
    Kind.OVERRIDE_ENDED: _simple("override of {rule} ended: {reason}"),
    Kind.ASKED: _simple("{what} waits for a second person, asked by {person}", Level.WAITING),
    Kind.APPROVED: _simple("{what} approved by {person} ({how})", Level.GOOD),
    Kind.WINDOW_OVER: _simple("the {window} window is over: the next step may be taken", Level.GOOD),
    Kind.LESSON: _simple("noted: {text}"),
    Kind.BASELINE: _simple("baseline of legacy recorded, {count} measures"),
    Kind.VALIDATED: _simple("validation run of {workload}: {verdict}, {reason}"),
    Kind.CHECKPOINTS: _simple("checkpoints {legacy} and {target}: {verdict}, {reason}"),
    Kind.COMMAND: _simple("{command} asked for by uid {uid}"),
    Kind.COMMAND_ENDED: _simple("{command} answered"),
    Kind.INVENTORY: _simple("what remains of legacy: {text}"),
    Kind.SIGNED: _simple("{item} signed: {reason}"),
    Kind.BACKUP_TAKEN: _simple("backup {number} of {dataset} taken: {objects} objects, {where}", Level.GOOD),
    Kind.BACKUP_TRIED: _tried,
    Kind.BACKUP_ENDING: _simple("backup {number} of {dataset} is no longer kept: {where} is removed"),
    Kind.BACKUP_REMOVED: _simple(
        "backup {number} of {dataset} removed: {objects} objects; {left} left that are not what was written"
    ),
    Kind.BACKUP_RESTORED: _simple("{dataset} from backup {number}: {text}", Level.HELD),
    Kind.TICK: _simple("observed {observed} s"),
    Kind.CLOCK_JUMP: _simple("the wall clock jumped by {seconds} s; no window moved", Level.HELD),
    Kind.NOTE: _simple("{text}"),
    Kind.LEASE: _simple("{text}", Level.HELD),
    Kind.LONG_ANSWER: _simple("{text}", Level.HELD),
    Kind.MERGED: _simple("emergency journal merged: {count} events", Level.HELD),
}

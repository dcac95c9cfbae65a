"""The one way in for commands: who asks is known, journaled and allowed; a command with an idempotency key acts once.

COMMAND is in the journal before anything is done; a refusal follows it as REFUSED. A command with a key has its outcome journaled too
(COMMAND_ENDED): the same key answers with that outcome, also after a restart of the engine.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from backends.cutover.events import Kind
from backends.cutover.migration import Told
from backends.engine.callers import Caller
from backends.engine.commands import COMMANDS, Args
from backends.engine.failpoints import failpoint
from backends.engine.runner import new_id
from backends.engine.seat import require_seat
from backends.errors import CutoverError, RefusedByRule, UsageError
from backends.escape import plain

if TYPE_CHECKING:
    from backends.engine.core import Engine

NEEDS_SEAT = frozenset({"advance", "resume", "override", "sign"})  # holds, rollback and evacuate never do
LOOKS = frozenset({"preview"})  # changes nothing: observers may, and the journal is not told
WHILE_RECOVERING = frozenset({"preview", "rollback", "evacuate", "hold"})
KEY_LIMIT = 200


class CutOff(RefusedByRule):
    """The first command of this key was cut off by the end of its engine: whether it acted is in the journal, not in an answer."""

    code = "cut_off"

    def __init__(self, name: str, state: str) -> None:
        text = f"the first {name} with this key was cut off by a restart of the engine; the migration is {state} now"
        super().__init__("BUSY", text, hint="look at cutover status, then give another key")


async def run_command(
    engine: Engine, name: str, caller: Caller, body: Any, *, key: str = "", acts: bool = True
) -> dict[str, Any]:
    """Give a command. `acts`: may this caller do more than look? Raises `CutoverError`."""
    if name not in COMMANDS:
        raise UsageError(f"there is no command {plain(name)}", hint=f"one of {', '.join(COMMANDS)}")
    key, body = _key_of(key, body)
    model, _ = COMMANDS[name]
    try:
        args = model.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise UsageError(f"{name}: {plain(first['msg'])}", where=plain(where)) from error
    if engine.recovering and name not in WHILE_RECOVERING:
        raise RefusedByRule("BUSY", "the engine is recovering", hint="in a moment")
    if engine.recovering:
        await engine.recovered.wait()
    if name in LOOKS:
        return await COMMANDS[name][1](engine, caller, args)
    if not key:
        return await _journaled(engine, name, caller, args, "", acts)
    return await _once(engine, name, caller, args, key, acts)


def _key_of(key: str, body: Any) -> tuple[str, Any]:
    """The key of the header, or of the body, which then holds the arguments alone."""
    if isinstance(body, dict) and "idempotency_key" in body:
        key = body["idempotency_key"]
        body = {k: v for k, v in body.items() if k != "idempotency_key"}
    if not isinstance(key, str) or len(key) > KEY_LIMIT:
        raise UsageError("found an idempotency key that is no short text", hint=f"a text of at most {KEY_LIMIT} signs")
    return key, body


async def _once(engine: Engine, name: str, caller: Caller, args: Args, key: str, acts: bool) -> dict[str, Any]:
    """The first of this key acts; every other one gets its outcome, now or when it is known."""
    digest = _digest(name, caller, args)
    told = engine.migration.commands.get(key)
    if told is not None and told.digest != digest:
        raise UsageError(f"this idempotency key was used for another command ({told.command})", hint="another key")
    running = engine.keyed.get(key)
    if running is not None:
        if running[0] != digest:
            raise UsageError("this idempotency key is in use for another command", hint="another key")
        return await asyncio.shield(running[1])
    if told is not None:
        if told.outcome is None:
            raise CutOff(told.command, engine.migration.state)
        return _answer_of(told)
    task = engine.spawn(_journaled(engine, name, caller, args, key, acts), f"command {name}, keyed")
    engine.keyed[key] = (digest, task)
    task.add_done_callback(lambda _: engine.keyed.pop(key, None))
    return await asyncio.shield(task)


def _digest(name: str, caller: Caller, args: Args) -> str:
    """What a key stands for: the command, its arguments and the uid that gave it."""
    text = json.dumps([name, caller.uid, args.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _answer_of(told: Told) -> dict[str, Any]:
    """The first outcome, told again."""
    outcome: dict[str, Any] = told.outcome or {}
    if "error" not in outcome:
        answer: dict[str, Any] = outcome["answer"]
        return answer | {"repeated": True}
    error = outcome["error"]
    if error.get("rule"):
        again: CutoverError = RefusedByRule(
            error["rule"], error["message"].removeprefix(f"{error['rule']}: "), hint=error["hint"]
        )
    else:
        again = CutoverError(error["message"], where=error["where"], hint=error["hint"])
    again.code, again.exit_code = error["code"], error["exit_code"]  # type: ignore[misc]
    raise again


async def _journaled(engine: Engine, name: str, caller: Caller, args: Args, key: str, acts: bool) -> dict[str, Any]:
    """One command, from its COMMAND to its end."""
    given = {k: v for k, v in args.model_dump(mode="json").items() if v not in (None, "", False)}
    data: dict[str, Any] = {"id": new_id(), "command": name, "args": given, **caller.as_data()}
    if key:
        data |= {"key": key, "digest": _digest(name, caller, args)}
    await engine.record(Kind.COMMAND, data, actor=caller.text)
    failpoint("command.after-journaled")
    try:
        if not acts:
            text = f"{caller.text} only observes this migration"
            raise RefusedByRule("SEAT", text, hint="operators.acts of the plan names who may act")
        if name in NEEDS_SEAT:
            await require_seat(engine, caller)
        answer = await COMMANDS[name][1](engine, caller, args)
    except CutoverError as error:
        if isinstance(error, RefusedByRule):
            refusal = {"command": name, "rule": error.rule, "reason": error.message.removeprefix(f"{error.rule}: ")}
            await engine.record(Kind.REFUSED, refusal | {"uid": caller.uid}, actor=caller.text)
        await _ended(engine, data, {"error": _error_data(error)})
        raise
    failpoint("command.before-ended")
    await _ended(engine, data, {"answer": answer})
    return answer


async def _ended(engine: Engine, data: dict[str, Any], outcome: dict[str, Any]) -> None:
    if "key" in data:
        told = {"id": data["id"], "command": data["command"], "key": data["key"], "outcome": outcome}
        await engine.record(Kind.COMMAND_ENDED, told)


def _error_data(error: CutoverError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "exit_code": error.exit_code, "message": error.message}
    return body | {"where": error.where, "hint": error.hint, "rule": getattr(error, "rule", "")}

"""Carries out the commands of those who ask for calls."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mcp.server.stdio import stdio_server
from pydantic import ValidationError
from rich.console import Console

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest
from ai_engine.web.call_screen import console, show_call, show_calls, show_entry
from ai_engine.web.client import EngineClient, EngineUnreachable
from ai_engine.web.mcp_server import mcp_server
from ai_engine.web.problems import Problem, invalid

DONE, FAILED, USAGE, NO_SUCH_CALL, REFUSED, UNREACHABLE, NOTHING = range(7)
INTERRUPTED = 130

_DEFAULT_URL = "http://127.0.0.1:4545"
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
"""So long an engine that was there may be away while a call is watched: it is restarted, and goes on with the call."""

_OPTIONS = {
    "to": "to",
    "goal": "goal",
    "prompt": "prompt",
    "duration": "durationMinutes",
    "timezone": "timezone",
    "window_start": "windowStart",
    "window_end": "windowEnd",
    "calendar": "calendarId",
    "user": "userName",
    "callee": "calleeName",
    "agent": "agent",
    "trunk": "trunk",
    "key": "idempotencyKey",
}
"""What options are called in a request."""


def run_command(options: argparse.Namespace, environ: Mapping[str, str], version: str = "") -> int:
    """The exit status."""
    try:
        return asyncio.run(_run(options, environ, version))
    except Problem as problem:
        print(f"{options.command}: {problem}", file=sys.stderr)
        return _status_of(problem)
    except KeyboardInterrupt:
        return INTERRUPTED


async def _run(options: argparse.Namespace, environ: Mapping[str, str], version: str) -> int:
    url = options.url or environ.get("CALL_AGENT_URL") or _DEFAULT_URL
    # The engine may know several.
    token = options.token or environ.get("CALL_AGENT_TOKEN", "").partition(",")[0].strip()
    async with EngineClient(url, token) as engine:
        match options.command:
            case "call":
                return await _call(engine, options)
            case "call-status":
                return await _call_status(engine, options)
            case "calls":
                return await _calls(engine, options)
            case "call-cancel":
                return _show(options, _found(options.id, await engine.cancel(options.id)))
            case _:
                return await _serve_mcp(engine, version)


async def _call(engine: EngineClient, options: argparse.Namespace) -> int:
    record = await engine.call_agent(_request(options))
    if options.wait:
        if not options.json:
            _show(options, record)
        return await _watch(engine, record.id, options)
    return _show(options, record)


async def _call_status(engine: EngineClient, options: argparse.Namespace) -> int:
    if options.watch:
        return await _watch(engine, options.id, options)
    return _show(options, _found(options.id, await engine.status(options.id)))


async def _calls(engine: EngineClient, options: argparse.Namespace) -> int:
    records = await engine.calls(limit=options.limit, status=options.status)
    if options.json:
        print(json.dumps([record.as_json() for record in records], indent=2))
    elif records:
        show_calls(console(), records)
    else:
        print("no calls")
    return DONE


async def _watch(engine: EngineClient, call_id: str, options: argparse.Namespace) -> int:
    screen = console()
    told = (lambda _: None) if options.json else (lambda entry: show_entry(screen, entry))
    try:
        record = await follow(engine, call_id, told)
    except asyncio.CancelledError:
        print(f"the call goes on; to see more: call-status {call_id} --watch", file=sys.stderr)
        raise
    _show(options, record, screen)
    return DONE if came_to_something(record) else NOTHING


async def follow(
    engine: EngineClient,
    call_id: str,
    told: Callable[[TimelineEntry], None],
    *,
    poll_seconds: float = _POLL_SECONDS,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> CallRecord:
    """Tell what happens until the call is settled, whatever happened before included; the engine may be restarted
    meanwhile. Raises Problem."""
    loop = asyncio.get_running_loop()
    seen, heard_at = 0, None
    while True:
        try:
            record = _found(call_id, await engine.status(call_id))
            entries = await engine.timeline(call_id)
            heard_at = loop.time()
        except EngineUnreachable:
            if heard_at is None or loop.time() - heard_at > patience_seconds:
                raise
        else:
            for entry in entries[seen:]:
                told(entry)
            seen = len(entries)
            if record.settled:
                return record
        await asyncio.sleep(poll_seconds)


def came_to_something(record: CallRecord) -> bool:
    """Whether a settled call did what it was for."""
    if record.report is not None and record.report.outcome not in ("success", "unknown"):
        return False
    return record.outcome in ("scheduled", "reported", "talked")


async def _serve_mcp(engine: EngineClient, version: str) -> int:
    try:
        await engine.check()
    except Problem as problem:
        # It may be started later; until then the tools say so, too.
        print(f"mcp: {problem}", file=sys.stderr)
    server = mcp_server(engine, version)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
    return DONE


def _request(options: argparse.Namespace) -> CallRequest:
    given = {key: value for name, key in _OPTIONS.items() if (value := getattr(options, name)) is not None}
    try:
        return CallRequest.model_validate({**given, **_working_hours(options)})
    except ValidationError as error:
        raise _in_options(invalid(error.errors(include_url=False))) from error


def _working_hours(options: argparse.Namespace) -> dict[str, Any]:
    hours: dict[str, Any] = {}
    if options.working_hours is not None:
        hours["start"], _, hours["end"] = options.working_hours.partition("-")
    if options.days is not None:
        hours["days"] = options.days.split(",")
    return {"workingHours": hours} if hours else {}


def _in_options(problem: Problem) -> Problem:
    """Said in the words of the command line."""
    names = {f"/{key}": "--" + name.replace("_", "-") for name, key in _OPTIONS.items()}
    names |= {"/workingHours": "--working-hours, --days", "": "call"}
    told = [f"{names.get('/'.join(one['pointer'].split('/')[:2]))}: {one['detail']}" for one in problem.errors]
    return Problem(422, "bad-request", "; ".join(told))


def _show(options: argparse.Namespace, record: CallRecord, screen: Console | None = None) -> int:
    if options.json:
        print(json.dumps(record.as_json(), indent=2))
    else:
        show_call(screen or console(), record)
    return DONE


def _found(call_id: str, record: CallRecord | None) -> CallRecord:
    if record is None:
        raise Problem(404, "no-such-call", f"there is no call {call_id!r}; 'calls' lists those there are")
    return record


def _status_of(problem: Problem) -> int:
    match problem.kind:
        case "no-such-call":
            return NO_SUCH_CALL
        case "not-allowed" | "call-refused":
            return REFUSED
        case "unreachable":
            return UNREACHABLE
        case "bad-request" | "key-reused":
            return USAGE
        case _:
            return FAILED

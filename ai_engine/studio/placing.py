"""What `studio call` does."""

import asyncio
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.status import Status
from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import Engine, ask, one
from ai_engine.studio.errors import CALL_FAILED, NOT_FOUND, OK, USAGE, Stop, plainly
from ai_engine.studio.output import remark, say, show_json
from ai_engine.studio.place import place
from ai_engine.studio.where import Where
from ai_engine.switchboard.models import StudioCall
from ai_engine.web.call_screen import console, show_call, show_entry, verdict

_POLL_SECONDS = 0.5
_OPTIONS = {
    "to": "TO",
    "fromNumber": "--from",
    "ringSeconds": "--ring-timeout",
    "maxSeconds": "--max-duration",
    "variables": "--var",
    "agent": "AGENT",
}
"""What fields are called on the command line."""


def place_call(
    where: Where,
    *,
    agent: str,
    to: str,
    from_number: str | None,
    ring_timeout: float | None,
    max_duration: float | None,
    variables: Sequence[str],
    wait: bool,
    as_json: bool,
) -> int:
    """Raises Stop."""
    request = _request(
        {
            "agent": agent,
            "to": to,
            "fromNumber": from_number,
            "ringSeconds": ring_timeout,
            "maxSeconds": max_duration,
            "variables": dict(map(_variable, variables)),
        }
    )
    engine = one(where, place(where))
    record = ask(engine, lambda client: client.call(request))
    if not wait:
        if as_json:
            show_json(record.as_json())
        else:
            say(f"{agent} calls {record.request.to}: {record.id}")
            say(f"  studio list, studio calls show {record.id}, studio hangup {record.id}", "dim")
        return OK
    return _waited(engine, record, as_json)


def _request(fields: Mapping[str, object]) -> StudioCall:
    try:
        return StudioCall.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        told = [
            f"{_OPTIONS.get(str(part['loc'][0]), 'call') if part['loc'] else 'call'}: {plainly(part['msg'])}"
            for part in error.errors(include_url=False)
        ]
        raise Stop(USAGE, "; ".join(told)) from error


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Stop(USAGE, f"--var {text}: must be NAME=VALUE")
    return name, value


def _waited(engine: Engine, record: CallRecord, as_json: bool) -> int:
    try:
        if not as_json:
            say(f"{record.id}: {record.request.agent or 'the agent'} calls {record.request.to}")
        record = ask(engine, lambda client: _followed(client, record.id, quiet=as_json))
    except KeyboardInterrupt:
        remark(f"the call goes on: studio hangup {record.id} ends it, studio calls show {record.id} says how it went")
        raise
    if as_json:
        show_json(record.as_json())
    else:
        show_call(console(), record)
    if record.status is Status.COMPLETED:
        return OK
    remark(f"call failed: {verdict(record)}")
    return CALL_FAILED


async def _followed(client: StudioClient, id: str, *, quiet: bool) -> CallRecord:
    screen, seen = console(), 0
    while True:
        record = await client.job(id)
        if record is None:
            raise Stop(NOT_FOUND, f"the engine knows no call {id} any more")
        entries = await client.timeline(id)
        for entry in [] if quiet else entries[seen:]:
            show_entry(screen, entry)
        seen = len(entries)
        if record.settled:
            return record
        await asyncio.sleep(_POLL_SECONDS)

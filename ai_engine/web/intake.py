"""Takes requests for calls, from whichever door, to the desk."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest
from ai_engine.web.problems import Problem

_DEEPEST = 16
"""How many lists and objects of `metadata` may lie in each other."""


class AskingDesk(Protocol):
    """What of a ``CallDesk`` the tools need."""

    async def call_agent(self, request: CallRequest) -> CallRecord: ...

    async def status(self, call_id: str) -> CallRecord | None: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """A call that was asked for."""

    record: CallRecord
    again: bool
    """It had been asked for before, with the same idempotency key."""


async def take(desk: AskingDesk, request: CallRequest) -> Taken:
    """Have the desk place the call.

    Raises Problem: the request cannot be kept, the rules of the house forbid it, or its key is another call's.
    """
    _check_metadata(request.metadata)
    began = datetime.now(UTC)
    try:
        record = await desk.call_agent(request)
    except RequestRefused as refusal:
        raise Problem(403, "call-refused", str(refusal)) from refusal
    again = request.idempotency_key is not None and record.created_at < began
    if again and (different := _different(request, record.request)):
        names = ", ".join(different)
        raise Problem(422, "key-reused", f"This idempotency key is that of call {record.id}, which was asked for with"
                      f" another {names}. Use a new key for a new call.")  # fmt: skip
    return Taken(record, again)


def _different(request: CallRequest, first: CallRequest) -> list[str]:
    """The keys in which a request is another one; what it leaves out may have been filled in since."""
    fields = type(request).model_fields
    return [
        str(fields[name].alias)
        for name in sorted(request.model_fields_set - {"idempotency_key"})
        if getattr(request, name) != getattr(first, name)
    ]


def _check_metadata(metadata: dict[str, Any]) -> None:
    """What is taken must be possible to write down, and to tell again. Raises Problem."""
    try:
        if _depth(metadata) <= _DEEPEST:
            json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()
            return
        why = f"lies deeper than {_DEEPEST} levels"
    except ValueError:  # that of UTF-8 is one, too
        why = "has a number or a character that JSON cannot hold"
    raise Problem(422, "bad-request", f"metadata: {why}", errors=[{"pointer": "/metadata", "detail": why}])


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [item for one in inner for item in one]
        depth += bool(inner)
    return depth

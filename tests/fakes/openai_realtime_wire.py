"""The events of OpenAI Realtime (GA), held to the types of the vendor's own SDK."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter, ValidationError

Wire = dict[str, Any]
Path = tuple[str | int, ...]


class Refusal(Exception):
    """Why a client event is answered with ``error``."""

    def __init__(self, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


class Violation(Refusal):
    """The client event breaks the protocol whatever the state of the session."""


def check_client(event: Wire) -> None:
    """Raises Violation when the SDK's types do not know ``event``, or something in it."""
    if "type" not in event:
        raise missing("type")
    if event["type"] not in _CLIENT:
        known = ", ".join(f"'{type}'" for type in _CLIENT)
        raise Violation("invalid_value", f"Invalid value: '{event['type']}'. Supported values are: {known}.", "type")
    event = _without_references(event)
    try:
        parsed = _CLIENT[event["type"]].validate_python(event, strict=True)
    except ValidationError as error:
        raise _violation(error, event) from None
    for path in _unknown(parsed):
        raise Violation("unknown_parameter", f"Unknown parameter: '{dotted(path)}'.", dotted(path))


def check_server(event: Wire) -> None:
    """Raises AssertionError when the SDK's types do not know ``event``."""
    try:
        _SERVER[event["type"]].validate_python(event, strict=True)
    except (KeyError, ValidationError) as error:
        raise AssertionError(f"the fake would send a bad {event.get('type')}: {error}") from error


def missing(param: str) -> Violation:
    return Violation("missing_required_parameter", f"Missing required parameter: '{param}'.", param)


def invalid(param: str, value: object, expected: str) -> Violation:
    return Violation("invalid_value", f"Invalid value for '{param}': {value!r}. Expected {expected}.", param)


def wrong_type(param: str, why: str) -> Violation:
    return Violation("invalid_type", f"Invalid type for '{param}': {why}.", param)


def dotted(path: Sequence[str | int]) -> str:
    """As the vendor writes it: ``session.tools[0].name``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def check_id(param: str, id: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,32}", id):
        raise invalid(param, id, "1 to 32 letters, digits, '_' and '-'")


def _by_type(union: object) -> dict[str, TypeAdapter[Any]]:
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["type"].annotation)[0]: TypeAdapter(member) for member in members}


_CLIENT = _by_type(RealtimeClientEvent)
_SERVER = _by_type(RealtimeServerEvent)


def _without_references(event: Wire) -> Wire:
    """The SDK's response types do not have what ``input`` may hold besides whole items."""
    response = event.get("response")
    if not isinstance(response, dict) or not isinstance(response.get("input"), list):
        return event
    items = [item for item in response["input"] if item.keys() != {"type", "id"} or item["type"] != "item_reference"]
    return {**event, "response": {**response, "input": items}}


def _unknown(value: object, path: Path = ()) -> Iterator[Path]:
    """The SDK's types let anything more pass."""
    if isinstance(value, BaseModel):
        yield from ((*path, name) for name in value.model_extra or ())
        for name in value.model_fields_set & type(value).model_fields.keys():
            yield from _unknown(getattr(value, name), (*path, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _unknown(one, (*path, index))


def _violation(error: ValidationError, event: Wire) -> Violation:
    """What is wrong by those members of a union that ``event`` means to be, as its ``type`` and ``role`` tell."""
    complaints = [
        (*_located(one["loc"], event), one["type"], one["msg"])
        for one in error.errors(include_url=False, include_input=False)
    ]
    others = {
        members for path, members, kind, _ in complaints if kind == "literal_error" and path[-1] in ("type", "role")
    }
    meant = [one for one in complaints if not any(one[1][:depth] in others for depth in range(len(one[1]) + 1))]
    path, _, kind, message = max(meant or complaints, key=lambda one: len(one[0]))
    param = dotted(path)
    if kind == "missing":
        return missing(param)
    if kind.endswith("_type"):
        return wrong_type(param, message)
    return Violation("invalid_value", f"Invalid value for '{param}': {message}.", param)


def _located(location: tuple[Any, ...], event: Wire) -> tuple[Path, tuple[str, ...]]:
    """The path in the event, and the members of unions on it."""
    path: list[str | int] = []
    members: list[str] = []
    here: Any = event
    for number, part in enumerate(location):
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int)):
            here = here[part]
            path.append(part)
        elif number == len(location) - 1 and isinstance(here, dict):
            path.append(part)
        else:
            members.append(str(part))
    return tuple(path), tuple(members)

"""Asterisk's media WebSocket (``chan_websocket``): its events and commands."""

import json
import re
from dataclasses import dataclass
from typing import Any

from ai_engine.errors import PeerError

SUBPROTOCOL = "media"

CONNECTION_ID_FACT = "MEDIA_WEBSOCKET_CONNECTION_ID"
"""The channel variable that names the connection; it is the last part of the URL's path."""

_LONGEST_COMMAND = 128
"""Characters; Asterisk ignores longer ones without a word."""

_PLAIN = re.compile(r"([A-Z][A-Z0-9_]*)(?: (.*))?", re.DOTALL | re.ASCII)

# -- events -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MediaStarted:
    """The first event of every connection."""

    connection_id: str
    format: str
    """``slin``, ``slin16`` …"""
    frame_bytes: int
    """What Asterisk plays in ``ptime`` milliseconds; 0 for formats it passes through."""
    ptime: int
    is_json: bool
    """Whether events and commands are JSON; else plain text, in which an old Asterisk knows no marks."""


@dataclass(frozen=True, slots=True)
class MarkProcessed:
    """The queue has come to a mark: what was sent after it is played from now on."""

    id: str


@dataclass(frozen=True, slots=True)
class DigitEnded:
    """A key of the caller's telephone was let go."""

    digit: str


@dataclass(frozen=True, slots=True)
class Full:
    """``MEDIA_XOFF``: the queue takes little more; beyond 1000 frames sound is dropped."""


@dataclass(frozen=True, slots=True)
class HasRoom:
    """``MEDIA_XON``: the queue takes sound again."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Asterisk could not do what it was told."""

    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """An event that asks for nothing, among them those of later versions."""

    name: str


Event = MediaStarted | MarkProcessed | DigitEnded | Full | HasRoom | Failed | Other


def parse_event(message: bytes | bytearray) -> Event:
    """The event in a text message, JSON or plain. Raises PeerError when there is none."""
    try:
        text = message.decode()
    except UnicodeDecodeError as error:
        raise PeerError("a text message that is no UTF-8") from error
    return _from_json(text) if text.lstrip().startswith(("{", "[", '"')) else _from_plain(text)


def _from_json(text: str) -> Event:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PeerError(f"a message that is no JSON: {text[:80]!r}") from error
    name = fields.get("event") if isinstance(fields, dict) else None
    if not isinstance(name, str):
        raise PeerError(f"a message that names no event: {text[:80]!r}")
    return _event(name, fields, is_json=True)


def _from_plain(text: str) -> Event:
    found = _PLAIN.fullmatch(text.rstrip("\r\n"))
    if found is None:
        raise PeerError(f"a message that is no event: {text[:80]!r}")
    name, rest = found[1], found[2] or ""
    pairs = (word.partition(":") for word in rest.split())
    fields: dict[str, Any] = {key: value for key, colon, value in pairs if colon}
    # A mark's name stands there without a key, and an error's text has spaces.
    return _event(name, {"correlation_id": rest, "error_text": rest, **fields}, is_json=False)


def _event(name: str, fields: dict[str, Any], *, is_json: bool) -> Event:
    match name:
        case "MEDIA_START":
            return MediaStarted(
                _text(name, fields, "connection_id"),
                _text(name, fields, "format"),
                _number(name, fields, "optimal_frame_size"),
                _number(name, fields, "ptime"),
                is_json,
            )
        case "MEDIA_MARK_PROCESSED":
            return MarkProcessed(_text(name, fields, "correlation_id"))
        case "DTMF_END":
            digit = _text(name, fields, "digit").upper()
            # Asterisk hands on fax tones as digits of their own.
            return DigitEnded(digit) if re.fullmatch("[0-9*#A-D]", digit, re.ASCII) else Other(name)
        case "MEDIA_XOFF":
            return Full()
        case "MEDIA_XON":
            return HasRoom()
        case "ERROR":
            return Failed(str(fields.get("error_text", ""))[:200])
    return Other(name)


def _text(name: str, fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise PeerError(f"{name} without {key}")
    return value


def _number(name: str, fields: dict[str, Any], key: str) -> int:
    value = fields.get(key)
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value, re.ASCII):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise PeerError(f"{name} without {key}")
    return value


# -- commands ---------------------------------------------------------------------------------------------


def encode_command(command: str, correlation_id: str = "", *, is_json: bool = True) -> str:
    """A command (``FLUSH_MEDIA``, ``MARK_MEDIA`` …). Raises ValueError for one Asterisk would not read."""
    if not is_json:
        text = f"{command} {correlation_id}" if correlation_id else command
    elif correlation_id:
        text = json.dumps({"command": command, "correlation_id": correlation_id}, separators=(",", ":"))
    else:
        text = json.dumps({"command": command}, separators=(",", ":"))
    if len(text) > _LONGEST_COMMAND:
        raise ValueError(f"a command of {len(text)} characters; Asterisk reads {_LONGEST_COMMAND}")
    return text

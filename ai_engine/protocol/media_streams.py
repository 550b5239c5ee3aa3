"""Twilio Media Streams: the JSON messages of a call's sound, both ways."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ai_engine.errors import PeerError

ENCODING = "audio/x-mulaw"
RATE = 8000
BYTES_PER_MS = RATE // 1000
"""Of mu-law: a byte is a sample."""

LONGEST_MESSAGE = 64 * 1024
"""Characters; 20 ms of sound have about 350."""

_NUMBER = re.compile("[0-9]{1,15}", re.ASCII)
_DIGIT = re.compile("[0-9*#A-D]", re.ASCII)

# -- from Twilio ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamConnected:
    """The first message of every connection."""

    protocol: str = "Call"
    version: str = ""


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """Sound flows from now on; once."""

    stream_sid: str
    """Names the stream in all that is sent to it."""
    call_sid: str = ""
    account_sid: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The ``<Parameter>`` of our TwiML, a secret among them."""


@dataclass(frozen=True, slots=True)
class SoundReceived:
    """Some of the caller's sound."""

    ulaw: bytes = field(repr=False)
    timestamp_ms: int | None = None
    """When it begins, since the stream started."""


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """A key of the caller's telephone."""

    digit: str


@dataclass(frozen=True, slots=True)
class MarkReturned:
    """What was sent before the mark has been played, or was cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The last message: the call is over, or has left the stream."""


@dataclass(frozen=True, slots=True)
class Other:
    """An event that asks for nothing, among them those of later versions."""

    name: str


Event = StreamConnected | StreamStarted | SoundReceived | KeyPressed | MarkReturned | StreamStopped | Other


def parse_event(message: str) -> Event:
    """The event in a text message. Raises PeerError when there is none, or it lacks what it must have."""
    if len(message) > LONGEST_MESSAGE:
        raise PeerError(f"a message of {len(message)} characters")
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise PeerError("a message that is no JSON") from error
    name = fields.get("event") if isinstance(fields, dict) else None
    if not isinstance(name, str):
        raise PeerError("a message that names no event")
    match name:
        case "media":
            return _sound(_part(fields, name))
        case "connected":
            return StreamConnected(str(fields.get("protocol", "")), str(fields.get("version", "")))
        case "start":
            return _start(fields, _part(fields, name))
        case "dtmf":
            digit = _text(name, _part(fields, name), "digit").upper()
            return KeyPressed(digit) if _DIGIT.fullmatch(digit) else Other(name)
        case "mark":
            return MarkReturned(_text(name, _part(fields, name), "name"))
        case "stop":
            return StreamStopped()
    return Other(name[:40])


def _sound(media: Mapping[str, Any]) -> Event:
    if media.get("track", "inbound") not in ("inbound", "inbound_track"):
        return Other("media of another track")
    try:
        ulaw = b64decode(_text("media", media, "payload"), validate=True)
    except ValueError as error:
        raise PeerError("media whose payload is no base64") from error
    return SoundReceived(ulaw, _number(media.get("timestamp")))


def _start(fields: Mapping[str, Any], start: Mapping[str, Any]) -> StreamStarted:
    form = start.get("mediaFormat", {})
    if not isinstance(form, dict):
        raise PeerError("start without mediaFormat")
    offered = form.get("encoding", ENCODING), _number(form.get("sampleRate", RATE)), _number(form.get("channels", 1))
    if offered != (ENCODING, RATE, 1):
        raise PeerError(f"a stream of {offered[0]!r}, {offered[1]} Hz, {offered[2]} channels")
    given = start.get("customParameters", {})
    if not isinstance(given, dict):
        raise PeerError("start whose customParameters are no object")
    sid = start.get("streamSid") or fields.get("streamSid")
    if not isinstance(sid, str) or not 0 < len(sid) <= 100:
        raise PeerError("start without streamSid")
    return StreamStarted(
        sid,
        str(start.get("callSid") or "")[:100],
        str(start.get("accountSid") or "")[:100],
        {name: value for name, value in given.items() if isinstance(value, str)},
    )


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = fields.get(name)
    if not isinstance(part, dict):
        raise PeerError(f"{name} without its object")
    return part


def _text(event: str, fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise PeerError(f"{event} without {key}")
    return value


def _number(value: object) -> int | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


# -- to Twilio --------------------------------------------------------------------------------------------


def encode_sound(stream_sid: str, ulaw: bytes) -> str:
    """To be played behind all that was sent before."""
    return _message("media", stream_sid, {"payload": b64encode(ulaw).decode()})


def encode_mark(stream_sid: str, name: str) -> str:
    """To come back as ``MarkReturned`` when what was sent before has been played."""
    return _message("mark", stream_sid, {"name": name})


def encode_clear(stream_sid: str) -> str:
    """Forget what was sent and is not played; its marks come back at once."""
    return json.dumps({"event": "clear", "streamSid": stream_sid}, separators=(",", ":"))


def _message(event: str, stream_sid: str, part: Mapping[str, str]) -> str:
    return json.dumps({"event": event, "streamSid": stream_sid, event: part}, separators=(",", ":"))

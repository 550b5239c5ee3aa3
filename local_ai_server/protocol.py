"""The wire of docs/local_ai_protocol.md: messages to and from JSON text, sound to and from binary frames."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, TypeAlias

from local_ai_server.agent import Agent, read_agent
from local_ai_server.errors import ProtocolError
from local_ai_server.tools import Tools, read_tools

VERSION = 1
LINE_RATES = (8000, 16000)
"""Hz a telephone line may have."""
MAX_SOUND_BYTES = 64 * 1024
MAX_TURN_BYTES = 4 * 1024 * 1024
PARTS = ("stt", "llm", "tts")
DIGITS = "0123456789*#ABCD"

CLOSE_CODES = {"bad_message": 1008, "busy": 1013, "internal": 1011}
"""The WebSocket close code that follows a fatal ``error`` of this code."""

_REPLY_ID = struct.Struct("!I")


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("must be a whole number of at least 0")
    return value


def _version(value: object) -> int:
    if value != VERSION or isinstance(value, bool):
        raise ValueError(f"must be {VERSION}")
    return VERSION


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _line_rate(value: object) -> int:
    if not isinstance(value, int) or value not in LINE_RATES:
        raise ValueError(f"must be one of {', '.join(map(str, LINE_RATES))}")
    return value


def _milliseconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError("must be a number of at least 0")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _digit(value: object) -> str:
    if not isinstance(value, str) or len(value) != 1 or value not in DIGITS:
        raise ValueError(f"must be one of {DIGITS}")
    return value


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _history(value: object) -> tuple[tuple[str, str], ...]:
    def is_entry(entry: object) -> bool:
        return isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry)

    if not isinstance(value, list) or not all(is_entry(entry) for entry in value):
        raise ValueError("must be a list of [speaker, text]")
    return tuple((speaker, text) for speaker, text in value)


def _parts(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(part in PARTS for part in value):
        raise ValueError(f"must be a list of some of {', '.join(PARTS)}")
    return frozenset(value)


@dataclass(frozen=True, slots=True)
class Context:
    """What a client that keeps the conversation itself wants to have answered; None: as the session has it."""

    prompt: str | None
    history: tuple[tuple[str, str], ...] | None
    tools: Tools | None


def _context(value: object) -> Context:
    given = _object(value)
    readers: Mapping[str, Callable[[object], Any]] = {"prompt": _text, "history": _history, "tools": read_tools}
    if given.keys() - readers.keys():
        raise ValueError(f"may only have {', '.join(readers)}")
    found = dict.fromkeys(readers)
    for name in given:
        try:
            found[name] = readers[name](given[name])
        except ValueError as error:
            raise ValueError(f"has a {name} that {error}") from None
    return Context(**found)


def _read(reader: Callable[[object], Any], default: Any = MISSING) -> Any:
    """A field of a client message, checked and converted by ``reader`` (which raises ValueError); required if it has
    no ``default``."""
    return field(default=default, metadata={"read": reader})


@dataclass(frozen=True, slots=True)
class Start:
    protocol: int = _read(_version)
    call_id: str = _read(_text)
    agent: Agent = _read(read_agent)
    history: tuple[tuple[str, str], ...] = _read(_history, ())
    rate: int | None = _read(_line_rate, None)
    """Of the caller's line; the server takes sound at it where it can."""
    parts: frozenset[str] = _read(_parts, frozenset(PARTS))
    """What of the server the client wants."""
    tools: Tools | None = _read(read_tools, None)
    """What a language model may ask for; None: the server's own two."""


@dataclass(frozen=True, slots=True)
class Greet:
    pass


@dataclass(frozen=True, slots=True)
class TurnBegin:
    turn: int = _read(_integer)


@dataclass(frozen=True, slots=True)
class TurnEnd:
    turn: int = _read(_integer)
    brief: bool = _read(_flag, False)
    """It was a short sound into the agent's own words."""


@dataclass(frozen=True, slots=True)
class TurnDrop:
    turn: int = _read(_integer)


@dataclass(frozen=True, slots=True)
class Text:
    turn: int = _read(_integer)
    text: str = _read(_text)
    context: Context | None = _read(_context, None)


@dataclass(frozen=True, slots=True)
class Say:
    text: str = _read(_text)
    continues: bool = _read(_flag, False)
    """It goes on from the `say` before it."""


@dataclass(frozen=True, slots=True)
class Digit:
    digit: str = _read(_digit)


@dataclass(frozen=True, slots=True)
class Nudge:
    last: bool = _read(_flag, False)


@dataclass(frozen=True, slots=True)
class Cancel:
    reply: int = _read(_integer)
    heard_ms: float = _read(_milliseconds)


@dataclass(frozen=True, slots=True)
class ToolResult:
    id: str = _read(_text)
    result: Mapping[str, Any] = _read(_object)


@dataclass(frozen=True, slots=True)
class Note:
    """Something the agent is to know from its next reply on, and nobody said."""

    text: str = _read(_text)


@dataclass(frozen=True, slots=True)
class StatusAsked:
    pass


@dataclass(frozen=True, slots=True)
class Backends:
    stt: str
    llm: str
    tts: str


@dataclass(frozen=True, slots=True)
class Ready:
    protocol: int
    input_rate: int
    output_rate: int
    backends: Backends
    notes: bool = False
    """Whether it takes ``note``."""


@dataclass(frozen=True, slots=True)
class Partial:
    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class Final:
    turn: int
    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Reply:
    reply: int
    turn: int | None


@dataclass(frozen=True, slots=True)
class Token:
    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class Clause:
    reply: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolAsked:
    reply: int
    id: str
    name: str
    arguments: Mapping[str, Any]
    goes_on: bool = False
    """The agent says something when it knows what came of it."""


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    reply: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Status:
    backends: Backends
    models: Mapping[str, Mapping[str, Any]]
    """By kind: name, folder, device, languages, load_seconds."""
    sessions: int
    workers: int
    queue: int


@dataclass(frozen=True, slots=True)
class Error:
    code: str
    message: str
    fatal: bool


ClientMessage: TypeAlias = (
    Start
    | Greet
    | TurnBegin
    | TurnEnd
    | TurnDrop
    | Text
    | Say
    | Digit
    | Nudge
    | Cancel
    | ToolResult
    | Note
    | StatusAsked
)
ServerMessage: TypeAlias = Ready | Partial | Final | Reply | Token | Clause | ToolAsked | ReplyEnd | Status | Error

CLIENT_TYPES: Mapping[str, type[ClientMessage]] = {
    "start": Start,
    "greet": Greet,
    "turn_begin": TurnBegin,
    "turn_end": TurnEnd,
    "turn_drop": TurnDrop,
    "text": Text,
    "say": Say,
    "digit": Digit,
    "nudge": Nudge,
    "cancel": Cancel,
    "tool_result": ToolResult,
    "note": Note,
    "status": StatusAsked,
}
SERVER_TYPES: Mapping[str, type[ServerMessage]] = {
    "ready": Ready,
    "partial": Partial,
    "final": Final,
    "reply": Reply,
    "token": Token,
    "clause": Clause,
    "tool": ToolAsked,
    "reply_end": ReplyEnd,
    "status": Status,
    "error": Error,
}
_TYPE_NAMES = {kind: name for name, kind in SERVER_TYPES.items()}


def decode_client(text: str) -> ClientMessage:
    """One text frame from a client. Raises ProtocolError with a sentence saying what is wrong."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("a text frame must be JSON") from None
    if not isinstance(given, dict):
        raise ProtocolError("a text frame must be a JSON object")
    name = given.pop("type", None)
    kind = CLIENT_TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ProtocolError(f"unknown message type {str(name)[:40]!r}")
    expected = fields(kind)
    for key in given.keys() - {each.name for each in expected}:
        raise ProtocolError(f"{name!r} has the unknown field {key[:40]!r}")
    return kind(**{each.name: _value(str(name), each, given) for each in expected})


def _value(message: str, expected: "Field[Any]", given: dict[str, object]) -> Any:
    if expected.name not in given:
        if expected.default is not MISSING:
            return expected.default
        raise ProtocolError(f"{message!r} lacks the field {expected.name!r}")
    try:
        return expected.metadata["read"](given[expected.name])
    except ValueError as error:
        raise ProtocolError(f"{message!r}: {expected.name} {error}") from None


def encode(message: ServerMessage) -> str:
    """One text frame to a client."""
    return json.dumps({"type": _TYPE_NAMES[type(message)], **asdict(message)}, ensure_ascii=False)


def pack_sound(reply: int, pcm: bytes) -> bytes:
    """One binary frame to a client: PCM16 little-endian that belongs to ``reply``."""
    return _REPLY_ID.pack(reply) + pcm


def unpack_sound(frame: bytes) -> tuple[int, bytes]:
    """``(reply, pcm)`` of one binary frame to a client. Raises ProtocolError."""
    if len(frame) < _REPLY_ID.size or len(frame) % 2:
        raise ProtocolError("a sound frame is a 4-byte reply id and whole samples")
    return _REPLY_ID.unpack_from(frame)[0], frame[_REPLY_ID.size :]


def check_sound(frame: bytes) -> bytes:
    """One binary frame from a client: raw PCM. Raises ProtocolError."""
    if len(frame) % 2:
        raise ProtocolError("a sound frame must hold whole 16-bit samples")
    if len(frame) > MAX_SOUND_BYTES:
        raise ProtocolError(f"a sound frame may not exceed {MAX_SOUND_BYTES} bytes")
    return frame

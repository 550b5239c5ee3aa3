"""Asterisk's media WebSocket (``chan_websocket``): events, commands, and how far ahead of time its sound is sent."""

import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ai_engine.audio.format import FRAME_MS
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


# -- the sound that Asterisk is sent before it is due -------------------------------------------------------


class Source(Protocol):
    """Where frames come from; see ``session.ports.Line``."""

    def next_frame(self) -> bytes | None: ...

    def upcoming(self, frames: int) -> Sequence[bytes]: ...


@dataclass(slots=True)
class _Mark:
    number: int
    position: int
    """It stands before this frame, counted from the start of the connection."""
    due: float | None
    """When that frame was given by ``next_frame``, in seconds; None while it is not."""


class Lookahead:
    """Decides every 20 ms what Asterisk is sent, so that its queue never runs dry in the middle of speech.

    What ``tick`` and ``flush`` return is to be sent in order: ``str`` is a command, ``bytes`` whole frames of sound.
    The frame due now and the next ``ahead_ms`` leave at once when speech begins, and from then on each frame leaves
    that long before it is due. Silence goes frame by frame, so that a reply has nothing to wait for.
    """

    def __init__(self, ahead_ms: int, silence: bytes, *, is_json: bool = True) -> None:
        """``silence`` is one frame; in plain text no marks are set, and ``lag_ms`` stays 0."""
        self.lag_ms = 0.0
        """How much later than ``next_frame`` gave it a frame is played, never below 0. Half of it is the latest
        measurement in this stretch of speech, so that one late message does not weigh too much."""
        self._ahead = ahead_ms // FRAME_MS
        self._silence = silence
        self._marking = is_json
        self._flush = encode_command("FLUSH_MEDIA", is_json=is_json)
        self._sent = 0
        self._given = 0
        """Frames of speech that Asterisk was sent, and those of them that ``next_frame`` has given."""
        self._owed = 0
        """Frames that Asterisk has played although ``next_frame`` has not given them: we stood still, it did not."""
        self._sounding = False
        self._quiet_ms = 0.0
        """Since the last sound."""
        self._marks: deque[_Mark] = deque()
        self._mark_number = 0
        self._mark_next = 0
        """The position from which on another mark is due."""
        self._measured = False
        """Whether this stretch of speech had a mark come back."""

    @property
    def early(self) -> int:
        """Frames Asterisk was sent that ``next_frame`` has yet to give."""
        return self._sent - self._given

    def tick(self, source: Source | None, now: float) -> list[str | bytes]:
        """The 20 ms that begin at ``now`` (seconds). ``source`` is asked once, and once for each frame it is behind."""
        if source is None:
            return self._silent(now)
        steps, self._owed = 1 + min(self._owed, self.early), 0
        fresh: list[bytes] = []
        for _ in range(steps):
            frame = source.next_frame()  # which may call flush()
            if frame is None:
                break
            if self.early:
                self._note_due(now)
                self._given += 1
            else:
                fresh.append(frame)
        return self._speak(fresh, source, now) if fresh or frame is not None else self._silent(now)

    def flush(self) -> list[str | bytes]:
        """Take back what was sent early; ``next_frame`` gives it again, or something else."""
        taken_back = self.early > 0
        self._sent, self._owed = self._given, 0
        self._marks.clear()
        self._sounding, self._quiet_ms = False, 0.0
        return [self._flush] if taken_back else []

    def mark_processed(self, id: str, now: float) -> None:
        """Measure how late we are. Marks that were flushed, or never set, are nothing."""
        number = int(id) if id.isascii() and id.isdigit() and len(id) < 10 else 0
        mark = None
        while self._marks and self._marks[0].number <= number:
            mark = self._marks.popleft()
        if mark is None or mark.number != number:
            return
        if mark.due is None:
            self._owed = mark.position - self._given
        lag_ms = 0.0 if mark.due is None else max(0.0, (now - mark.due) * 1000)
        self.lag_ms = (self.lag_ms + lag_ms) / 2 if self._measured else lag_ms
        self._measured = True

    def _silent(self, now: float) -> list[str | bytes]:
        out = self.flush() if self.early else []  # frames that were announced are not coming
        if self._sounding:
            self._mark(out, now)
            self._sounding = False
            self._quiet_ms = 0.0
        self._quiet_ms += FRAME_MS
        out.append(self._silence)
        return out

    def _speak(self, fresh: list[bytes], source: Source, now: float) -> list[str | bytes]:
        batch = fresh
        if fresh or self.early <= self._ahead - 2:  # two frames at a time are half the messages
            batch = [*fresh, *source.upcoming(self._ahead)[self.early :]]
        if not batch:
            return []
        out = [] if self._sounding else self._begin()
        if self._sent >= self._mark_next:
            self._mark(out, now if fresh else None)
        self._sent += len(batch)
        self._given += len(fresh)
        out.append(b"".join(batch))
        return out

    def _begin(self) -> list[str | bytes]:
        """Speech begins: what waits before it is silence, unless the end of the last speech may still be among it."""
        self._sounding, self._measured = True, False
        self._mark_next = self._sent
        if self._quiet_ms <= self.lag_ms + FRAME_MS:
            return []
        self._marks.clear()
        return [self._flush]

    def _mark(self, out: list[str | bytes], due: float | None) -> None:
        if not self._marking:
            return
        self._mark_number += 1
        self._mark_next = self._sent + 100 // FRAME_MS
        self._marks.append(_Mark(self._mark_number, self._sent, due))
        out.append(encode_command("MARK_MEDIA", str(self._mark_number)))

    def _note_due(self, now: float) -> None:
        for mark in self._marks:
            if mark.position == self._given:
                mark.due = now

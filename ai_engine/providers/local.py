"""The agent served by ``local_ai_server`` over the wire of docs/local_ai_protocol.md."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from ai_engine.audio.format import SLIN16, AudioFormat
from ai_engine.audio.preroll import PreRoll
from ai_engine.call.backchannel import asks_for_nothing
from ai_engine.call.events import (
    CallerSaid,
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    Stage,
    StageReached,
    ToolAsked,
)
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.settings import Seconds, Section, WebSocketUrl
from ai_engine.text.aside import aside

log = structlog.get_logger(__name__)

_PROTOCOL = 1
_BROKEN = (KeyError, TypeError, ValueError, OverflowError)
"""What reading a message that is not as documented can raise."""

_HEADER = 4  # bytes of reply id before the PCM of a binary frame
_PARCEL_MS = 100
"""Sound sent in one message: a fifth of the work, and no later, since the turn's end sends what is left."""

_LINE_RATES = (8000, 16000)
"""Hz the wire knows for a line."""

_NOT_DONE = {"ok": False, "error": "the caller interrupted, so it was not done"}
"""What came of a tool that a reply asked for which nobody wanted any more."""

_MOST_WAITING = 20_000 // _PARCEL_MS
"""Messages that may wait for a slow server (20 s of voice); beyond that it counts as lost."""


class LocalSettings(Section):
    """The `local_ai_server` program."""

    type: Literal["local"] = "local"
    """What kind of provider this is; its name in the file where that is one."""
    url: WebSocketUrl = "ws://127.0.0.1:8765/v1"
    """Its WebSocket address."""
    connect_seconds: Seconds = 1.0
    """How long opening the connection may take."""


class LocalAgent:
    """Implements ``Agent``. Sound is sent only while the caller has the floor, pre-roll first."""

    provider = "local"
    patience_seconds = 0.0

    def __init__(self, settings: LocalSettings, fitting: Fitting) -> None:
        """The line's rate is offered to the server, so that nobody here converts what it may never get to hear."""
        self._settings = settings
        self._fitting = fitting
        self._line_rate = fitting.line.rate if fitting.line.rate in _LINE_RATES else None
        self.input_format: AudioFormat = AudioFormat(self._line_rate or SLIN16.rate)
        self.output_format: AudioFormat = SLIN16
        self._socket: ClientConnection | None = None
        self._outbox: asyncio.Queue[str | bytes] = asyncio.Queue(_MOST_WAITING)
        self._sender: asyncio.Task[None] | None = None
        self._preroll = PreRoll(self.input_format, fitting.preroll_ms)
        self._turn = 0
        self._standing = 0
        """The latest turn that was surely one; what answers an earlier one comes too late."""
        self._brief: set[int] = set()
        """Turns that were short sounds, until it is known what they were."""
        self._listening = False
        self._parcel = bytearray()
        self._parcel_bytes = self.input_format.byte_count(_PARCEL_MS)
        self._open: set[ReplyId] = set()
        """Replies the server is still making."""
        self._asked: dict[ReplyId, list[ToolAsked]] = {}
        """Tools, by the reply that led to them: asked for when it has ended."""
        self._refused: set[ReplyId] = set()
        """Those of them nobody wants any more."""
        self._takes_notes = False
        self._overflowed = False
        self._awaited: set[Stage] = set()

    async def start(self, briefing: Briefing) -> None:
        try:
            self._socket = await connect(
                self._settings.url,
                open_timeout=self._settings.connect_seconds,
                ping_interval=self._fitting.heartbeat_seconds,
                ping_timeout=self._fitting.heartbeat_seconds,
                close_timeout=1.0,
                compression=None,
                proxy=None,
            )
            await self._socket.send(json.dumps(_start_message(briefing, self._line_rate)))
            ready = _decode(await self._socket.recv())
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, ConnectionClosed) as error:
            raise ProviderError(f"local AI server at {self._settings.url}: {error or 'no answer'}") from error
        if not isinstance(ready, dict) or ready.get("type") != "ready":
            raise ProviderError(f"local AI server refused the call: {_complaint(ready)}")
        try:
            self.input_format = AudioFormat(int(ready["input_rate"]))
            self.output_format = AudioFormat(int(ready["output_rate"]))
        except _BROKEN as error:
            raise ProviderError(f"local AI server has no sound we can use: {error!r}") from error
        self._takes_notes = ready.get("notes") is True
        self._preroll = PreRoll(self.input_format, self._fitting.preroll_ms)
        self._parcel_bytes = self.input_format.byte_count(_PARCEL_MS)
        self._sender = asyncio.create_task(self._send_all(self._socket))

    # -- what the session tells us --------------------------------------------------------------------------

    def greet(self) -> None:
        self._await_stages(Stage.FIRST_AUDIO)
        self._post({"type": "greet"})

    def respond(self, text: str) -> None:
        self._turn += 1
        self._standing = self._turn
        self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
        self._post({"type": "text", "turn": self._turn, "text": text})

    def hear(self, pcm: bytes) -> None:
        self._preroll.push(pcm)
        if not self._listening:
            return
        self._parcel += pcm
        if len(self._parcel) >= self._parcel_bytes:
            self._send_parcel()

    def caller_spoke(self) -> None:
        self._turn += 1
        self._listening = True
        self._post({"type": "turn_begin", "turn": self._turn})
        self._parcel = bytearray().join(self._preroll.take())
        self._send_parcel()

    def caller_paused(self, *, brief: bool = False) -> None:
        if not self._listening:
            return
        self._listening = False
        self._send_parcel()
        self._preroll.take()  # belongs to this turn
        if brief:
            # Mostly nothing follows but the transcript, while an earlier reply may still be on its way.
            self._await_stages(Stage.TRANSCRIPT)
            self._brief.add(self._turn)
            self._post({"type": "turn_end", "turn": self._turn, "brief": True})
        else:
            self._standing = self._turn
            self._await_stages(Stage.TRANSCRIPT, Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
            self._post({"type": "turn_end", "turn": self._turn})

    def caller_dismissed(self) -> None:
        if not self._listening:
            return
        self._listening = False
        self._parcel.clear()
        self._post({"type": "turn_drop", "turn": self._turn})

    def digit(self, digit: str) -> None:
        self._post({"type": "digit", "digit": digit})

    def nudge(self, *, last: bool = False) -> None:
        self._await_stages(Stage.FIRST_AUDIO)
        self._post({"type": "nudge", "last": True} if last else {"type": "nudge"})

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        if reply in self._open:
            self._refused.add(reply)
        self._post({"type": "cancel", "reply": reply, "heard_ms": round(heard_ms)})
        self._leave_undone(self._asked.pop(reply, ()))

    def advise(self, text: str) -> str:
        if not self._takes_notes:
            return "the local dialog cannot be told anything: it knows the intents of its agent, and reads no prompt"
        self._post({"type": "note", "text": aside(text)})
        return ""

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool = False) -> None:
        self._post({"type": "tool_result", "id": id, "result": dict(result)})

    # -- what the server tells us ---------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[CallEvent]:
        assert self._socket is not None, "start() comes first"
        try:
            async for message in self._socket:
                for event in self._understand(message):
                    yield event
                # A whole reply may be waiting in the socket: between two pieces of it other calls have their turn.
                await asyncio.sleep(0)
                if self._overflowed:
                    raise ProviderError("local AI server does not take the caller's voice any more")
        except ConnectionClosed as error:
            raise ProviderError(f"local AI server closed the connection: {error}") from error
        raise ProviderError("local AI server ended the session")

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender
        if self._socket is not None:
            await self._socket.close()

    def _understand(self, message: str | bytes) -> list[CallEvent]:
        if isinstance(message, bytes):
            return self._sound(message)
        said = _decode(message)
        if not isinstance(said, dict):
            raise ProviderError("local AI server sent something that is not JSON")
        try:
            return self._word(said)
        except _BROKEN as error:
            raise ProviderError(f"local AI server sent a broken {said.get('type')!r}: {error!r}") from error

    def _sound(self, message: bytes) -> list[CallEvent]:
        if len(message) <= _HEADER or len(message) % 2:
            raise ProviderError("local AI server sent sound that is no PCM16")
        reply = int.from_bytes(message[:_HEADER])
        if reply in self._refused:
            return []
        return [*self._stage(Stage.FIRST_AUDIO), ReplyAudio(ReplyId(reply), message[_HEADER:])]

    def _word(self, said: dict[str, Any]) -> list[CallEvent]:
        kind = said["type"]
        if kind == "partial":
            return [CallerSaid(str(said["text"]), final=False)]
        if kind == "final":
            return self._final(int(said["turn"]), str(said["text"]))
        if kind == "tool":
            self._tool(_reply_id(said["reply"]), said)
            return []
        if kind == "error":
            if said["fatal"]:
                raise ProviderError(f"local AI server: {_complaint(said)}")
            log.warning("local AI server complains", code=said["code"], message=said["message"])
            return []
        if kind in ("reply", "token", "clause", "reply_end"):
            return self._of_reply(kind, _reply_id(said["reply"]), said)
        return []

    def _tool(self, reply: ReplyId, said: dict[str, Any]) -> None:
        asked = ToolAsked(
            str(said["id"]), str(said["name"]), dict(said["arguments"]), goes_on=bool(said.get("goes_on", False))
        )
        if reply in self._refused:
            self._leave_undone([asked])
        else:
            self._asked.setdefault(reply, []).append(asked)

    def _leave_undone(self, tools: Iterable[ToolAsked]) -> None:
        for asked in tools:
            if asked.goes_on:  # the server waits for what comes of it
                self.answer_tool(asked.id, _NOT_DONE)

    def _final(self, turn: int, text: str) -> list[CallEvent]:
        was_brief = turn in self._brief
        self._brief = {number for number in self._brief if number > turn}
        if was_brief and turn < self._turn and asks_for_nothing(text):
            return []  # else it would be taken for the verdict on what the caller has stirred with since
        return [*self._stage(Stage.TRANSCRIPT), CallerSaid(text)]

    def _of_reply(self, kind: str, reply: ReplyId, said: dict[str, Any]) -> list[CallEvent]:
        if kind == "reply":
            self._open.add(reply)
            if self._is_late(said.get("turn")):
                self.interrupt(reply, 0.0)
            elif said.get("turn") == self._turn > self._standing:
                self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
        if kind == "reply_end":
            self._open.discard(reply)
            self._refused.discard(reply)
            return [ReplyEnded(reply), *self._asked.pop(reply, ())]
        if reply in self._refused:
            return []
        if kind == "reply":
            return [ReplyBegan(reply)]
        if kind == "token":
            return self._stage(Stage.FIRST_TOKEN)
        return [ReplyText(reply, str(said["text"]))]

    def _is_late(self, turn: int | None) -> bool:
        """Whether the caller has the floor by now, or has gone on from what this answers.

        The server makes it again should the caller turn out to have said nothing.
        """
        return self._listening or (turn is not None and turn < self._standing)

    def _await_stages(self, *stages: Stage) -> None:
        self._awaited = set(stages)

    def _stage(self, stage: Stage) -> list[CallEvent]:
        if stage not in self._awaited:
            return []
        self._awaited.discard(stage)
        return [StageReached(stage)]

    def _send_parcel(self) -> None:
        if self._parcel:
            self._put(bytes(self._parcel))
            self._parcel.clear()

    # -- the way out -----------------------------------------------------------------------------------------

    def _post(self, message: Mapping[str, Any]) -> None:
        self._put(json.dumps(message))

    def _put(self, message: str | bytes) -> None:
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            self._overflowed = True

    async def _send_all(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):  # events() reports it
            while True:
                await socket.send(await self._outbox.get())


def _start_message(briefing: Briefing, line_rate: int | None) -> dict[str, Any]:
    advice = [aside(said.text) for said in briefing.history if said.speaker == "operator"]
    message: dict[str, Any] = {
        "type": "start",
        "protocol": _PROTOCOL,
        "call_id": briefing.call_id,
        "agent": {**briefing.agent, "greeting": briefing.greeting, "prompt": "\n\n".join([briefing.prompt, *advice])},
        "history": [[said.speaker, said.text] for said in briefing.history if said.speaker != "operator"],
    }
    if briefing.tools:
        message["tools"] = [
            {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
            for tool in briefing.tools
        ]
    if line_rate is not None:
        message["rate"] = line_rate
    return message


def _reply_id(value: Any) -> ReplyId:
    if not 0 <= int(value) < 2 ** (8 * _HEADER):
        raise ValueError(f"reply {value} does not fit the header of sound")
    return ReplyId(int(value))


def _decode(message: str | bytes) -> Any:
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return None


def _complaint(said: Any) -> str:
    if not isinstance(said, dict):
        return "it does not speak our protocol"
    return f"{said.get('message', said)} ({said.get('code', said.get('type'))})"

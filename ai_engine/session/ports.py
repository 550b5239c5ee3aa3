"""The doors of the hall: what a call session needs from the adapters around it."""

from asyncio import Future
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallEvent, ReplyId


class Line(Protocol):
    """The session as its media transport sees it. All methods are called on the call loop and return at once."""

    def next_frame(self) -> bytes | None:
        """The frame due now in the transport's format, or None for silence. Asked exactly every 20 ms."""
        ...

    def frame_received(self, pcm: bytes) -> None:
        """20 ms of the caller's voice in the transport's format."""
        ...

    def digit_received(self, digit: str) -> None: ...

    def media_lost(self, reason: str) -> None:
        """The connection ended, and not by our ``close()``. Called at most once."""
        ...


class Media(Protocol):
    """Sound in and out of Asterisk for one call."""

    format: AudioFormat
    transport: str

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; until then silence is sent."""
        ...

    def close(self) -> None:
        """End the connection; may be called more than once. ``line`` is not called again."""
        ...


@dataclass(frozen=True, slots=True)
class Expected:
    """A media connection that a listener will accept, and only once."""

    uuid: UUID
    address: str
    """``host:port`` for Asterisk to connect to."""
    format: AudioFormat
    connected: Future[Media]
    """Done when Asterisk has connected."""

    def withdraw(self) -> None:
        """Nobody may connect under this UUID any more, and whoever has is sent away."""
        if not self.connected.cancel() and not self.connected.cancelled() and self.connected.exception() is None:
            self.connected.result().close()


class MediaListener(Protocol):
    """Where Asterisk's media connections arrive."""

    def expect(self) -> Expected:
        """Invite one connection under a fresh UUID."""
        ...


class CallControl(Protocol):
    """Command of one caller's channel in Asterisk.

    Every method may raise ``CallGone`` (the channel is no longer there) or ``AsteriskError``.
    """

    channel_id: str
    caller_number: str
    dialled: str
    variables: Mapping[str, str]
    """The arguments of ``Stasis(app,key=value,…)``, e.g. ``agent``."""

    async def answer(self) -> None: ...

    async def attach_media(self, uuid: UUID, address: str, format: AudioFormat) -> None:
        """Create the media leg, wait until it is in our application, and bridge it with the caller."""
        ...

    async def set_variables(self, values: Mapping[str, str]) -> None:
        """Channel variables an operator can see with ``core show channel``."""
        ...

    async def keep_alive(self, seconds: int) -> None:
        """The dead-man switch: without another call within ``seconds`` Asterisk sends the caller to a human."""
        ...

    async def transfer(self, context: str, extension: str) -> None:
        """Send the caller back to the dialplan (``context,extension,1``)."""
        ...

    async def hang_up(self) -> None: ...

    def events(self) -> AsyncIterator[CallEvent]:
        """``DigitReceived`` and ``MediaLost``, then at last one of ``CallerHungUp`` or ``TakenBack``.

        After our own ``transfer`` or ``close`` it ends without a last event.
        """
        ...

    async def close(self) -> None:
        """Release what this call holds in Asterisk (bridge, media leg); may be called more than once."""
        ...


@dataclass(frozen=True, slots=True)
class Briefing:
    """What an agent is told before it starts."""

    call_id: str
    agent: Mapping[str, Any]
    """The agent's section of the configuration, as plain data (name, language, voice, prompt, intents …)."""
    greeting: str
    prompt: str
    caller_number: str = ""
    dialled: str = ""
    history: tuple[tuple[str, str], ...] = field(default=())
    """Earlier turns as ``(speaker, text)``, when this agent takes over from another."""

    @property
    def agent_name(self) -> str:
        return str(self.agent.get("name", ""))


class Agent(Protocol):
    """The AI on the other side: it hears the caller, and answers with events."""

    provider: str
    input_format: AudioFormat
    """Known once ``start`` has returned, as ``output_format``."""
    output_format: AudioFormat

    async def start(self, briefing: Briefing) -> None:
        """Open the session. Raises ProviderError."""
        ...

    def greet(self) -> None:
        """Speak first."""
        ...

    def hear(self, pcm: bytes) -> None:
        """One 20 ms frame of the caller in ``input_format``. Never blocks; called for every frame of the call."""
        ...

    def caller_spoke(self) -> None:
        """The engine heard the caller begin."""
        ...

    def caller_paused(self) -> None:
        """The caller's turn is over: answer it."""
        ...

    def digit(self, digit: str) -> None: ...

    def nudge(self) -> None:
        """Nobody has spoken for a while: break the silence."""
        ...

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        """``reply`` was stopped on the line after ``heard_ms``; stop making it."""
        ...

    def answer_tool(self, id: str, result: Mapping[str, Any]) -> None: ...

    def events(self) -> AsyncIterator[CallEvent]:
        """Everything the agent says and asks. Ends, or raises ProviderError, when the session is lost."""
        ...

    async def close(self) -> None: ...


class Tool(Protocol):
    """Something the agent may ask for."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments."""

    async def run(self, arguments: Mapping[str, Any], call: "ToolContext") -> Mapping[str, Any]: ...


class ToolContext(Protocol):
    """What a tool may do to the call it was asked in."""

    call_id: str

    def happened(self, event: CallEvent) -> None: ...


class Observer(Protocol):
    """Somebody who watches a call; must return at once and never raise."""

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None: ...

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        """Every event of the call except single frames, at loop time ``now`` (seconds)."""
        ...

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """The 20 ms that just went by on the line: what came from the caller, and what was sent."""
        ...

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """What was said and heard, as ``Transcript.lines()`` has it; once, before ``call_ended``."""
        ...

    def call_ended(self, call_id: str, reason: str, now: float) -> None: ...

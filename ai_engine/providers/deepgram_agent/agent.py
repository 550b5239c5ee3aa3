"""One session with Deepgram's Voice Agent."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import structlog

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.call.events import (
    AgentExpiring,
    CallerInterrupted,
    CallerSaid,
    CallEvent,
    ReplyAudio,
    ReplyId,
    Stage,
    StageReached,
    ToolAsked,
)
from ai_engine.errors import ProviderError
from ai_engine.providers.deepgram_agent import wire
from ai_engine.providers.deepgram_agent.injection import Injection
from ai_engine.providers.deepgram_agent.replies import Replies
from ai_engine.providers.deepgram_agent.settings import DeepgramAgentSettings
from ai_engine.providers.deepgram_agent.socket import AgentSocket
from ai_engine.providers.deepgram_agent.wire import Message
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.text.aside import aside
from ai_engine.text.keys import pressed

log = structlog.get_logger(__name__)

_BROKEN = (AttributeError, KeyError, TypeError, ValueError)
"""What reading a message that is not as documented can raise."""

_NOTICE_SECONDS = 300.0
"""So long before the provider ends the session it should be opened anew."""

_QUIET_SECONDS = 5.0
"""Without a message; it ends the session after ten."""

_ENDPOINTING_SECONDS = 1.5
"""How long it may wait after our own ear, on silence alone."""

_EOT_TIMEOUT_SECONDS = 5.0
"""How long a model that hears the meaning may wait for a sentence to be one."""


class DeepgramAgent:
    """Implements ``Agent``. It hears all of the call, and decides by its own ears when it is asked something.

    What it remembers of a reply that we cut is up to those ears too: it keeps every sentence that it announced, unless
    it heard the caller speak into it. There is no message that says how much was heard.
    """

    provider = "deepgram"

    def __init__(self, settings: DeepgramAgentSettings, fitting: Fitting) -> None:
        self._settings = settings
        self._key = fitting.keys[settings.key]
        self._quiet_seconds = min(_QUIET_SECONDS, fitting.heartbeat_seconds)
        self.input_format: AudioFormat = SLIN8
        self.output_format: AudioFormat = SLIN8
        self.patience_seconds = _patience_seconds(settings)
        self._socket: AgentSocket | None = None
        self._applied = False
        """It knows its settings; sound before that ends the session."""
        self._briefing: Briefing | None = None
        self._replies = Replies()
        self._injection = Injection(self._send, self.patience_seconds)
        self._typed: Counter[str] = Counter()
        """What we said in the caller's place, until it comes back as the caller's words."""
        self._asked: set[str] = set()
        """Every tool that was ever asked for, by id."""
        self._tools: dict[str, str] = {}
        """The names of those that are being used, by id."""
        self._silent = True
        """Nothing was said yet in answer to the caller, or to what came of a tool."""
        self._awaited: set[Stage] = set()
        self._expires_at: float | None = None
        self._log = log

    async def start(self, briefing: Briefing) -> None:
        self._briefing = briefing
        self._log = log.bind(call_id=briefing.call_id)
        socket = await AgentSocket.open(self._settings.url, self._key, briefing.call_id, self._quiet_seconds)
        self._socket = socket
        try:
            await self._told(socket, "Welcome")
            socket.send(wire.settings_message(self._settings, briefing))
            await self._told(socket, "SettingsApplied")
        except BaseException:  # also when it took too long
            socket.leave()
            raise
        self._applied = True
        lasts = self._settings.session_minutes * 60
        self._expires_at = asyncio.get_running_loop().time() + max(0.0, lasts - _NOTICE_SECONDS)

    async def _told(self, socket: AgentSocket, kind: str) -> None:
        while True:
            said = await self._receive(socket)
            match _kind(said):
                case "Error":
                    raise ProviderError(f"Deepgram refused the session: {self._complaint(said)}")
                case "Warning":
                    self._log.warning("Deepgram warns", reason=self._complaint(said))
                case told if told == kind:
                    return

    # -- what the session tells us --------------------------------------------------------------------------

    def greet(self) -> None:
        """Not with the Settings, where it would be spoken to a caller who is taken over as well."""
        self._say(self._briefing.greeting if self._briefing else "")

    def respond(self, text: str) -> None:
        self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
        self._type(text)

    def hear(self, pcm: bytes) -> None:
        if self._socket is not None and self._applied:
            self._socket.send(pcm_to_ulaw(pcm))

    def caller_spoke(self) -> None:
        self._injection.hold()

    def caller_paused(self, *, brief: bool = False) -> None:
        """Its own ears decide what that was, brief or not."""
        self._injection.forget()

    def caller_dismissed(self) -> None:
        self._injection.again()

    def digit(self, digit: str) -> None:
        self._type(pressed(digit))

    def nudge(self, *, last: bool = False) -> None:
        agent = self._briefing.agent if self._briefing else {}
        self._say(str(agent.get("goodbye" if last else "nudge", "")))

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        """The provider goes on with ``reply`` unless it has heard the caller too; the rest of it is dropped here.

        It cannot be stopped but by speech: its ``InjectAgentMessage`` of ``behavior: interrupt`` would put another
        sentence in the place of this one. See the class for what it remembers.
        """
        self._replies.refuse(reply)

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool = False) -> None:
        """What nobody waits for any more, since the caller spoke meanwhile, is not told; nor is the ``last`` one, since
        the vendor always goes on speaking."""
        name = self._tools.pop(id, None)
        if name is None or last:
            return
        self._send(wire.tool_result(id, name, result))
        if not self._tools:
            self._silent = True
            self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)

    def advise(self, text: str) -> str:
        self._send(wire.more_prompt(aside(text)))
        return ""

    def _say(self, text: str) -> None:
        self._await_stages(Stage.FIRST_AUDIO)
        self._injection.say(text)

    def _type(self, text: str) -> None:
        self._injection.forget()
        self._typed[text] += 1
        self._send(wire.user_says(text))

    # -- what the provider tells us -------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[CallEvent]:
        assert self._socket is not None, "start() comes first"
        while True:
            try:
                async with asyncio.timeout_at(self._expires_at):
                    said = await self._receive(self._socket)
            except TimeoutError:
                self._expires_at = None
                yield AgentExpiring()
                continue
            try:
                for event in self._understand(said):
                    yield event
            except _BROKEN as error:
                raise ProviderError(f"Deepgram sent a broken {_kind(said)!r}: {type(error).__name__}") from None
            # A whole reply may be waiting in the socket: between two pieces of it other calls have their turn.
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._injection.forget()
        if self._socket is not None:
            await self._socket.close()

    def _understand(self, said: Any) -> Iterator[CallEvent]:
        match _kind(said):
            case "sound":
                yield from self._sound(said)
            case "ConversationText":
                yield from self._words(said.role, said.content)
            case "UserStartedSpeaking":
                yield from self._interrupted()
            case "AgentStartedSpeaking":
                yield from self._begun()
            case "AgentAudioDone":
                yield from self._done()
            case "FunctionCallRequest":
                yield from self._use_tools(said.functions)
            case "FunctionCallCancelled":
                for cancelled in said.functions:
                    self._tools.pop(cancelled.id, None)
            case "InjectionRefused":
                self._log.warning("Deepgram did not say a sentence of ours", reason=self._redacted(str(said.message)))
                self._injection.refused(wait=self._replies.refused)
            case "Warning":
                self._log.warning("Deepgram warns", reason=self._complaint(said))
            case "Error":
                raise ProviderError(f"Deepgram ended the session: {self._complaint(said)}")

    def _words(self, role: Any, text: Any) -> Iterator[CallEvent]:
        if not isinstance(text, str) or role not in ("user", "assistant"):
            raise ValueError("nobody said anything")
        return self._caller_said(text) if role == "user" else self._agent_said(text)

    def _begun(self) -> Iterator[CallEvent]:
        self._silent = False
        yield from self._replies.announced()
        if self._replies.wanted:
            self._injection.forget()

    def _agent_said(self, text: str) -> Iterator[CallEvent]:
        yield from self._begun()
        if self._replies.wanted:
            yield from self._stage(Stage.FIRST_TOKEN)
        yield from self._replies.text(text)

    def _sound(self, ulaw: bytes) -> Iterator[CallEvent]:
        for event in self._replies.sound(ulaw_to_pcm(ulaw)):
            self._silent = False
            if isinstance(event, ReplyAudio):
                yield from self._stage(Stage.FIRST_AUDIO)
            yield event

    def _done(self) -> Iterator[CallEvent]:
        yield from self._replies.over()
        self._injection.again()

    def _caller_said(self, text: str) -> Iterator[CallEvent]:
        """What is still open then was broken off by it, if without a word."""
        yield from self._replies.over()
        self._injection.forget()
        self._silent = True
        if self._typed[text]:
            self._typed[text] -= 1
            return
        yield from self._stage(Stage.TRANSCRIPT)
        yield CallerSaid(text)

    def _interrupted(self) -> Iterator[CallEvent]:
        """It falls silent, and answers when its ears hear a pause."""
        self._await_stages(Stage.TRANSCRIPT, Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
        wanted = self._replies.wanted
        yield from self._replies.broken_off()
        if wanted:
            yield CallerInterrupted()

    def _use_tools(self, functions: list[Any]) -> Iterator[CallEvent]:
        calls = [call for one in functions if (call := self._call(one)) is not None]
        if not calls:
            return
        # The session waits for a reply: let it know that there is none.
        yield from self._replies.nothing() if self._silent else self._replies.over()
        self._silent = False
        yield from calls

    def _call(self, function: Any) -> ToolAsked | None:
        """What we are asked for; None where it is not ours, or nobody can tell, which the provider is told."""
        if not function.client_side or function.id in self._asked:
            return None
        if not (isinstance(function.id, str) and isinstance(function.name, str)):
            raise TypeError("nobody can answer it")
        self._asked.add(function.id)
        try:
            arguments = wire.arguments(function.arguments)
        except ValueError as error:
            failure = {"ok": False, "error": f"the arguments are no JSON: {error}"}
            self._send(wire.tool_result(function.id, function.name, failure))
            return None
        self._tools[function.id] = function.name
        return ToolAsked(function.id, function.name, arguments)

    # ---------------------------------------------------------------------------------------------------------

    def _await_stages(self, *stages: Stage) -> None:
        self._awaited = set(stages)

    def _stage(self, stage: Stage) -> Iterator[CallEvent]:
        if stage in self._awaited:
            self._awaited.discard(stage)
            yield StageReached(stage)

    def _send(self, message: Message) -> None:
        if self._socket is not None:
            self._socket.send(message)

    async def _receive(self, socket: AgentSocket) -> Any:
        try:
            return await socket.receive()
        except ProviderError as error:
            raise ProviderError(self._redacted(str(error)), error.status) from None

    def _complaint(self, said: Any) -> str:
        return self._redacted(f"{said.description} ({said.code})")

    def _redacted(self, text: str) -> str:
        """The vendor's own words may quote our key."""
        return text.replace(self._key, "…") if self._key else text


def _kind(said: Any) -> str:
    """The type of a message; empty for one that the SDK does not know."""
    return "sound" if isinstance(said, bytes) else str(getattr(said, "type", ""))


def _patience_seconds(settings: DeepgramAgentSettings) -> float:
    if not settings.hears_meaning:
        return _ENDPOINTING_SECONDS
    return _EOT_TIMEOUT_SECONDS if settings.eot_timeout_ms is None else settings.eot_timeout_ms / 1000

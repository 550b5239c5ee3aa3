"""The Deepgram agent against a server as strict as the vendor's, on a real socket."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from pydantic import ValidationError
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN8
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.call.events import (
    AgentExpiring,
    CallerInterrupted,
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
from ai_engine.providers.deepgram_agent import DeepgramAgent, DeepgramAgentSettings
from ai_engine.providers.deepgram_agent.wire import settings_message
from ai_engine.session.ports import Briefing, Fitting, Said
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.deepgram_wire import Pace, Session
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.word_tones import spoken
from tests.waiting import until

KEY = "dg-test-4711"
GREETING = "Hello, this is the garden center."
HOURS = "We are open from nine to six."
LONG = "This takes a good while to say since there are so very many words in it, and more follow."
ONE, TWO, THREE = ReplyId(1), ReplyId(2), ReplyId(3)


@dataclass(frozen=True)
class Booking:
    name: str = "book"
    description: str = "Book a table."
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"people": {"type": "integer"}}}
    )


AGENT = {"language": "en-US", "nudge": "Are you still there?", "goodbye": "I cannot hear you. Goodbye."}
BRIEFING = Briefing("call-1", AGENT, GREETING, "Be kind.", tools=(Booking(),))


@dataclass
class Talk:
    """An agent, and what it says; ``react`` is called with every event, as the session is."""

    agent: DeepgramAgent
    events: list[CallEvent] = field(default_factory=list)
    failure: ProviderError | None = None
    react: Callable[[CallEvent], None] = lambda event: None

    async def listen(self) -> None:
        try:
            async for event in self.agent.events():
                self.events.append(event)
                self.react(event)
        except ProviderError as error:
            self.failure = error

    def all(self, *kinds: type[CallEvent]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def row(self) -> list[CallEvent | str]:
        """All but the stages, a run of sound as one."""
        names = ["sound" if isinstance(one, ReplyAudio) else one for one in self.events]
        return [
            one
            for one, before in zip(names, [None, *names], strict=False)
            if (one, before) != ("sound", "sound") and not isinstance(one, StageReached)
        ]

    async def ended(self, replies: int) -> None:
        """So many replies are over."""
        await until(lambda: len(self.all(ReplyEnded)) >= replies or self.failure)
        assert self.failure is None

    async def failed(self) -> str:
        await until(lambda: self.failure)
        assert KEY not in str(self.failure)
        return str(self.failure)

    def pcm(self, reply: int) -> bytes:
        return b"".join(event.pcm for event in self.all(ReplyAudio) if event.reply == reply)

    def text(self, reply: int) -> str:
        return " ".join(event.text for event in self.all(ReplyText) if event.reply == reply)

    def hears(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), SLIN8.frame_bytes):
            self.agent.hear(pcm[at : at + SLIN8.frame_bytes].ljust(SLIN8.frame_bytes, b"\0"))

    def caller_says(self, text: str, quiet_ms: int = 600) -> None:
        """At once: the server's clock is the sound."""
        self.hears(spoken(text, 8000) + bytes(16 * quiet_ms))


def heard(text: str) -> bytes:
    """``text`` as it sounds over the telephone."""
    return ulaw_to_pcm(pcm_to_ulaw(spoken(text, 8000)))


def make(url: str, heartbeat_seconds: float = 10.0, **options: Any) -> DeepgramAgent:
    fitting = Fitting(SLIN8, {"DEEPGRAM_API_KEY": KEY}, heartbeat_seconds=heartbeat_seconds)
    return DeepgramAgent(DeepgramAgentSettings(url=url, **options), fitting)


@asynccontextmanager
async def listening_to(agent: DeepgramAgent, briefing: Briefing = BRIEFING) -> AsyncIterator[Talk]:
    listener = None
    try:
        await agent.start(briefing)
        talk = Talk(agent)
        listener = asyncio.create_task(talk.listen())
        yield talk
    finally:
        await agent.close()
        if listener is not None:
            await listener


@asynccontextmanager
async def talking(
    turns: Sequence[Turn] = (),
    faults: Sequence[Fault] = (),
    *,
    briefing: Briefing = BRIEFING,
    pace: Pace | None = None,
    heartbeat_seconds: float = 10.0,
    **options: Any,
) -> AsyncIterator[tuple[Talk, Session]]:
    """A started agent and what the server saw of it; it must not have seen anything wrong."""
    server = DeepgramServer(Scenario(GREETING, turns, faults), key=KEY, pace=pace or Pace(speed=40.0))
    async with server.listening():
        agent = make(server.url, heartbeat_seconds, **options)
        async with listening_to(agent, briefing) as talk:
            session = server.agent_sessions[0]
            yield talk, session
            await asyncio.sleep(0.02)  # what should not have been sent has arrived
        await until(lambda: session.closed)
    assert server.violations == []


class Scripted:
    """A server that says what the test has it say."""

    def __init__(self, before_settings: Sequence[Any] = ()) -> None:
        self.received: list[dict[str, Any] | bytes] = []
        self.url = ""
        self._before = before_settings
        self._socket: ServerConnection | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Scripted"]:
        async with serve(self._serve, "127.0.0.1", 0, compression=None) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def say(self, *messages: dict[str, Any] | bytes | str) -> None:
        assert self._socket is not None
        for one in messages:
            await self._socket.send(json.dumps(one) if isinstance(one, dict) else one)

    def got(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.received if isinstance(one, dict) and one["type"] == kind]

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It reads nothing meanwhile, not even that the client closes."""
        assert self._socket is not None
        self._socket.transport.pause_reading()
        yield
        self._socket.transport.resume_reading()

    async def _serve(self, socket: ServerConnection) -> None:
        self._socket = socket
        await self.say({"type": "Welcome", "request_id": "1"}, *self._before)
        async for message in socket:
            self.received.append(message if isinstance(message, bytes) else json.loads(message))
            if self.got("Settings") == [self.received[-1]]:
                await self.say({"type": "SettingsApplied"})


@asynccontextmanager
async def scripted(**options: Any) -> AsyncIterator[tuple[Talk, Scripted]]:
    async with Scripted().listening() as server, listening_to(make(server.url, **options)) as talk:
        yield talk, server


def text(role: str, content: str) -> dict[str, Any]:
    return {"type": "ConversationText", "role": role, "content": content}


USER_STARTED = {"type": "UserStartedSpeaking"}
AUDIO_DONE = {"type": "AgentAudioDone"}
REFUSED = {"type": "InjectionRefused", "message": "The user is speaking."}


# -- greeting, turns ----------------------------------------------------------------------------------------


async def test_greets_when_asked_to() -> None:
    async with talking() as (talk, session):
        await asyncio.sleep(0.05)
        assert talk.events == []
        talk.agent.greet()
        await talk.ended(1)
        assert talk.row() == [ReplyBegan(ONE), ReplyText(ONE, GREETING), "sound", ReplyEnded(ONE)]
        assert talk.pcm(1) == heard(GREETING)
        assert talk.all(StageReached) == [StageReached(Stage.FIRST_AUDIO)]
    assert session.headers["x-deepgram-session-id"] == "call-1"


async def test_hears_and_answers() -> None:
    async with talking([Turn("what are your hours", f"{HOURS} See you.")]) as (talk, session):
        talk.agent.caller_spoke()
        talk.caller_says("what are your hours")
        talk.agent.caller_paused()
        await talk.ended(1)
        assert talk.row() == [
            CallerSaid("what are your hours"),
            ReplyBegan(ONE),
            ReplyText(ONE, HOURS),
            "sound",
            ReplyText(ONE, "See you."),
            "sound",
            ReplyEnded(ONE),
        ]
        assert talk.pcm(1) == heard(f"{HOURS} See you.")
        assert talk.all(StageReached) == [
            StageReached(Stage.TRANSCRIPT),
            StageReached(Stage.FIRST_TOKEN),
            StageReached(Stage.FIRST_AUDIO),
        ]
    said = heard("what are your hours")
    assert bytes(session.caller_pcm[: len(said)]) == said


async def test_falls_silent_for_the_caller() -> None:
    async with talking([Turn("stop", HOURS)], pace=Pace(speed=1.0)) as (talk, _):
        talk.agent.greet()
        await until(lambda: talk.all(ReplyAudio))
        talk.hears(spoken("stop", 8000))
        await talk.ended(1)
        await until(lambda: talk.all(CallerInterrupted))
        assert talk.row()[-2:] == [ReplyEnded(ONE), CallerInterrupted()]
        assert len(talk.pcm(1)) < len(heard(GREETING))
        talk.hears(bytes(2 * 8000))
        await until(lambda: talk.all(CallerSaid))
        await until(lambda: talk.pcm(2))
        assert talk.text(2) == HOURS


async def test_refuses_the_rest_of_what_we_cut() -> None:
    async with talking([Turn("go on", LONG), Turn("and now", HOURS)], pace=Pace(speed=8.0)) as (talk, _):
        talk.caller_says("go on")
        await until(lambda: talk.pcm(1))
        talk.agent.interrupt(ONE, 80.0)
        cut = len(talk.pcm(1))
        await talk.ended(1)  # the server has said it all
        assert len(talk.pcm(1)) == cut < len(heard(LONG))
        assert not talk.all(CallerInterrupted)
        talk.caller_says("and now")
        await talk.ended(2)
        assert talk.pcm(2) == heard(HOURS)


async def test_does_not_interrupt_what_we_cut_already() -> None:
    async with talking([Turn("go on", LONG), Turn("and now", HOURS)], pace=Pace(speed=1.0)) as (talk, _):
        talk.caller_says("go on")
        await until(lambda: talk.pcm(1))
        talk.agent.interrupt(ONE, 80.0)
        talk.agent.interrupt(ReplyId(7), 80.0)
        talk.caller_says("and now")
        await until(lambda: talk.all(ReplyEnded))
        await until(lambda: talk.text(2) == HOURS)
        assert not talk.all(CallerInterrupted)


async def test_cuts_only_what_it_is_told_to() -> None:
    async with talking([Turn("and now", HOURS)]) as (talk, _):
        talk.agent.greet()
        await talk.ended(1)
        talk.react = lambda event: talk.agent.interrupt(ONE, 80.0)
        talk.caller_says("and now")
        await talk.ended(2)
        assert talk.pcm(2) == heard(HOURS)


async def test_late_sound_of_a_broken_reply_is_dropped() -> None:
    async with scripted() as (talk, server):
        await server.say(text("assistant", "One."), b"\x10" * 160, USER_STARTED, b"\x20" * 160, AUDIO_DONE)
        await server.say(text("user", "Wait."), text("assistant", "Yes?"), b"\x30" * 160, AUDIO_DONE)
        await talk.ended(2)
        assert talk.row() == [
            *(ReplyBegan(ONE), ReplyText(ONE, "One."), "sound", ReplyEnded(ONE), CallerInterrupted()),
            *(CallerSaid("Wait."), ReplyBegan(TWO), ReplyText(TWO, "Yes?"), "sound", ReplyEnded(TWO)),
        ]
        assert (talk.pcm(1), talk.pcm(2)) == (ulaw_to_pcm(b"\x10" * 160), ulaw_to_pcm(b"\x30" * 160))


async def test_a_reply_begins_with_whatever_comes_first() -> None:
    started = {"type": "AgentStartedSpeaking", "total_latency": 1, "tts_latency": 0.5, "ttt_latency": 0.5}
    async with scripted() as (talk, server):
        await server.say(b"\x10" * 160, AUDIO_DONE, started, b"\x10" * 160, AUDIO_DONE, AUDIO_DONE)
        await server.say(text("assistant", "Hm."), started, b"\x10" * 160, text("user", "Now?"), AUDIO_DONE)
        await until(lambda: talk.all(CallerSaid))
        assert talk.row() == [
            *(ReplyBegan(ONE), "sound", ReplyEnded(ONE), ReplyBegan(TWO), "sound", ReplyEnded(TWO)),
            *(ReplyBegan(THREE), ReplyText(THREE, "Hm."), "sound", ReplyEnded(THREE), CallerSaid("Now?")),
        ]


# -- tools -------------------------------------------------------------------------------------------------


async def test_uses_a_tool() -> None:
    turn = Turn("book a table", "One moment.", tools=[Call("book", {"people": 2})], then="It is booked.")
    async with talking([turn]) as (talk, session):
        talk.caller_says("book a table")
        await until(lambda: talk.all(ToolAsked))
        asked = talk.all(ToolAsked)[0]
        assert (asked.name, asked.arguments, asked.goes_on) == ("book", {"people": 2}, True)
        assert talk.row()[-2:] == [ReplyEnded(ONE), asked]
        talk.agent.answer_tool(asked.id, {"ok": True, "table": "Größe 4"})
        talk.agent.answer_tool(asked.id, {"ok": True})
        await talk.ended(2)
        assert talk.text(2) == "It is booked."
        answers = session.got("FunctionCallResponse")
        assert [json.loads(one["content"]) for one in answers] == [{"ok": True, "table": "Größe 4"}]


async def test_uses_two_tools_without_a_word() -> None:
    calls = [Call("book", {"people": 2}), Call("book", raw="")]
    async with talking([Turn("book", tools=calls, then="Done.")]) as (talk, _):
        talk.caller_says("book")
        await until(lambda: len(talk.all(ToolAsked)) == 2)
        first, second = talk.all(ToolAsked)
        assert talk.row() == [CallerSaid("book"), ReplyBegan(ONE), ReplyEnded(ONE), first, second]
        assert second.arguments == {}
        talk.agent.answer_tool(second.id, {"ok": True})
        talk.agent.answer_tool(first.id, {"ok": True})
        await talk.ended(2)
        assert talk.text(2) == "Done."


async def test_does_not_answer_a_cancelled_tool() -> None:
    turns = [Turn("book", tools=[Call("book")], then="Done."), Turn("no wait", HOURS)]
    async with talking(turns) as (talk, session):
        talk.caller_says("book")
        await until(lambda: talk.all(ToolAsked))
        talk.caller_says("no wait")
        await talk.ended(2)
        talk.agent.answer_tool(talk.all(ToolAsked)[0].id, {"ok": True})
        await asyncio.sleep(0.3)  # the server forgives an answer that was on its way
        assert session.got("FunctionCallResponse") == []
        assert talk.text(2) == HOURS


@pytest.mark.parametrize("raw", ["{", "[1]", "[" * 100_000])
async def test_tells_of_arguments_that_are_none(raw: str) -> None:
    async with talking([Turn("book", tools=[Call("book", raw=raw)], then="Sorry.")]) as (talk, session):
        talk.caller_says("book")
        await talk.ended(1)
        assert not talk.all(ToolAsked)
        assert json.loads(session.got("FunctionCallResponse")[0]["content"])["ok"] is False
        assert talk.text(1) == "Sorry."


async def test_asks_once_for_what_is_ours() -> None:
    ours = {"id": "a", "name": "book", "arguments": "{}", "client_side": True}
    theirs = {"id": "b", "name": "weather", "arguments": "{}", "client_side": False}
    async with scripted() as (talk, server):
        await server.say({"type": "FunctionCallRequest", "functions": [theirs]})
        await server.say({"type": "FunctionCallResponse", "id": "b", "name": "weather", "content": "rain"})
        await server.say(*[{"type": "FunctionCallRequest", "functions": [theirs, ours]}] * 2, text("user", "x"))
        await until(lambda: talk.all(CallerSaid))
        assert talk.all(ToolAsked) == [ToolAsked("a", "book", {})]


# -- sentences of ours -------------------------------------------------------------------------------------


async def test_nudges_and_says_goodbye() -> None:
    async with talking() as (talk, _):
        talk.agent.nudge()
        await talk.ended(1)
        talk.agent.nudge(last=True)
        await talk.ended(2)
        assert (talk.text(1), talk.text(2)) == (AGENT["nudge"], AGENT["goodbye"])


async def test_a_refused_nudge_is_said_when_the_server_has_spoken() -> None:
    options = {"listen_model": "flux-general-en", "eot_timeout_ms": 500}
    async with talking([Turn("go on", LONG)], pace=Pace(speed=4.0), **options) as (talk, session):
        talk.caller_says("go on")
        await until(lambda: talk.pcm(1))
        talk.agent.interrupt(ONE, 80.0)
        talk.agent.nudge()  # before that is over, half a second goes by
        await talk.ended(2)
        assert len(session.said("InjectionRefused")) == 1
        assert (talk.text(2), talk.pcm(2)) == (AGENT["nudge"], heard(AGENT["nudge"]))


async def test_a_refused_nudge_is_said_into_what_only_the_server_hears() -> None:
    options = {"listen_model": "flux-general-en", "eot_timeout_ms": 500}
    async with talking(**options) as (talk, session):
        talk.hears(spoken("noise", 8000))
        await until(lambda: session.said("UserStartedSpeaking"))
        talk.agent.nudge()
        await talk.ended(1)
        assert len(session.said("InjectionRefused")) == 1
        assert [one["behavior"] for one in session.got("InjectAgentMessage")] == ["default", "interrupt"]
        assert talk.text(1) == AGENT["nudge"]


async def test_a_refused_nudge_waits_for_the_caller() -> None:
    async with scripted(listen_model="flux-general-en", eot_timeout_ms=500) as (talk, server):
        talk.agent.nudge()
        await until(lambda: server.got("InjectAgentMessage"))
        await server.say(REFUSED, text("assistant", "Hm."), AUDIO_DONE)  # by itself: the silence is broken
        await talk.ended(1)
        assert len(server.got("InjectAgentMessage")) == 1
        talk.agent.nudge()
        await until(lambda: len(server.got("InjectAgentMessage")) == 2)
        await server.say(REFUSED, {"type": "Nonsense"}, b"\x10" * 160, AUDIO_DONE)
        await talk.ended(2)
        await until(lambda: len(server.got("InjectAgentMessage")) == 3)
        await server.say(REFUSED)  # once more, not for ever
        await asyncio.sleep(0.6)
        assert len(server.got("InjectAgentMessage")) == 3


async def test_a_refused_nudge_is_out_of_place_when_the_caller_spoke() -> None:
    async with scripted(listen_model="flux-general-en", eot_timeout_ms=500) as (talk, server):
        talk.agent.nudge()
        await until(lambda: server.got("InjectAgentMessage"))
        await server.say(REFUSED, text("user", "I am here."))
        await until(lambda: talk.all(CallerSaid))
        await asyncio.sleep(0.6)
        assert len(server.got("InjectAgentMessage")) == 1


async def test_a_refused_nudge_is_said_after_a_false_alarm() -> None:
    async with scripted() as (talk, server):
        talk.agent.nudge()
        await until(lambda: server.got("InjectAgentMessage"))
        with structlog.testing.capture_logs() as logs:
            await server.say(REFUSED)
            await until(lambda: logs)
        assert logs[0]["log_level"] == "warning"
        talk.agent.caller_spoke()
        talk.agent.caller_dismissed()
        await until(lambda: len(server.got("InjectAgentMessage")) == 2)


async def test_a_nudge_that_is_not_refused_is_said_once() -> None:
    async with talking() as (talk, session):
        talk.agent.nudge()
        talk.agent.caller_spoke()
        talk.agent.caller_dismissed()
        await talk.ended(1)
        assert len(session.got("InjectAgentMessage")) == 1


async def test_answers_a_digit() -> None:
    async with talking([Turn("[the caller pressed 5]", "Five it is.")]) as (talk, session):
        talk.agent.digit("5")
        await talk.ended(1)
        assert talk.text(1) == "Five it is."
        assert not talk.all(CallerSaid)
        assert [one["content"] for one in session.got("InjectUserMessage")] == ["[the caller pressed 5]"]


async def test_a_digit_ends_what_is_said() -> None:
    async with talking([Turn("go on", LONG), Turn("[the caller pressed 5]", HOURS)], pace=Pace(speed=8)) as (talk, _):
        talk.caller_says("go on")
        await until(lambda: talk.pcm(1))
        talk.agent.digit("5")
        await talk.ended(2)
        assert len(talk.pcm(1)) < len(heard(LONG))
        assert (talk.text(2), talk.pcm(2)) == (HOURS, heard(HOURS))


async def test_takes_over() -> None:
    history = (
        Said("agent", GREETING),
        Said("caller", "book a table"),
        Said("tool", 'book({"people": 2}) -> {"ok": true}'),
        Said("agent", "It is booked."),
    )
    briefing = Briefing("call-1", AGENT, GREETING, "Be kind.", history=history)
    async with talking([Turn("book a table"), Turn("thank you", "Goodbye.")], briefing=briefing) as (talk, session):
        talk.agent.respond("thank you")
        await talk.ended(1)
        assert talk.row() == [ReplyBegan(ONE), ReplyText(ONE, "Goodbye."), "sound", ReplyEnded(ONE)]
        assert talk.all(StageReached) == [StageReached(Stage.FIRST_TOKEN), StageReached(Stage.FIRST_AUDIO)]
        agent = session.got("Settings")[0]["agent"]
        assert "greeting" not in agent
        assert [(one["role"], one["content"]) for one in agent["context"]["messages"]] == [
            ("assistant", GREETING),
            ("user", "book a table"),
            ("assistant", "It is booked."),
        ]
        assert agent["think"]["prompt"].startswith("Be kind.\n")
        assert agent["think"]["prompt"].endswith('\n- book({"people": 2}) -> {"ok": true}')


async def test_hears_the_longest_turn_at_once_when_it_takes_over() -> None:
    said = bytes(16 * 118_000) + spoken("what are your hours", 8000) + bytes(16 * 600)
    async with talking([Turn("what are your hours", HOURS)]) as (talk, session):
        talk.agent.caller_spoke()
        talk.hears(said)
        talk.agent.caller_paused()
        await talk.ended(1)
        assert talk.text(1) == HOURS
        assert len(session.caller_pcm) == len(said)


# -- settings ----------------------------------------------------------------------------------------------


async def test_says_what_it_is_set_to() -> None:
    options = {
        "listen_model": "flux-general-multi",
        "eot_threshold": 0.8,
        "eager_eot_threshold": 0.5,
        "eot_timeout_ms": 3000,
        "keyterms": ("begonia",),
        "think_provider": "anthropic",
        "think_model": "claude-3-5-haiku-latest",
        "temperature": 0.5,
        "speak_model": "flux-kit-en",
    }
    async with talking(**options) as (talk, session):
        assert talk.agent.patience_seconds == 3.0
        settings = session.got("Settings")[0]
        assert settings["audio"] == {
            "input": {"encoding": "mulaw", "sample_rate": 8000},
            "output": {"encoding": "mulaw", "sample_rate": 8000, "container": "none"},
        }
        assert settings["agent"]["listen"]["provider"] == {
            "type": "deepgram",
            "version": "v2",
            "model": "flux-general-multi",
            "language_hints": ["en"],
            "eot_threshold": 0.8,
            "eager_eot_threshold": 0.5,
            "eot_timeout_ms": 3000,
            "keyterms": ["begonia"],
        }
        assert settings["agent"]["think"]["provider"] == {
            "type": "anthropic",
            "model": "claude-3-5-haiku-latest",
            "temperature": 0.5,
        }
        assert settings["agent"]["think"]["functions"] == [
            {"name": "book", "description": "Book a table.", "parameters": Booking().parameters}
        ]
        assert settings["agent"]["speak"]["provider"] == {"type": "deepgram", "model": "flux-kit-en", "version": "v2"}


@pytest.mark.parametrize(
    ("language", "told"), [("en-US", "en"), ("de-DE", "de"), ("zh-HK", "zh-HK"), ("multi", "multi")]
)
def test_says_which_language_nova_is_to_hear(language: str, told: str) -> None:
    briefing = Briefing("call-1", {"language": language}, "", "")
    message = settings_message(DeepgramAgentSettings(), briefing)
    provider = {"type": "deepgram", "version": "v1", "model": "nova-3", "language": told}
    assert message["agent"]["listen"] == {"provider": provider}


def test_waits_for_its_ears() -> None:
    assert make("ws://h").patience_seconds == 1.5
    assert make("ws://h", listen_model="flux-general-en").patience_seconds == 5.0


def test_refuses_settings_that_do_nothing() -> None:
    with pytest.raises(ValidationError, match="eot_threshold is of the flux-… models, and listen_model is nova-3"):
        DeepgramAgentSettings(eot_threshold=0.7)


# -- the session's life --------------------------------------------------------------------------------------


async def test_stays_alive_on_a_silent_line() -> None:
    async with talking(heartbeat_seconds=0.05, pace=Pace(speed=40.0, idle_seconds=0.25)) as (talk, session):
        await until(lambda: len(session.got("KeepAlive")) >= 10)
        assert talk.failure is None
        for _ in range(20):
            talk.agent.hear(SLIN8.silence())
            await asyncio.sleep(0.01)
        kept = len(session.got("KeepAlive"))
        talk.agent.hear(SLIN8.silence())
        await until(lambda: isinstance(session.received[-1], bytes))
        assert len(session.got("KeepAlive")) - kept <= 1


async def test_says_when_the_session_expires() -> None:
    async with talking(session_minutes=5.0) as (talk, _):
        await until(lambda: talk.events)
        talk.agent.greet()
        await talk.ended(1)
        assert talk.all(AgentExpiring) == [AgentExpiring()]
    async with talking(session_minutes=5.01) as (talk, _):
        talk.agent.greet()
        await talk.ended(1)
        assert not talk.all(AgentExpiring)
        await until(lambda: talk.all(AgentExpiring))


async def test_sound_waits_for_the_settings() -> None:
    server = DeepgramServer(Scenario(), key=KEY, pace=Pace(settings_seconds=0.1))
    async with server.listening():
        agent = make(server.url)
        starting = asyncio.create_task(agent.start(BRIEFING))
        while not starting.done():
            agent.hear(SLIN8.silence())
            await asyncio.sleep(0.01)
        await starting
        agent.hear(SLIN8.silence())
        await until(lambda: server.agent_sessions[0].caller_pcm)
        await agent.close()
    assert server.violations == []
    assert len(server.agent_sessions[0].caller_pcm) == SLIN8.frame_bytes


async def test_the_server_ends_the_session_at_its_limit() -> None:
    async with talking(pace=Pace(session_seconds=0.1)) as (talk, _):
        assert "SESSION_DURATION_EXCEEDED" in await talk.failed()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("garbage", "no JSON"),
        ("close", "closed the connection: 1011"),
        ("error", "INTERNAL_SERVER_ERROR"),
        ("limit", "SESSION_DURATION_EXCEEDED"),
    ],
)
async def test_fails_in_mid_word(kind: Any, reason: str) -> None:
    async with talking([Turn("hours", HOURS)], [Fault(kind, turn=0)]) as (talk, _):
        talk.caller_says("hours")
        assert reason in await talk.failed()
        assert 0 < len(talk.pcm(1)) < len(heard(HOURS))


async def test_a_stalled_reply_stays_open() -> None:
    async with talking([Turn("hours", HOURS)], [Fault("stall", turn=0)]) as (talk, _):
        talk.caller_says("hours")
        await until(lambda: talk.pcm(1))
        await asyncio.sleep(0.1)
        assert not talk.all(ReplyEnded)
        assert talk.failure is None


@asynccontextmanager
async def refusing(*faults: Fault, key: str = KEY) -> AsyncIterator[tuple[DeepgramServer, DeepgramAgent]]:
    async with DeepgramServer(Scenario(faults=faults), key=key).listening() as server:
        agent = make(server.url)
        yield server, agent
        await agent.close()


@pytest.mark.parametrize(
    ("faults", "key", "status"),
    [((), "another", 401), ((Fault("refuse", status=429),), KEY, 429), ((Fault("refuse", status=503),), KEY, 503)],
)
async def test_is_refused(faults: tuple[Fault, ...], key: str, status: int) -> None:
    async with refusing(*faults, key=key) as (_, agent):
        with pytest.raises(ProviderError, match=f"^Deepgram refused the connection: {status}$") as error:
            await agent.start(BRIEFING)
        assert error.value.status == status
        assert KEY not in str(error.value) + repr(error.value) + repr(error.value.__context__)


async def test_cannot_be_reached() -> None:
    agent = make("ws://127.0.0.1:9")
    with pytest.raises(ProviderError, match="Deepgram cannot be reached: "):
        await agent.start(BRIEFING)
    await agent.close()


async def test_a_start_that_stalls_is_closed_when_cancelled() -> None:
    async with refusing(Fault("stall")) as (server, agent):
        starting = asyncio.create_task(agent.start(BRIEFING))
        await until(lambda: server.agent_sessions and server.agent_sessions[0].got("Settings"))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await until(lambda: server.agent_sessions[0].closed)
    assert server.violations == []


async def test_a_slow_start_can_be_cancelled() -> None:
    async with refusing(Fault("slow", seconds=0.5)) as (server, agent):
        starting = asyncio.create_task(agent.start(BRIEFING))
        await until(lambda: server.agent_sessions)
        starting.cancel()
        await asyncio.wait({starting}, timeout=5.0)
        assert starting.cancelled()


async def test_does_not_wait_for_a_server_that_does_nothing() -> None:
    left = asyncio.Event()
    release = asyncio.Event()
    gone = asyncio.Event()

    async def do_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        connected.set()
        await reader.read()
        left.set()
        await release.wait()
        writer.close()
        gone.set()

    connected = asyncio.Event()
    server = await asyncio.start_server(do_nothing, "127.0.0.1", 0)
    agent = make(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    starting = asyncio.create_task(agent.start(BRIEFING))
    await connected.wait()
    starting.cancel()
    await asyncio.wait({starting}, timeout=5.0)
    assert starting.cancelled()
    async with asyncio.timeout(5.0):
        await left.wait()  # our side is closed
        await agent.close()
    assert not gone.is_set()
    release.set()
    server.close()
    await gone.wait()


async def test_does_not_wait_for_a_server_that_does_not_close() -> None:
    async with Scripted().listening() as server:
        agent = make(server.url)
        await agent.start(BRIEFING)
        with server.hung():
            async with asyncio.timeout(5.0):
                await agent.close()


async def test_is_refused_its_settings() -> None:
    complaint = {"type": "Error", "code": "INVALID_SETTINGS", "description": f"No such model for {KEY}."}
    warning = {"type": "Warning", "code": "W", "description": "Deprecated."}
    async with Scripted([warning, complaint]).listening() as server:
        agent = make(server.url)
        with pytest.raises(ProviderError, match=r"refused the session: No such model for …\. \(INVALID_SETTINGS\)"):
            await agent.start(BRIEFING)
        await agent.close()


async def test_skips_what_it_does_not_know() -> None:
    async with scripted() as (talk, server):
        with structlog.testing.capture_logs() as logs:
            await server.say(
                {"type": "Brandnew", "x": 1},
                {"no": "type"},
                "[1, 2]",
                {"type": "History", "role": "user", "content": "x"},
                {"type": "LatencyReport", "total_latency": 1.0},
                {"type": "FrustrationDetected"},
                {"type": "PromptUpdated"},
                {"type": "Warning", "code": "SLOW", "description": f"Slow, {KEY}."},
                text("user", "Hello?"),
            )
            await until(lambda: talk.events)
        assert talk.row() == [CallerSaid("Hello?")]
        assert [one["reason"] for one in logs] == ["Slow, …. (SLOW)"]


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "ConversationText"},
        {"type": "ConversationText", "role": "nobody", "content": "x"},
        {"type": "FunctionCallRequest"},
        {"type": "FunctionCallRequest", "functions": [{"id": "a", "client_side": True}]},
        {"type": "FunctionCallCancelled", "functions": 3},
    ],
)
async def test_fails_on_what_is_broken(broken: dict[str, Any]) -> None:
    async with scripted() as (talk, server):
        await server.say(broken)
        reason = await talk.failed()
    assert reason.startswith(f"Deepgram sent a broken '{broken['type']}': ")
    assert reason.endswith(("TypeError", "ValueError"))


async def test_fails_when_the_server_takes_nothing_any_more() -> None:
    async with scripted() as (talk, _):
        for _ in range(10_500):
            talk.agent.hear(SLIN8.silence())
        assert await talk.failed() == "Deepgram does not take the caller's voice any more"


async def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        async with talking() as (talk, _):
            talk.agent.greet()
            await talk.ended(1)
    assert "Authorization" in caplog.text  # it is the right place to look at
    assert KEY not in caplog.text
    assert KEY not in repr(logs)
    assert KEY not in repr(talk.agent.__dict__.get("_settings"))


def test_importing_the_sdk_is_quiet() -> None:
    """Where every warning is an error, and not before a call needs it."""
    program = """
import sys
from ai_engine.providers.deepgram_agent import socket
assert "deepgram" not in sys.modules
client = socket._client("ws://127.0.0.1:9", "k")
assert "deepgram.agent.v1.client" in sys.modules
"""
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

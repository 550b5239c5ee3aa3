"""The OpenAI Realtime agent against a server as strict as the vendor's, on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.audio.g711 import alaw_to_pcm, pcm_to_alaw, pcm_to_ulaw, ulaw_to_pcm
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
    UsageReported,
)
from ai_engine.errors import ProviderError
from ai_engine.providers.openai_realtime import OpenAIRealtimeAgent, OpenAIRealtimeSettings
from ai_engine.providers.openai_realtime import agent as module
from ai_engine.providers.openai_realtime.captions import Captions, Pace
from ai_engine.session.ports import Briefing, Fitting, Said
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.openai_realtime_session import Session
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.word_tones import spoken
from tests.waiting import until

KEY = "sk-test-4711"
GREETING = "Hello. How can I help you?"
HOURS = "We are open from nine to six."
LONG = "This takes a good while to say since there are so very many words in it, and more follow."
FRAME = b"\x10\x02" * SLIN8.frame_samples
ONE, TWO = ReplyId(1), ReplyId(2)


@dataclass(frozen=True)
class Booking:
    name: str = "book"
    description: str = "Book a table."
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"people": {"type": "integer"}}}
    )


BRIEFING = Briefing("call-1", {"language": "en-US"}, GREETING, "Be kind.", tools=(Booking(),))


@dataclass
class Talk:
    """An agent, and what it says; ``react`` is called with every event, as the session is."""

    agent: OpenAIRealtimeAgent
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

    async def ended(self, replies: int) -> None:
        """So many replies are over."""
        await until(lambda: len(self.all(ReplyEnded)) >= replies or self.failure)
        assert self.failure is None

    @property
    def heard(self) -> list[str]:
        """What the caller said, by final transcripts."""
        return [event.text for event in self.all(CallerSaid) if event.final]

    def pcm(self, reply: int) -> bytes:
        return b"".join(event.pcm for event in self.all(ReplyAudio) if event.reply == reply)

    def text(self, reply: int) -> str:
        return " ".join(event.text for event in self.all(ReplyText) if event.reply == reply)

    def says(self, frames: int = 10, *, brief: bool = False) -> None:
        """A turn of the caller, as the engine's ear tells it."""
        self.agent.caller_spoke()
        for _ in range(frames):
            self.agent.hear(FRAME)
        self.agent.caller_paused(brief=brief)


def fitting(key: str = KEY, preroll_ms: int = 40) -> Fitting:
    return Fitting(SLIN8, {"OPENAI_API_KEY": key}, preroll_ms)


@asynccontextmanager
async def talking(
    turns: Sequence[Turn] = (),
    faults: Sequence[Fault] = (),
    *,
    briefing: Briefing = BRIEFING,
    speed: float = 40.0,
    transcribes_after: float = 0.01,
    may_err: bool = False,
    **options: Any,
) -> AsyncIterator[tuple[Talk, Session]]:
    """A started agent and what the server saw of it; it must not have seen anything wrong."""
    server = OpenAIRealtimeServer(
        Scenario(GREETING, turns, faults), key=KEY, speed=speed, transcribes_after=transcribes_after
    )
    async with server.listening():
        agent = OpenAIRealtimeAgent(OpenAIRealtimeSettings(url=server.url, **options), fitting())
        try:
            await agent.start(briefing)
            talk = Talk(agent)
            listener = asyncio.create_task(talk.listen())
            session = await server.session()
            yield talk, session
            await asyncio.sleep(0.02)  # what should not have been sent has arrived
            assert session.violations == []
            if not may_err:
                assert session.errors == []
        finally:
            await agent.close()
        await listener


def sent_by_us(session: Session, kind: str) -> list[dict[str, Any]]:
    return [event for event in session.received if event["type"] == kind]


# -- the session ---------------------------------------------------------------------------------------------


async def test_the_session_is_set_up_before_anybody_speaks() -> None:
    async with talking(noise_reduction="far_field", max_output_tokens=900) as (talk, session):
        settings = session.settings
        assert session.query == {"model": "gpt-realtime"}
        assert settings["instructions"] == "Be kind."
        assert settings["output_modalities"] == ["audio"]
        assert settings["max_output_tokens"] == 900
        assert settings["audio"]["input"] == {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "gpt-4o-mini-transcribe", "language": "en"},
            "noise_reduction": {"type": "far_field"},
            "turn_detection": None,
        }
        assert settings["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0}
        assert [tool["name"] for tool in settings["tools"]] == ["book"]
        assert talk.agent.input_format == talk.agent.output_format == SLIN8
        assert talk.agent.patience_seconds == 0


async def test_a_takeover_knows_what_was_said_and_done() -> None:
    history = (
        Said("agent", "Hello."),
        Said("caller", "book a table"),
        Said("tool", 'book({"people": 2}) -> {"ok": true}'),
    )
    briefing = Briefing("call-1", {}, GREETING, "Be kind.", history=history)
    async with talking([Turn("book a table"), Turn("what are your hours", HOURS)], briefing=briefing) as (
        talk,
        session,
    ):
        talk.agent.respond("what are your hours")
        await talk.ended(1)
        items = [item.wire for item in session.items]
        assert [(item["role"], item["content"][0]["type"]) for item in items] == [
            ("assistant", "output_text"),
            ("user", "input_text"),
            ("system", "input_text"),
            ("user", "input_text"),
            ("assistant", "output_audio"),
        ]
        assert 'book({"people": 2}) -> {"ok": true}' in items[2]["content"][0]["text"]
        assert talk.text(ONE) == HOURS


async def test_the_greeting_is_said_word_for_word() -> None:
    async with talking() as (talk, session):
        talk.agent.greet()
        await talk.ended(1)
        (create,) = sent_by_us(session, "response.create")
        assert create["response"]["instructions"].startswith("Be kind.")
        assert create["response"]["instructions"].endswith(GREETING)
        assert create["response"]["tool_choice"] == "none"
        assert talk.pcm(ONE) == ulaw_to_pcm(pcm_to_ulaw(spoken(GREETING, 8000)))
        assert talk.text(ONE) == GREETING
        kinds = [type(event) for event in talk.events if not isinstance(event, ReplyText)]
        assert kinds[:4] == [ReplyBegan, StageReached, StageReached, ReplyAudio]
        assert kinds[-2:] == [UsageReported, ReplyEnded]
        (usage,) = talk.all(UsageReported)
        assert usage.provider == "openai_realtime"
        assert usage.units["output_audio_tokens"] == pytest.approx(1.2 * 20)


@pytest.mark.parametrize(("format", "rate"), [("pcma", 8000), ("pcm", 24000)])
async def test_other_formats(format: str, rate: int) -> None:
    async with talking([Turn("hi", "Good day.")], format=format) as (talk, session):
        assert talk.agent.input_format == talk.agent.output_format == AudioFormat(rate)
        frame = b"\x10\x02" * talk.agent.input_format.frame_samples
        talk.agent.caller_spoke()
        for _ in range(10):
            talk.agent.hear(frame)
        talk.agent.caller_paused()
        await talk.ended(1)
        through = (lambda pcm: alaw_to_pcm(pcm_to_alaw(pcm))) if format == "pcma" else bytes
        assert session.turns[0].pcm == through(frame * 10)
        assert talk.pcm(ONE) == through(spoken("Good day.", rate))


async def test_the_agent_may_sound_better_than_it_hears() -> None:
    async with talking([Turn("hi", "Good day.")], format="pcmu", output_format="pcm") as (talk, session):
        assert (talk.agent.input_format, talk.agent.output_format) == (SLIN8, AudioFormat(24000))
        sound = session.settings["audio"]
        assert sound["input"]["format"] == {"type": "audio/pcmu"}
        assert sound["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
        frame = b"\x10\x02" * SLIN8.frame_samples
        talk.agent.caller_spoke()
        for _ in range(10):
            talk.agent.hear(frame)
        talk.agent.caller_paused()
        await talk.ended(1)
        assert session.turns[0].pcm == ulaw_to_pcm(pcm_to_ulaw(frame * 10))
        assert talk.pcm(ONE) == spoken("Good day.", 24000)


# -- turns the engine hears --------------------------------------------------------------------------------------


async def test_a_turn_travels_pre_roll_first_and_is_answered() -> None:
    async with talking([Turn("what are your hours", HOURS, pieces=2)]) as (talk, session):
        loud, quiet = b"\x00\x10" * 160, bytes(320)
        for frame in (quiet, loud, loud):
            talk.agent.hear(frame)
        talk.says(7)
        for _ in range(20):
            talk.agent.hear(quiet)
        await talk.ended(1)
        await until(lambda: CallerSaid("what are your hours") in talk.events)
        assert session.turns[0].pcm == ulaw_to_pcm(pcm_to_ulaw(loud * 2 + FRAME * 7))
        assert len(session.caller_pcm) == 9 * 320
        assert CallerSaid("what are", final=False) in talk.events
        assert talk.text(ONE) == HOURS
        assert {event.stage for event in talk.all(StageReached)} == set(Stage)
        assert session.received_types == ["session.update", "input_audio_buffer.commit", "response.create"]


async def test_a_turn_too_short_for_the_provider_is_filled_up() -> None:
    async with talking([Turn("yes", "Good.")]) as (talk, session):
        talk.says(1)
        await talk.ended(1)
        assert len(session.turns[0].pcm) == 2 * 120 * 8


async def test_a_dismissed_turn_is_forgotten() -> None:
    async with talking([Turn("what are your hours", HOURS)]) as (talk, session):
        talk.agent.caller_spoke()
        for _ in range(10):
            talk.agent.hear(bytes(320))
        talk.agent.caller_dismissed()
        talk.says()
        await talk.ended(1)
        assert len(session.turns) == 1
        assert session.turns[0].pcm.endswith(ulaw_to_pcm(pcm_to_ulaw(FRAME * 10)))
        assert len(session.turns[0].pcm) <= 12 * 320
        assert session.received_types.count("input_audio_buffer.clear") == 1


async def test_a_hum_is_told_and_forgotten() -> None:
    async with talking([Turn("mm-hm", "What?")]) as (talk, session):
        talk.agent.greet()
        await talk.ended(1)
        talk.says(brief=True)
        await until(lambda: CallerSaid("mm-hm") in talk.events)
        await until(lambda: all(not item.is_user for item in session.items))
        assert session.received_types.count("response.create") == 1


async def test_a_short_question_is_told_and_then_answered() -> None:
    async with talking([Turn("which hours", HOURS)]) as (talk, session):
        talk.says(brief=True)
        await talk.ended(1)
        assert talk.events.index(CallerSaid("which hours")) < talk.events.index(ReplyBegan(ONE))
        assert talk.text(ONE) == HOURS
        assert len(session.items) == 2


async def test_what_a_short_question_interrupts_is_cut_before_it_is_answered() -> None:
    async with talking([Turn("stop", HOURS)]) as (talk, session):
        talk.agent.greet()
        await talk.ended(1)
        talk.react = lambda event: talk.agent.interrupt(ONE, 400) if event == CallerSaid("stop") else None
        talk.says(brief=True)
        await talk.ended(2)
        assert session.received_types[-2:] == ["conversation.item.truncate", "response.create"]


async def test_without_transcription_a_turn_has_no_words_and_a_short_one_counts_as_a_hum() -> None:
    async with talking([Turn("what are your hours", HOURS)], transcription=None) as (talk, session):
        talk.says(brief=True)
        await until(lambda: CallerSaid("") in talk.events)
        await until(lambda: not session.items)
        talk.says()
        await talk.ended(1)
        assert talk.heard == ["", ""]
        assert session.settings["audio"]["input"]["transcription"] is None


async def test_words_that_come_late_are_not_taken_for_those_of_a_short_sound() -> None:
    async with talking([Turn("what are your hours", HOURS), Turn("mm-hm")], transcribes_after=0.15) as (talk, session):
        talk.says()
        await talk.ended(1)
        assert talk.heard == []
        talk.says(brief=True)
        await until(lambda: len(talk.heard) == 2)
        assert talk.heard == ["mm-hm", "what are your hours"]


async def test_a_reply_that_would_begin_into_the_callers_words_is_made_again_when_they_were_none() -> None:
    async with talking([Turn("what are your hours", HOURS)], [Fault("slow", turn=0, seconds=0.2)]) as (talk, session):
        talk.says()
        await until(lambda: "response.created" in session.sent_types)
        talk.agent.caller_spoke()
        await until(lambda: "response.cancel" in session.received_types)
        await until(lambda: "response.done" in session.sent_types)
        assert session.received_types.count("response.create") == 1
        assert talk.all(ReplyBegan) == []
        talk.agent.caller_dismissed()
        await talk.ended(1)
        assert talk.text(ONE) == HOURS


async def test_a_turn_that_goes_on_is_answered_once() -> None:
    async with talking([Turn("I would like", LONG), Turn("a table", "For how many?")]) as (talk, session):
        talk.says()
        talk.says()  # the response is asked for, but has not begun
        await talk.ended(1)
        assert talk.text(ONE) == "For how many?"
        assert len(talk.all(ReplyBegan)) == 1
        assert session.received_types.count("response.cancel") == 1


# -- interruptions ---------------------------------------------------------------------------------------------


async def test_an_interrupted_reply_is_cancelled_and_cut_to_what_was_heard() -> None:
    async with talking([Turn("go", LONG), Turn("stop", "Yes?")], speed=4) as (talk, session):
        talk.says()
        await until(lambda: len(talk.pcm(ONE)) > 16 * 500)
        talk.agent.interrupt(ONE, 420.7)
        talk.agent.caller_spoke()
        told = len(talk.all(ReplyAudio, ReplyText))
        await talk.ended(1)
        assert len(talk.all(ReplyAudio, ReplyText)) == told
        item = next(item for item in session.items if not item.is_user)
        await until(lambda: session.truncated)
        assert session.truncated == [(item.id, 420)]
        assert session.received_types[-2:] == ["response.cancel", "conversation.item.truncate"]
        talk.agent.caller_paused()
        await talk.ended(2)
        assert talk.text(TWO) == "Yes?"


async def test_no_more_is_cut_than_was_received() -> None:
    async with talking([Turn("go", LONG)], speed=4) as (talk, session):
        talk.says()
        await until(lambda: len(talk.all(ReplyAudio)) == 3)
        received_ms = SLIN8.ms(len(talk.pcm(ONE)))
        talk.agent.interrupt(ONE, 60_000)
        await talk.ended(1)
        await until(lambda: session.truncated)
        assert [ms for _, ms in session.truncated] == [received_ms]


async def test_a_reply_that_is_made_but_not_heard_to_its_end_is_cut_without_cancelling() -> None:
    async with talking([Turn("go", HOURS), Turn("again", HOURS)]) as (talk, session):
        talk.says()
        await talk.ended(1)
        talk.agent.interrupt(ONE, 600)
        talk.agent.interrupt(ONE, 600)
        talk.says()
        await talk.ended(2)
        talk.agent.interrupt(TWO, 1400)  # all of it
        assert [ms for _, ms in session.truncated] == [600]
        assert "response.cancel" not in session.received_types


async def test_a_reply_nobody_heard_is_forgotten() -> None:
    async with talking([Turn("go", LONG), Turn("stop", "Yes?")], speed=4) as (talk, session):
        talk.react = lambda event: talk.agent.interrupt(ONE, 0.0) if event == ReplyBegan(ONE) else None
        talk.says()
        await talk.ended(1)
        assert talk.all(ReplyAudio) == []
        await until(lambda: len(session.items) == 1)
        talk.says()
        await talk.ended(2)
        assert talk.text(TWO) == "Yes?"


# -- tools -----------------------------------------------------------------------------------------------------


async def test_a_tool_is_asked_for_when_the_reply_before_it_is_over() -> None:
    turn = Turn("book a table", "One moment.", [Call("book", {"people": 2})], "It is booked.")
    async with talking([turn]) as (talk, session):
        talk.says()
        await until(lambda: talk.all(ToolAsked))
        (asked,) = talk.all(ToolAsked)
        assert (asked.name, asked.arguments, asked.goes_on) == ("book", {"people": 2}, True)
        assert talk.events.index(ReplyEnded(ONE)) < talk.events.index(asked)
        talk.agent.answer_tool(asked.id, {"ok": True, "table": "Nº 4"})
        talk.agent.answer_tool(asked.id, {"ok": True})
        await talk.ended(2)
        assert talk.text(TWO) == "It is booked."
        (result,) = session.tool_results
        assert json.loads(result.output) == {"ok": True, "table": "Nº 4"}


async def test_a_tool_without_a_word_comes_with_an_empty_reply() -> None:
    async with talking([Turn("book", tools=[Call("book")], then="Done.")]) as (talk, _):
        talk.says()
        await until(lambda: talk.all(ToolAsked))
        spoken_of = talk.all(ReplyBegan, ReplyEnded, ToolAsked)
        assert spoken_of[:2] == [ReplyBegan(ONE), ReplyEnded(ONE)]
        talk.agent.answer_tool(spoken_of[2].id, {"ok": True})
        await talk.ended(2)


async def test_two_tools_are_both_answered_before_the_model_goes_on() -> None:
    turn = Turn("book", "", [Call("book", {"people": 2}), Call("book", {"people": 3})], "Both are booked.")
    async with talking([turn]) as (talk, session):
        talk.says()
        await until(lambda: len(talk.all(ToolAsked)) == 2)
        first, second = talk.all(ToolAsked)
        talk.agent.answer_tool(second.id, {"ok": True})
        await until(lambda: session.tool_results)
        assert session.received_types.count("response.create") == 1
        talk.agent.answer_tool(first.id, {"ok": True})
        await talk.ended(2)
        assert talk.text(TWO) == "Both are booked."
        assert session.received_types.count("response.create") == 2


async def test_the_model_is_told_of_arguments_that_are_none_and_may_try_again_once() -> None:
    turns = [Turn("book", "", [Call("book", raw=raw)], "I cannot do that.") for raw in ('{"people": ', "[2]")]
    async with talking(turns) as (talk, session):
        talk.says()
        await talk.ended(1)
        assert talk.text(ONE) == "I cannot do that."
        assert "response" not in sent_by_us(session, "response.create")[-1]
        talk.says()
        await talk.ended(2)
        assert sent_by_us(session, "response.create")[-1]["response"] == {"tool_choice": "none"}
        assert talk.all(ToolAsked) == []
        assert [json.loads(result.output)["ok"] for result in session.tool_results] == [False, False]


async def test_a_good_call_beside_a_bad_one_is_waited_for() -> None:
    turn = Turn("book", "", [Call("book", raw="{"), Call("book", {"people": 3})], "Booked.")
    async with talking([turn]) as (talk, session):
        talk.says()
        await until(lambda: talk.all(ToolAsked) and session.tool_results)
        assert session.received_types.count("response.create") == 1
        talk.agent.answer_tool(talk.all(ToolAsked)[0].id, {"ok": True})
        await talk.ended(2)
        assert talk.text(TWO) == "Booked."


async def test_a_tool_that_is_answered_into_a_reply_waits_for_its_end() -> None:
    turns = [Turn("book", "", [Call("book", {"people": 2})], "It is booked."), Turn("what are your hours", LONG)]
    async with talking(turns, speed=8) as (talk, session):
        talk.says()
        await until(lambda: talk.all(ToolAsked))
        talk.says()
        await until(lambda: len(talk.all(ReplyAudio)) > 1)
        talk.agent.answer_tool(talk.all(ToolAsked)[0].id, {"ok": True})
        await until(lambda: session.tool_results)
        assert session.received_types.count("response.create") == 2
        await talk.ended(3)
        assert talk.text(TWO) == LONG
        assert talk.text(3) == "It is booked."


async def test_a_tool_of_a_reply_that_was_interrupted_is_not_asked_for() -> None:
    turn = Turn("book", "One moment.", [Call("book", {"people": 2})], "It is booked.")
    async with talking([turn], may_err=True) as (talk, session):
        talk.react = lambda event: talk.agent.interrupt(ONE, 100) if len(talk.all(ReplyAudio)) == 1 else None
        talk.says()
        await talk.ended(1)
        assert talk.all(ToolAsked) == []
        await until(lambda: all(item.wire["type"] == "message" for item in session.items))


# -- what else the session tells it ----------------------------------------------------------------------------


async def test_a_nudge_and_a_goodbye() -> None:
    async with talking() as (talk, session):
        talk.agent.nudge()
        await talk.ended(1)
        talk.agent.nudge(last=True)
        await talk.ended(2)
        first, last = (create["response"] for create in sent_by_us(session, "response.create"))
        assert "still there" in first["instructions"]
        assert "goodbye" in last["instructions"]
        assert first["tool_choice"] == last["tool_choice"] == "none"


async def test_keys_in_a_row_are_answered_once() -> None:
    async with talking([Turn("hi", HOURS)]) as (talk, session):
        talk.says()
        await talk.ended(1)
        for digit in "42#":
            talk.agent.digit(digit)
        await talk.ended(2)
        texts = [item.text for item in session.items if item.wire.get("role") == "user" and item.text]
        assert texts == ["[the caller pressed 4]", "[the caller pressed 2]", "[the caller pressed #]"]
        assert len(talk.all(ReplyBegan)) == 2


async def test_a_key_pressed_into_the_greeting_does_not_take_its_place() -> None:
    async with talking() as (talk, session):
        talk.agent.greet()
        talk.agent.digit("1")
        await talk.ended(2)
        assert talk.text(ONE) == GREETING
        assert session.received_types.count("response.create") == 2


# -- a provider with ears of its own ---------------------------------------------------------------------------


@pytest.mark.parametrize("detection", ["server_vad", "semantic_vad"])
async def test_a_provider_with_ears_hears_everything_and_answers_by_itself(detection: str) -> None:
    async with talking([Turn("what are your hours", HOURS)], turn_detection=detection) as (talk, session):
        assert talk.agent.patience_seconds > 0
        hear(talk, spoken("what are your hours", 8000) + bytes(16 * 800))
        await talk.ended(1)
        assert talk.text(ONE) == HOURS
        await until(lambda: CallerSaid("what are your hours") in talk.events)
        assert session.received_types == ["session.update"]
        assert {event.stage for event in talk.all(StageReached)} == set(Stage)


async def test_a_provider_with_ears_is_interrupted_by_them() -> None:
    turns = [Turn("go", LONG), Turn("stop it now", HOURS)]
    async with talking(turns, turn_detection="server_vad", speed=4) as (talk, session):
        talk.react = lambda event: talk.agent.interrupt(ONE, 300) if event == CallerInterrupted() else None
        hear(talk, spoken("go on then", 8000) + bytes(16 * 700))
        await until(lambda: len(talk.all(ReplyAudio)) > 3)
        hear(talk, spoken("stop it now", 8000))
        await talk.ended(1)
        told = talk.pcm(ONE)
        hear(talk, bytes(16 * 700))
        await talk.ended(2)
        assert talk.events.index(CallerInterrupted()) < talk.events.index(ReplyEnded(ONE))
        assert talk.pcm(ONE) == told
        assert talk.text(TWO) == HOURS
        assert [ms for _, ms in session.truncated] == [300]
        assert "response.cancel" not in session.received_types


async def test_a_provider_with_ears_is_told_of_tools_between_its_turns() -> None:
    turns = [Turn("book", "", [Call("book", {"people": 2})], "It is booked."), Turn("hurry", HOURS)]
    async with talking(turns, turn_detection="server_vad") as (talk, session):
        hear(talk, spoken("book a table", 8000) + bytes(16 * 700))
        await until(lambda: talk.all(ToolAsked))
        hear(talk, spoken("hurry up now", 8000))
        await until(lambda: session.sent_types.count("input_audio_buffer.speech_started") == 2)
        await asyncio.sleep(0.02)  # it has read that
        talk.agent.answer_tool(talk.all(ToolAsked)[0].id, {"ok": True})
        await until(lambda: session.tool_results)
        assert "response.create" not in session.received_types
        hear(talk, bytes(16 * 700))
        await talk.ended(2)
        assert talk.text(TWO) == HOURS
        assert "response.create" not in session.received_types
        talk.agent.nudge()
        await talk.ended(3)


@pytest.mark.parametrize("detection", ["engine", "server_vad"])
async def test_one_who_takes_over_may_hear_the_longest_turn_at_once(detection: str) -> None:
    said = bytes(16 * 118_000) + spoken("what are your hours", 8000) + bytes(16 * 800)
    async with talking([Turn("what are your hours", HOURS)], turn_detection=detection) as (talk, session):
        talk.agent.caller_spoke()
        hear(talk, said)
        talk.agent.caller_paused()
        await talk.ended(1)
        assert talk.text(ONE) == HOURS
        assert len(session.caller_pcm) == len(said)


def hear(talk: Talk, pcm: bytes) -> None:
    for at in range(0, len(pcm) - 319, 320):
        talk.agent.hear(pcm[at : at + 320])


# -- what goes wrong -------------------------------------------------------------------------------------------


async def test_a_refusal_has_its_status_and_no_key() -> None:
    async with OpenAIRealtimeServer(Scenario(), key="another").listening() as server:
        agent = OpenAIRealtimeAgent(OpenAIRealtimeSettings(url=server.url), fitting())
        with pytest.raises(ProviderError) as caught:
            await agent.start(BRIEFING)
        assert caught.value.status == 401
        assert "Incorrect API key" in str(caught.value)
        assert KEY not in str(caught.value) + repr(caught.value) + repr(agent)
        await agent.close()


@pytest.mark.parametrize(
    "said",
    [b"\xff", "[]", '{"type": "error"}', '{"type": "error", "error": "boom"}', '{"type": "error", "error": [1]}'],
)
async def test_a_start_that_makes_no_sense_is_an_error_without_the_key(said: str | bytes) -> None:
    async def talk_nonsense(socket: ServerConnection) -> None:
        await socket.send(said)
        await socket.close(1008, f"no such key: {KEY}")

    async with serve(talk_nonsense, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1"
        agent = OpenAIRealtimeAgent(OpenAIRealtimeSettings(url=url), fitting())
        with pytest.raises(ProviderError) as caught:
            await agent.start(BRIEFING)
        assert KEY not in str(caught.value)
        await agent.close()


async def test_nobody_there() -> None:
    agent = OpenAIRealtimeAgent(OpenAIRealtimeSettings(url="ws://127.0.0.1:9/v1"), fitting())
    with pytest.raises(ProviderError, match="cannot be reached"):
        await agent.start(BRIEFING)
    await agent.close()


async def test_a_slow_connection_can_be_given_up() -> None:
    scenario = Scenario(faults=[Fault("slow", seconds=0.5)])
    async with OpenAIRealtimeServer(scenario, key=KEY).listening() as server:
        agent = OpenAIRealtimeAgent(OpenAIRealtimeSettings(url=server.url), fitting())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await agent.start(BRIEFING)
        await agent.close()


async def test_a_provider_that_stalls_can_be_spoken_to_again() -> None:
    turns = [Turn("go", LONG), Turn("hello", "I am back.")]
    async with talking(turns, [Fault("stall", turn=0, after_ms=500)]) as (talk, session):
        talk.says()
        await until(lambda: len(talk.pcm(ONE)) == 16 * 500)
        talk.agent.interrupt(ONE, 500)
        talk.says()
        await talk.ended(2)
        assert talk.text(TWO) == "I am back."
        assert [ms for _, ms in session.truncated] == [500]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("garbage", "no JSON"), ("close", "closed the connection: 1011"), ("limit", "session_expired")],
)
async def test_a_session_that_is_lost_is_an_error(kind: Any, reason: str) -> None:
    async with talking([Turn("go", LONG)], [Fault(kind, turn=0)], may_err=True) as (talk, _):
        talk.says()
        await until(lambda: talk.failure)
        assert reason in str(talk.failure)
        assert talk.all(ReplyAudio)


async def test_a_failure_of_the_vendors_own_is_tried_again_once() -> None:
    fault = Fault("error", turn=0)
    async with talking([Turn("go", HOURS)], [fault], may_err=True) as (talk, session):
        talk.says()
        await talk.ended(2)
        assert talk.text(TWO) == HOURS
        assert len(session.items) == 2
    async with talking([Turn("go", HOURS)], [fault, fault], may_err=True) as (talk, _):
        talk.says()
        await until(lambda: talk.failure)
        assert "server had an error" in str(talk.failure)


async def test_a_session_that_will_end_is_announced() -> None:
    async with talking(session_minutes=5.001) as (talk, _):
        await until(lambda: talk.all(AgentExpiring))
        talk.agent.greet()
        await talk.ended(1)
        assert len(talk.all(AgentExpiring)) == 1


# -- what the fake does not do -----------------------------------------------------------------------------------

Say = Callable[..., Any]


@asynccontextmanager
async def scripted(**options: Any) -> AsyncIterator[tuple[Talk, Say, list[dict[str, Any]]]]:
    """An agent whose provider says what the test makes it say, and the messages that come there."""
    came: list[dict[str, Any]] = []
    sockets: list[ServerConnection] = []

    async def receive(socket: ServerConnection) -> None:
        sockets.append(socket)
        await socket.send(json.dumps({"type": "session.created", "session": {}}))
        async for message in socket:
            came.append(json.loads(message))
            if came[-1]["type"] == "session.update":
                await socket.send(json.dumps({"type": "session.updated", "session": {}}))

    async def say(kind: str, **fields: Any) -> None:
        await sockets[0].send(json.dumps({"type": kind, **fields}))

    async with serve(receive, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1"
        agent = OpenAIRealtimeAgent(OpenAIRealtimeSettings(url=url, **options), fitting())
        try:
            await agent.start(BRIEFING)
            talk = Talk(agent)
            listener = asyncio.create_task(talk.listen())
            yield talk, say, came
        finally:
            await agent.close()
        await listener


def kinds_of(came: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in came]


def done(id: str, status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {"response": {"id": id, "status": status, "output": [], **fields}}


async def test_events_nobody_knows_are_skipped() -> None:
    async with scripted() as (talk, say, _):
        await say("response.hologram.delta", delta="?")
        await say("error", error={"type": "invalid_request_error", "message": "what?"})
        await say("conversation.item.input_audio_transcription.completed", item_id="i", transcript=" hello ")
        await until(lambda: CallerSaid("hello") in talk.events)
        assert talk.failure is None


async def test_what_was_asked_too_early_is_asked_again() -> None:
    async with scripted(turn_detection="server_vad") as (talk, say, came):
        talk.agent.nudge()
        await until(lambda: "response.create" in kinds_of(came))
        await say("response.created", response={"id": "theirs"})  # which began before ours was read
        code = "conversation_already_has_active_response"
        await say("error", error={"type": "invalid_request_error", "code": code, "message": "Wait."})
        await say("response.done", **done("theirs"))
        await until(lambda: kinds_of(came).count("response.create") == 2)
        first, second = (message for message in came if message["type"] == "response.create")
        assert first["response"] == second["response"]


async def test_a_response_that_is_refused_is_asked_for_once_more() -> None:
    async with scripted() as (talk, say, came):
        talk.agent.greet()
        for asked in (1, 2):
            await until(lambda asked=asked: kinds_of(came).count("response.create") == asked)
            error = {"type": "invalid_request_error", "message": f"Not with {KEY}.", "event_id": came[-1]["event_id"]}
            with structlog.testing.capture_logs() as logs:
                await say("error", error=error)
                await until(lambda: talk.failure or kinds_of(came).count("response.create") == 2)
            assert KEY not in repr(logs)
        await until(lambda: talk.failure)
        assert KEY not in str(talk.failure)


async def test_a_short_sound_that_is_never_transcribed_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DOUBT_SECONDS", 0.2)
    async with scripted() as (talk, say, came):
        talk.says(brief=True)
        await say("input_audio_buffer.committed", item_id="i")
        talk.agent.nudge()
        await until(lambda: "response.create" in kinds_of(came))
        await say("response.created", response={"id": "r"})
        await say("response.done", **done("r"))
        await say("conversation.item.input_audio_transcription.completed", item_id="i", transcript="Mm-hm.")
        await until(lambda: "conversation.item.delete" in kinds_of(came))
        assert kinds_of(came).count("response.create") == 1


async def test_the_key_is_not_in_why_the_session_was_ended() -> None:
    async def end(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "session.created", "session": {}}))
        await socket.recv()
        await socket.send(json.dumps({"type": "session.updated", "session": {}}))
        await socket.close(1008, f"{KEY} was revoked")

    async with serve(end, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1"
        agent = OpenAIRealtimeAgent(OpenAIRealtimeSettings(url=url), fitting())
        await agent.start(BRIEFING)
        with pytest.raises(ProviderError, match=r"1008 \S+ was revoked") as caught:
            async for _ in agent.events():
                pass
        assert KEY not in str(caught.value)
        await agent.close()


async def test_a_number_that_is_too_great_is_an_error() -> None:
    async with scripted() as (talk, say, _):
        await say("response.done", **done("r", usage={"total_tokens": 10**400}))
        await until(lambda: talk.failure)
        assert "broken 'response.done'" in str(talk.failure)


async def test_broken_sound_is_an_error() -> None:
    async with scripted() as (talk, say, _):
        talk.agent.greet()
        await say("response.created", response={"id": "r"})
        await say("response.output_audio.delta", response_id="r", item_id="i", delta="%%%")
        await until(lambda: talk.failure)
        assert "response.output_audio.delta" in str(talk.failure)


async def test_a_turn_that_could_not_be_transcribed_has_no_words() -> None:
    async with scripted() as (talk, say, came):
        talk.says(brief=True)
        await say("input_audio_buffer.committed", item_id="i")
        await say("conversation.item.input_audio_transcription.failed", item_id="i", error={"message": "Too noisy."})
        await until(lambda: talk.heard == [""])
        await until(lambda: "conversation.item.delete" in kinds_of(came))


async def test_a_reply_of_two_messages_is_cut_in_the_one_that_was_being_heard() -> None:
    async with scripted() as (talk, say, came):
        talk.agent.greet()
        await say("response.created", response={"id": "r"})
        sound = "/" * 4 * 400  # 1200 bytes of mu-law: 150 ms
        for item in ("a", "b", "c"):
            await say("response.output_item.added", response_id="r", item={"type": "message", "id": item})
            await say("response.output_audio.delta", response_id="r", item_id=item, delta=sound)
        await until(lambda: len(talk.all(ReplyAudio)) == 3)
        talk.agent.interrupt(ONE, 200)
        await until(lambda: kinds_of(came)[-1] == "conversation.item.delete")
        assert [
            (message["type"].split(".")[-1], message.get("item_id"), message.get("audio_end_ms"))
            for message in came[-3:]
        ] == [("cancel", None, None), ("truncate", "b", 50), ("delete", "c", None)]
        told = len(talk.all(ReplyAudio, ReplyText))
        await say("response.output_audio_transcript.delta", response_id="r", item_id="c", delta="Too late. ")
        await say("response.output_audio.delta", response_id="r", item_id="c", delta=sound)
        late = {"type": "message", "id": "d"}
        await say("response.done", **done("r", "cancelled", output=[late, {"type": "function_call", "id": "f"}]))
        await until(lambda: len([message for message in came if message["type"] == "conversation.item.delete"]) == 3)
        assert [message["item_id"] for message in came[-2:]] == ["d", "f"]
        assert len(talk.all(ReplyAudio, ReplyText)) == told
        assert talk.events[-1] == ReplyEnded(ONE)


# -- words and their sound -------------------------------------------------------------------------------------


def test_words_that_run_ahead_wait_for_their_sound() -> None:
    pace = Pace()
    pace.learn(100, 1000.0)  # a character in 10 ms
    captions = Captions(pace)
    captions.said("Good morning. We are open from nine to six. Any")
    told = [captions.before(100) for _ in range(5)]
    assert told == ["Good morning.", None, "We are open from nine to six.", None, None]
    captions.said("thing else?")
    assert captions.rest() == "Anything else?"


def test_sound_that_runs_ahead_is_of_no_words_yet() -> None:
    pace = Pace()
    pace.learn(100, 1000.0)
    captions = Captions(pace)
    assert captions.before(100) == ""
    assert captions.before(100) is None
    captions.said("Good mor")
    assert captions.before(100) == "Good"
    captions.said("ning. ")
    assert captions.before(100) == "morning."


def test_the_pace_is_that_of_the_replies_so_far() -> None:
    pace = Pace()
    captions = Captions(pace)
    captions.said("0123456789")
    captions.before(500)
    captions.rest()
    captions.over()
    assert pace.ms(20) == 1000


def test_dots_without_end_are_read_once() -> None:
    captions = Captions(Pace())
    captions.said("." * 100_000 + " Yes. No")
    assert captions.before(20) == "." * 100_000
    assert captions.before(20) is None

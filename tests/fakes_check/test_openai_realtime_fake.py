"""The fake of OpenAI Realtime, driven by the vendor's own SDK."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from ai_engine.audio.g711 import alaw_to_pcm, pcm_to_alaw, pcm_to_ulaw, ulaw_to_pcm
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.openai_realtime_conversation import STILL_THERE
from tests.fakes.openai_realtime_session import Session
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.word_tones import GAP_SECONDS, WORD_SECONDS, pitches, spoken
from tests.waiting import until

GREETING = "Hello this is the garden center"
HOURS = Turn("what are your hours", "We are open from nine to six", pieces=2)
TABLE = Turn("book a table", "One moment", tools=[Call("book", {"people": 2})], then="It is booked")
SCENARIO = Scenario(GREETING, [HOURS, TABLE])
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"

PCMU = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}}
PCMA = {"input": {"format": {"type": "audio/pcma"}}, "output": {"format": {"type": "audio/pcma"}}}
NO_VAD = {"input": {"turn_detection": None}}

MESSAGE_EVENTS = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "rate_limits.updated",
]


@dataclass
class Caller:
    """The SDK's connection, and everything it got."""

    server: OpenAIRealtimeServer
    connection: AsyncRealtimeConnection
    session: Session
    got: list[Any]

    async def hear(self, type: str, times: int = 1) -> Any:
        """Receive until that event came so many times; returns the last."""
        seen = 0
        while True:
            event = await asyncio.wait_for(self.connection.recv(), 5)
            self.got.append(event)
            seen += event.type == type
            if seen == times:
                return event

    async def reply(self) -> Any:
        """The next response when it is over, with its rate limits."""
        done = await self.hear("response.done")
        await self.hear("rate_limits.updated")
        return done.response

    async def update(self, **settings: Any) -> Any:
        session: Any = {"type": "realtime", **settings}
        await self.connection.session.update(session=session)
        return (await self.hear("session.updated")).session

    async def error(self) -> Any:
        return (await self.hear("error")).error

    async def append(self, sound: bytes) -> None:
        await self.connection.input_audio_buffer.append(audio=b64encode(sound).decode())

    async def type(self, text: str) -> None:
        content: Any = [{"type": "input_text", "text": text}]
        await self.connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})

    def types(self) -> list[str]:
        """Without the repetitions of deltas."""
        types = [event.type for event in self.got]
        return [type for at, type in enumerate(types) if type not in types[:at] or not type.endswith(".delta")]

    def sound(self, response_id: str) -> bytes:
        return b"".join(b64decode(event.delta) for event in self._of(response_id, "response.output_audio.delta"))

    def transcript(self, response_id: str) -> str:
        return "".join(event.delta for event in self._of(response_id, "response.output_audio_transcript.delta"))

    def _of(self, response_id: str, type: str) -> list[Any]:
        return [event for event in self.got if event.type == type and event.response_id == response_id]


def silence(ms: int, rate: int = 24000) -> bytes:
    return bytes(2 * rate * ms // 1000)


def said(words: str, rate: int = 24000) -> bytes:
    """A caller's turn with the silence that ends it."""
    return silence(100, rate) + spoken(words, rate) + silence(700, rate)


def heard_pitches(pcm: bytes, rate: int) -> list[int]:
    """The tone of each whole word."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    step, length = round((WORD_SECONDS + GAP_SECONDS) * rate), round(WORD_SECONDS * rate)
    words = [samples[at : at + length] for at in range(0, len(samples) - length + 1, step)]
    peaks = [np.abs(np.fft.rfft(word, 8 * rate)).argmax() / 8 for word in words]
    return [round(peak / 50) * 50 for peak in peaks]


@asynccontextmanager
async def calling(
    scenario: Scenario = SCENARIO, violations: Sequence[str] = (), **options: Any
) -> AsyncIterator[Caller]:
    """A connected client of a server of its own; in the end, nothing but ``violations`` broke the protocol."""
    server = OpenAIRealtimeServer(scenario, **{"speed": 20.0, **options})
    async with server.listening():
        client = AsyncOpenAI(api_key="test-key", websocket_base_url=server.url)
        async with client, client.realtime.connect(model="gpt-realtime") as connection:
            caller = Caller(server, connection, await server.session(), [])
            await caller.hear("session.created")
            yield caller
    assert len(server.violations) == len(violations), server.violations
    for found, expected in zip(server.violations, violations, strict=True):
        assert expected in found


async def test_the_greeting_is_spoken_with_every_event_in_order() -> None:
    async with calling() as caller:
        await caller.connection.response.create()
        reply = await caller.reply()
        assert caller.types() == ["session.created", *MESSAGE_EVENTS]
        assert caller.transcript(reply.id) == GREETING
        assert caller.sound(reply.id) == spoken(GREETING, 24000)
        assert heard_pitches(caller.sound(reply.id), 24000) == pitches(GREETING)
        assert reply.status == "completed"
        assert reply.output[0].content[0].transcript == GREETING
        assert reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens > 0
        assert caller.session.query == {"model": "gpt-realtime"}
        assert "test-key" not in json.dumps(caller.session.headers)


@pytest.mark.parametrize(
    ("audio", "rate", "encode", "decode"),
    [
        ({}, 24000, bytes, bytes),
        (PCMU, 8000, pcm_to_ulaw, ulaw_to_pcm),
        (PCMA, 8000, pcm_to_alaw, alaw_to_pcm),
    ],
)
async def test_a_spoken_turn_is_heard_transcribed_and_answered(audio: Any, rate: int, encode: Any, decode: Any) -> None:
    async with calling() as caller:
        settings = {"input": {**audio.get("input", {}), "transcription": {"model": "gpt-4o-transcribe"}}}
        await caller.update(audio={**audio, **settings})
        caller.got.clear()
        await caller.append(encode(said("ignored words", rate)))
        reply = await caller.reply()
        if "conversation.item.input_audio_transcription.completed" not in caller.types():
            await caller.hear("conversation.item.input_audio_transcription.completed")
        assert [type for type in caller.types() if "transcription" not in type] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            *MESSAGE_EVENTS,
        ]
        started, stopped, committed = caller.got[:3]
        assert (started.audio_start_ms, stopped.audio_end_ms) == (0, 960)
        assert started.item_id == stopped.item_id == committed.item_id
        deltas = [one.delta for one in caller.got if one.type.endswith("transcription.delta")]
        completed = next(one for one in caller.got if one.type.endswith("transcription.completed"))
        assert deltas == ["what are", " your hours"]
        assert (completed.item_id, completed.transcript) == (started.item_id, HOURS.heard)
        sound = decode(caller.sound(reply.id))
        assert heard_pitches(sound, rate) == pitches(HOURS.say)
        assert sound == decode(encode(spoken(HOURS.say, rate)))
        (turn,) = caller.session.turns
        assert (turn.number, turn.item_id) == (0, started.item_id)
        assert heard_pitches(turn.pcm[2 * rate // 10 :], rate)[:2] == pitches("ignored words")
        assert len(caller.session.caller_pcm) == len(said("ignored words", rate))


async def test_without_transcription_there_is_no_transcript() -> None:
    async with calling(transcribes_after=0.0) as caller:
        await caller.append(said("one"))
        await caller.reply()
        assert not [type for type in caller.session.sent_types if "transcription" in type]


async def test_a_transcript_may_come_after_the_answer() -> None:
    async with calling(transcribes_after=0.3, speed=1000.0) as caller:
        await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await caller.append(said("one"))
        await caller.reply()
        await caller.hear("conversation.item.input_audio_transcription.completed")


async def test_without_turn_detection_the_client_commits_and_asks() -> None:
    async with calling() as caller:
        await caller.update(audio=NO_VAD)
        caller.got.clear()
        await caller.append(said("one two"))
        await caller.connection.input_audio_buffer.commit()
        await caller.hear("conversation.item.done")
        assert caller.types() == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
        await caller.connection.response.create()
        reply = await caller.reply()
        assert caller.transcript(reply.id) == HOURS.say
        assert caller.session.turns[0].pcm == said("one two")


async def test_a_buffer_of_less_than_100_ms_is_not_committed() -> None:
    async with calling() as caller:
        await caller.update(audio=NO_VAD)
        await caller.append(silence(500))
        await caller.connection.input_audio_buffer.clear()
        await caller.hear("input_audio_buffer.cleared")
        await caller.append(silence(80))
        await caller.connection.input_audio_buffer.commit(event_id="mine")
        error = await caller.error()
        assert (error.code, error.event_id) == ("input_audio_buffer_commit_empty", "mine")
        assert "80.00ms" in error.message
        assert caller.session.turns == []


async def test_what_was_cleared_is_no_turn() -> None:
    async with calling() as caller:
        await caller.append(spoken("one two", 24000))
        await caller.connection.input_audio_buffer.clear()
        await caller.hear("input_audio_buffer.cleared")
        await caller.append(silence(1000) + said("three"))
        await caller.reply()
        (turn,) = caller.session.turns
        assert turn.start_ms >= 400


async def test_turns_are_answered_by_their_place() -> None:
    async with calling() as caller:
        await caller.append(said("one"))
        assert caller.transcript((await caller.reply()).id) == HOURS.say
        await caller.append(said("two"))
        assert caller.transcript((await caller.reply()).id) == TABLE.say


async def test_a_new_session_goes_on_where_its_history_ends() -> None:
    async with calling() as caller:
        await caller.type(HOURS.heard)
        content: Any = [{"type": "output_text", "text": HOURS.say}]
        await caller.connection.conversation.item.create(
            item={"type": "message", "role": "assistant", "content": content}
        )
        await caller.append(said("one"))
        assert caller.transcript((await caller.reply()).id) == TABLE.say
        assert caller.session.turns[0].number == 1


async def test_speech_cancels_what_is_being_said() -> None:
    async with calling(Scenario(LONG, [HOURS]), speed=4.0) as caller:
        await caller.connection.response.create()
        await caller.hear("response.output_audio.delta", 2)
        await caller.append(said("stop"))
        cancelled = await caller.reply()
        assert (cancelled.status, cancelled.status_details.reason) == ("cancelled", "turn_detected")
        assert cancelled.output[0].status == "incomplete"
        at = caller.types().index("input_audio_buffer.speech_started")
        assert caller.types()[at + 1 :] == MESSAGE_EVENTS[6:]
        sound, words = caller.sound(cancelled.id), caller.transcript(cancelled.id)
        assert 0 < len(sound) < len(spoken(LONG, 24000))
        assert spoken(LONG, 24000).startswith(sound)
        assert LONG.startswith(words)
        assert cancelled.output[0].content[0].transcript == words
        answer = await caller.reply()
        assert caller.transcript(answer.id) == HOURS.say
        assert caller.sound(cancelled.id) == sound, "it went on"


async def test_speech_cancels_nothing_when_told_so() -> None:
    async with calling(Scenario(LONG, [HOURS]), speed=4.0) as caller:
        detection = {"type": "server_vad", "interrupt_response": False, "create_response": False}
        await caller.update(audio={"input": {"turn_detection": detection}})
        await caller.connection.response.create()
        await caller.hear("response.output_audio.delta", 2)
        await caller.append(said("stop"))
        reply = await caller.reply()
        assert (reply.status, caller.transcript(reply.id)) == ("completed", LONG)
        assert "input_audio_buffer.committed" in caller.types()
        await caller.connection.response.create()
        assert caller.transcript((await caller.reply()).id) == HOURS.say


async def test_a_turn_during_a_response_that_goes_on_gets_none() -> None:
    async with calling(Scenario(LONG, [HOURS]), speed=4.0) as caller:
        detection = {"type": "semantic_vad", "eagerness": "high", "interrupt_response": False}
        settings = await caller.update(audio={"input": {"turn_detection": detection}})
        assert settings.audio.input.turn_detection.create_response is True
        await caller.connection.response.create()
        await caller.hear("response.created")
        await caller.append(said("stop"))
        assert (await caller.error()).code == "conversation_already_has_active_response"


async def test_the_client_cancels() -> None:
    async with calling(Scenario(LONG), speed=4.0) as caller:
        await caller.connection.response.create()
        await caller.hear("response.output_audio.delta")
        await caller.connection.response.cancel()
        reply = await caller.reply()
        assert (reply.status, reply.status_details.reason) == ("cancelled", "client_cancelled")
        await caller.connection.response.cancel()
        assert (await caller.error()).code == "response_cancel_not_active"


async def test_a_response_cancelled_at_once_has_no_output() -> None:
    async with calling() as caller:
        await caller.connection.response.create()
        await caller.connection.response.cancel()
        reply = await caller.reply()
        assert reply.status == "cancelled"
        assert caller.types()[1:] in (["response.created", "response.done", "rate_limits.updated"], MESSAGE_EVENTS)


async def test_truncation_cuts_the_sound_and_drops_the_words() -> None:
    async with calling() as caller:
        await caller.connection.response.create()
        item = (await caller.reply()).output[0]
        await caller.connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=500)
        truncated = await caller.hear("conversation.item.truncated")
        assert (truncated.item_id, truncated.audio_end_ms) == (item.id, 500)
        await caller.connection.conversation.item.retrieve(item_id=item.id)
        kept = (await caller.hear("conversation.item.retrieved")).item
        assert kept.content[0].transcript is None
        assert caller.session.truncated == [(item.id, 500)]
        await caller.connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=501)
        assert (await caller.error()).message == "Audio content of 500ms is already shorter than 501ms"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"audio_end_ms": 1201}, "invalid_value"),
        ({"audio_end_ms": -1}, "invalid_value"),
        ({"content_index": 1}, "invalid_value"),
        ({"item_id": "item_of_nobody"}, "item_truncate_invalid_item_id"),
    ],
)
async def test_a_wrong_truncation_is_an_error(change: dict[str, Any], code: str) -> None:
    async with calling() as caller:
        await caller.connection.response.create()
        item = (await caller.reply()).output[0]
        right: Any = {"item_id": item.id, "content_index": 0, "audio_end_ms": 1200}
        await caller.connection.conversation.item.truncate(**{**right, **change}, event_id="mine")
        error = await caller.error()
        assert (error.code, error.event_id) == (code, "mine")
        assert caller.session.truncated == []
        await caller.connection.conversation.item.truncate(**right)
        await caller.hear("conversation.item.truncated")


async def test_the_callers_words_cannot_be_truncated() -> None:
    async with calling() as caller:
        await caller.type("hello")
        item = (await caller.hear("conversation.item.done")).item
        await caller.connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=0)
        assert (await caller.error()).code == "unsupported_content_type"


async def test_a_tool_is_asked_for_and_its_result_spoken_of() -> None:
    async with calling() as caller:
        tool: Any = {"type": "function", "name": "book", "description": "Books.", "parameters": {"type": "object"}}
        await caller.update(tools=[tool], tool_choice="auto")
        caller.got.clear()
        await caller.type(TABLE.heard)
        await caller.connection.response.create()
        reply = await caller.reply()
        assert [item.type for item in reply.output] == ["message", "function_call"]
        at = caller.types().index("response.function_call_arguments.delta")
        assert caller.types()[at - 2 :] == [
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
            "rate_limits.updated",
        ]
        deltas = [event.delta for event in caller.got if event.type == "response.function_call_arguments.delta"]
        call = next(event for event in caller.got if event.type == "response.function_call_arguments.done")
        assert "".join(deltas) == call.arguments == json.dumps({"people": 2})
        assert (call.name, call.call_id) == ("book", reply.output[1].call_id)
        await caller.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": '{"table": 7}'}
        )
        await caller.connection.response.create()
        assert caller.transcript((await caller.reply()).id) == TABLE.then
        (result,) = caller.session.tool_results
        assert (result.name, result.output) == ("book", '{"table": 7}')


async def test_then_is_said_when_every_tool_was_answered() -> None:
    turn = Turn("do both", tools=[Call("a"), Call("b", raw="{not json")], then="Both done")
    async with calling(Scenario(turns=[turn])) as caller:
        await caller.append(said("one"))
        calls = (await caller.reply()).output
        assert [call.arguments for call in calls] == ["{}", "{not json"]
        for call, words in zip(calls, ["", "Both done"], strict=True):
            await caller.connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": call.call_id, "output": "ok"}
            )
            await caller.connection.response.create()
            assert caller.transcript((await caller.reply()).id) == words


async def test_no_tool_is_called_when_told_so() -> None:
    async with calling() as caller:
        await caller.type(TABLE.heard)
        await caller.connection.response.create(response={"tool_choice": "none"})
        assert [item.type for item in (await caller.reply()).output] == ["message"]


async def test_the_result_of_an_unknown_call_is_refused() -> None:
    async with calling() as caller:
        await caller.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": "call_of_nobody", "output": ""}
        )
        assert (await caller.error()).code == "invalid_tool_call_id"


async def test_a_typed_turn_is_answered_by_its_words_in_text() -> None:
    async with calling() as caller:
        await caller.update(output_modalities=["text"])
        await caller.type("Book a table!")
        await caller.connection.response.create()
        reply = await caller.reply()
        assert reply.output[0].content[0].text == TABLE.say
        assert reply.output[0].content[0].type == "output_text"
        assert caller.sound(reply.id) == b""
        deltas = [event.delta for event in caller.got if event.type == "response.output_text.delta"]
        assert "".join(deltas) == TABLE.say


async def test_a_response_aside_leaves_the_conversation_alone() -> None:
    async with calling(Scenario(LONG, [HOURS])) as caller:
        await caller.connection.response.create()
        await caller.hear("response.created")
        item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": HOURS.heard}]}
        await caller.connection.response.create(
            response={"conversation": "none", "input": [item], "output_modalities": ["text"], "metadata": {"a": "b"}}
        )
        aside = (await caller.hear("response.done")).response
        assert (aside.conversation_id, aside.metadata) == (None, {"a": "b"})
        assert aside.output[0].content[0].text == HOURS.say
        assert (await caller.hear("response.done")).response.status == "completed"
        assert [item.wire["role"] for item in caller.session.items] == ["assistant"]


async def test_a_response_may_refer_to_items() -> None:
    async with calling() as caller:
        await caller.type(TABLE.heard)
        item = (await caller.hear("conversation.item.done")).item
        input: Any = [{"type": "item_reference", "id": item.id}]
        await caller.connection.response.create(response={"conversation": "none", "input": input})
        assert (await caller.reply()).output[0].content[0].transcript == TABLE.say
        await caller.connection.response.create(response={"input": [{"type": "item_reference", "id": "nobody"}]})
        assert (await caller.error()).code == "item_not_found"


async def test_one_response_at_a_time() -> None:
    async with calling(Scenario(LONG)) as caller:
        await caller.connection.response.create()
        await caller.connection.response.create(event_id="second")
        error = await caller.error()
        assert (error.type, error.code) == ("invalid_request_error", "conversation_already_has_active_response")
        assert error.event_id == "second"
        assert (await caller.reply()).status == "completed"
        assert caller.session.errors == [error.model_dump()]


async def test_asked_again_it_asks_whether_somebody_is_there() -> None:
    async with calling() as caller:
        await caller.append(said("one"))
        await caller.reply()
        await caller.connection.response.create(response={"instructions": "Ask whether the caller is still there."})
        assert caller.transcript((await caller.reply()).id) == STILL_THERE


async def test_an_item_is_deleted() -> None:
    async with calling() as caller:
        await caller.type("hm")
        item = (await caller.hear("conversation.item.done")).item
        await caller.connection.conversation.item.delete(item_id=item.id)
        await caller.hear("conversation.item.deleted")
        assert caller.session.items == []
        await caller.connection.conversation.item.delete(item_id=item.id)
        assert (await caller.error()).code == "item_delete_invalid_item_id"


async def test_a_spoken_item_is_retrieved_with_its_sound() -> None:
    async with calling() as caller:
        await caller.update(audio=PCMU)
        await caller.append(pcm_to_ulaw(said("one", 8000)))
        item_id = (await caller.hear("input_audio_buffer.committed")).item_id
        await caller.connection.conversation.item.retrieve(item_id=item_id)
        item = (await caller.hear("conversation.item.retrieved")).item
        assert ulaw_to_pcm(b64decode(item.content[0].audio)) == caller.session.turns[0].pcm


async def test_settings_are_merged_and_echoed_whole() -> None:
    async with calling() as caller:
        await caller.update(instructions="Be brief.", audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
        detection = {"type": "server_vad", "silence_duration_ms": 900}
        settings = await caller.update(audio={"input": {"turn_detection": detection}, "output": {"voice": "cedar"}})
        assert settings.instructions == "Be brief."
        assert settings.audio.output.voice == "cedar"
        assert settings.audio.output.format.type == "audio/pcm"
        assert settings.audio.input.turn_detection.silence_duration_ms == 900
        assert settings.audio.input.turn_detection.prefix_padding_ms == 300
        settings = await caller.update(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}})
        assert settings.audio.input.turn_detection.silence_duration_ms == 900
        assert caller.session.settings == caller.session.sent[-1]["session"]


async def test_the_voice_stays_once_it_was_heard() -> None:
    async with calling() as caller:
        await caller.connection.response.create()
        await caller.reply()
        await caller.connection.send(
            {"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}}
        )
        assert (await caller.error()).code == "cannot_update_voice"


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "response.audio.play"}, "invalid_value", "type"),
        ({"kind": "nothing"}, "missing_required_parameter", "type"),
        ({"type": "session.update", "session": {"instructions": "x"}}, "missing_required_parameter", "session.type"),
        ({"type": "session.update", "session": {"type": "realtime", "voice": "ash"}}, "unknown_parameter", "voice"),
        ({"type": "output_audio_buffer.clear"}, None, "type"),
        ({"type": "conversation.item.delete"}, "missing_required_parameter", "item_id"),
        (
            {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 1.5},
            "invalid_type",
            "audio_end_ms",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]},
            },
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "id": "a b", "role": "user", "content": []},
            },
            "invalid_value",
            "item.id",
        ),
        ({"type": "input_audio_buffer.append", "audio": "%%%"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_value", "audio"),
        ({"type": "response.create", "response": {"output_modalities": ["text", "audio"]}}, "invalid_value", "output"),
        ({"type": "response.create", "response": {"conversation": "mine"}}, "invalid_value", "conversation"),
    ],
)
async def test_what_is_not_of_the_protocol_is_refused(event: Any, code: str | None, param: str) -> None:
    async with calling(violations=[""]) as caller:
        await caller.connection.send_raw(json.dumps({**event, "event_id": "mine"}))
        error = await caller.error()
        assert (error.type, error.code, error.event_id) == ("invalid_request_error", code, "mine")
        assert param in error.param
        await caller.connection.response.create()
        assert (await caller.reply()).status == "completed", "an error is not the end"


@pytest.mark.parametrize(
    ("audio", "code", "param"),
    [
        ({"input": {"format": {"type": "audio/pcm"}}}, "missing_required_parameter", "input.format.rate"),
        ({"output": {"format": {"type": "audio/pcm", "rate": 8000}}}, "invalid_value", "output.format.rate"),
        ({"output": {"format": {"type": "audio/pcmu", "rate": 8000}}}, "unknown_parameter", "output.format.rate"),
        ({"output": {"format": {"type": "g711_ulaw"}}}, "invalid_value", "output.format.type"),
        ({"output": {"voice": "nobody"}}, "invalid_value", "output.voice"),
        ({"output": {"speed": 2.0}}, "invalid_value", "output.speed"),
        (
            {"input": {"turn_detection": {"type": "server_vad", "create_response": None}}},
            "invalid_type",
            "input.turn_detection.create_response",
        ),
        (
            {"input": {"turn_detection": {"type": "semantic_vad", "silence_duration_ms": 300}}},
            "unknown_parameter",
            "input.turn_detection.silence_duration_ms",
        ),
        (
            {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "wild"}}},
            "invalid_value",
            "input.turn_detection.eagerness",
        ),
        (
            {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.5}}},
            "invalid_value",
            "input.turn_detection.threshold",
        ),
    ],
)
async def test_a_wrong_setting_is_named_and_changes_nothing(audio: Any, code: str, param: str) -> None:
    async with calling(violations=[""]) as caller:
        before = dict(caller.session.settings)
        session = {"type": "realtime", "instructions": "Be brief.", "audio": audio}
        await caller.connection.send_raw(json.dumps({"type": "session.update", "session": session}))
        error = await caller.error()
        assert (error.code, error.param) == (code, f"session.audio.{param}")
        assert caller.session.settings == before


async def test_what_is_no_json_is_refused() -> None:
    async with calling(violations=["JSON", "JSON"]) as caller:
        await caller.connection.send_raw("{")
        await caller.error()
        await caller.connection.send_raw(b"{}")
        await caller.error()


async def test_a_wrong_key_is_refused() -> None:
    server = OpenAIRealtimeServer(SCENARIO)
    async with server.listening():
        client = AsyncOpenAI(api_key="another-key", websocket_base_url=server.url)
        with pytest.raises(InvalidStatus) as refused:
            async with client.realtime.connect(model="gpt-realtime"):
                pass
        response = refused.value.response
        assert response.status_code == 401
        assert json.loads(response.body)["error"]["code"] == "invalid_api_key"
        assert server.sessions == []


@pytest.mark.parametrize(("path", "status"), [("/realtime", 400), ("/elsewhere?model=m", 404)])
async def test_a_wrong_address_is_refused(path: str, status: int) -> None:
    server = OpenAIRealtimeServer(SCENARIO)
    async with server.listening():
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url + path, additional_headers={"Authorization": "Bearer test-key"})
        assert refused.value.response.status_code == status


async def test_the_beta_is_over() -> None:
    server = OpenAIRealtimeServer(SCENARIO)
    async with server.listening():
        headers = {"Authorization": "Bearer test-key", "OpenAI-Beta": "realtime=v1"}
        async with connect(f"{server.url}/realtime?model=m", additional_headers=headers) as socket:
            assert json.loads(await socket.recv())["error"]["code"] == "beta_api_shape_disabled"
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
        assert len(server.violations) == 1


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_handshake_is_refused_once(status: int) -> None:
    server = OpenAIRealtimeServer(Scenario(faults=[Fault("refuse", status=status)]))
    async with server.listening():
        client = AsyncOpenAI(api_key="test-key", websocket_base_url=server.url)
        with pytest.raises(InvalidStatus) as refused:
            async with client.realtime.connect(model="gpt-realtime"):
                pass
        assert refused.value.response.status_code == status
        async with client.realtime.connect(model="gpt-realtime") as connection:
            assert (await connection.recv()).type == "session.created"
        assert server.sessions[0].number == 1


async def test_a_slow_handshake_comes_late() -> None:
    async with calling(Scenario(faults=[Fault("slow", seconds=0.2)])) as caller:
        await caller.connection.response.create()
        await caller.reply()


async def test_who_gives_up_a_slow_handshake_keeps_nobody_waiting() -> None:
    server = OpenAIRealtimeServer(Scenario(faults=[Fault("slow", seconds=60)]))
    async with server.listening():
        with pytest.raises(TimeoutError):
            await connect(f"{server.url}/realtime?model=m", open_timeout=0.1)


async def test_a_slow_answer_comes_late() -> None:
    async with calling(Scenario(GREETING, [HOURS], [Fault("slow", turn=0, seconds=0.2)])) as caller:
        await caller.append(said("one"))
        await caller.hear("response.created")
        began = asyncio.get_running_loop().time()
        await caller.hear("response.output_item.added")
        assert asyncio.get_running_loop().time() - began >= 0.15


async def test_a_stall_ends_the_sound_and_nothing_else() -> None:
    async with calling(Scenario(LONG, [HOURS], [Fault("stall", after_ms=300)])) as caller:
        await caller.connection.response.create()
        await caller.hear("response.output_audio.delta", 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.connection.recv(), 0.2)
        await caller.connection.response.cancel()
        reply = await caller.reply()
        assert reply.status == "cancelled"
        assert len(caller.sound(reply.id)) == len(silence(300))
        await caller.connection.response.create()
        assert (await caller.reply()).status == "completed", "it goes wrong once"


async def test_garbage_comes_between() -> None:
    async with calling(Scenario(GREETING, [HOURS], [Fault("garbage", turn=0, after_ms=0)])) as caller:
        await caller.append(said("one"))
        with pytest.raises(ValueError, match="Unterminated"):
            await caller.reply()
        reply = await caller.reply()
        assert caller.transcript(reply.id) == HOURS.say


async def test_the_connection_is_closed_in_mid_word() -> None:
    async with calling(Scenario(LONG, faults=[Fault("close")])) as caller:
        await caller.connection.response.create()
        with pytest.raises(ConnectionClosedError) as closed:
            await caller.reply()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        await until(lambda: caller.session.closed)
        assert len(caller.sound(caller.got[1].response.id)) == len(silence(300))
        assert caller.types()[-1] == "response.output_audio.delta"


async def test_the_session_lasts_too_long() -> None:
    async with calling(Scenario(LONG, [HOURS], [Fault("limit", turn=0)])) as caller:
        await caller.append(said("one"))
        assert (await caller.error()).code == "session_expired"
        with pytest.raises(ConnectionClosedOK) as closed:
            await caller.reply()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


async def test_the_vendor_fails() -> None:
    async with calling(Scenario(GREETING, [HOURS], [Fault("error", turn=0, session=None)])) as caller:
        await caller.append(said("one"))
        error = await caller.error()
        assert (error.type, error.event_id) == ("server_error", None)
        reply = await caller.reply()
        assert reply.status == "failed"
        assert reply.status_details.error.type == "server_error"
        await caller.connection.response.create()
        assert (await caller.reply()).status == "completed"


async def test_a_fault_has_a_place_where_nothing_is_said() -> None:
    scenario = Scenario(turns=[Turn("go", tools=[Call("hangup")])], faults=[Fault("error", turn=0)])
    async with calling(scenario) as caller:
        await caller.append(said("one"))
        assert (await caller.reply()).output == []
        await caller.connection.response.create()
        assert [item.name for item in (await caller.reply()).output] == ["hangup"]


async def test_sound_goes_out_faster_than_it_lasts_but_not_at_once() -> None:
    async with calling(Scenario(LONG), speed=8.0) as caller:
        await caller.connection.response.create()
        await caller.hear("response.output_audio.delta")
        began = asyncio.get_running_loop().time()
        reply = await caller.reply()
        seconds = asyncio.get_running_loop().time() - began
        assert seconds > 0.3, "it came at once"
        lengths = {
            len(b64decode(event.delta)) // 48 for event in caller.got if event.type.endswith("output_audio.delta")
        }
        assert lengths == {100, 200, 300, 400}
        assert caller.sound(reply.id) == spoken(LONG, 24000)


async def test_a_wrong_event_of_the_fake_itself_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    scenario = Scenario(turns=[Turn("go", tools=[Call(7)])])  # type: ignore[arg-type]
    async with calling(scenario, violations=["the fake would send a bad response.output_item.added"]) as caller:
        await caller.append(said("one"))
        with pytest.raises(ConnectionClosedError):
            await caller.reply()
        assert "response.output_item.added" not in caller.session.sent_types

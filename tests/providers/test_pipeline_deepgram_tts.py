"""Deepgram's voice against the fake of its speak v1, over real sockets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.ports import Clause
from ai_engine.providers.pipeline.tts import deepgram as module
from ai_engine.providers.pipeline.tts.deepgram import DeepgramSpeaker, DeepgramSpeakSettings
from ai_engine.providers.pipeline.tts.deepgram_flushes import FlushTimes
from ai_engine.session.ports import Briefing, Fitting
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.deepgram_wire import Pace, Session
from tests.fakes.scenario import Fault, Scenario, Turn
from tests.fakes.word_tones import spoken
from tests.waiting import until

KEY = "test-key"
BRIEFING = Briefing("call-1", {"name": "shop"}, "Hello.", "")
GREETING = "Hello, this is the garden center."
ANSWER = "We are open from nine to six."
TURNS = [Turn("what are your hours", ANSWER), Turn("thank you", "You are welcome.")]
FAST = Pace(speed=50.0)

Said = list[tuple[str, bytes]]


def settings_of(url: str, **settings: object) -> DeepgramSpeakSettings:
    return DeepgramSpeakSettings.model_validate({"url": url, **settings})


def speaker_at(url: str, line: AudioFormat = SLIN8, key: str = KEY, **settings: object) -> DeepgramSpeaker:
    return DeepgramSpeaker(settings_of(url, **settings), Fitting(line, {"DEEPGRAM_API_KEY": key}))


@asynccontextmanager
async def speaking(
    server: DeepgramServer, line: AudioFormat = SLIN8, **settings: object
) -> AsyncIterator[DeepgramSpeaker]:
    speaker = speaker_at(server.url, line, **settings)
    await speaker.start(BRIEFING)
    try:
        yield speaker
    finally:
        await speaker.close()
        await speaker.close()


@asynccontextmanager
async def serving(*faults: Fault, pace: Pace = FAST) -> AsyncIterator[DeepgramServer]:
    server = DeepgramServer(Scenario(GREETING, TURNS, faults), pace=pace)
    async with server.listening():
        yield server
    assert server.violations == []


async def all_of(*clauses: str) -> AsyncGenerator[str, None]:
    for clause in clauses:
        yield clause


async def collect(speech: AsyncGenerator[Clause | bytes, None]) -> Said:
    """Clauses with their sound."""
    said: Said = []
    async for piece in speech:
        if isinstance(piece, Clause):
            said.append((piece.text, b""))
        else:
            text, pcm = said[-1]
            said[-1] = (text, pcm + piece)
    return said


def ulaw(text: str) -> bytes:
    """``text`` as it comes over a telephone."""
    return ulaw_to_pcm(pcm_to_ulaw(spoken(text, 8000)))


def flushes(session: Session) -> list[str]:
    """What was flushed together."""
    texts, waiting = [], ""
    for one in session.received:
        if isinstance(one, dict):
            waiting += one.get("text", "")
            if one["type"] == "Flush":
                texts.append(waiting)
                waiting = ""
    return texts


async def until_settled(session: Session) -> None:
    """Until the server has acknowledged all it was asked."""
    await until(lambda: len(session.said("Cleared")) == len(session.got("Clear")))


async def test_each_clause_comes_with_its_sound() -> None:
    async with serving() as server, speaking(server) as speaker:
        said = await collect(speaker.speak(all_of("Hello, ", "this is", " ", "the garden center.")))
        clauses = ["Hello,", "this is", "the garden center."]
        assert said == [(clause, ulaw(clause)) for clause in clauses]
        session = server.speak_sessions[0]
        assert flushes(session) == clauses
        assert session.query == {"model": ["aura-2-thalia-en"], "encoding": ["mulaw"], "sample_rate": ["8000"]}
        assert not session.got("Clear")


@pytest.mark.parametrize("line", [SLIN16, AudioFormat(48000)])
async def test_a_wide_line_is_spoken_to_in_wideband(line: AudioFormat) -> None:
    async with serving() as server, speaking(server, line, speed=1.2, model="aura-2-luna-en") as speaker:
        assert speaker.output_format == SLIN16
        assert await collect(speaker.speak(all_of("Hello."))) == [("Hello.", spoken("Hello.", 16000))]
        query = {"model": ["aura-2-luna-en"], "encoding": ["linear16"], "sample_rate": ["16000"], "speed": ["1.2"]}
        assert server.speak_sessions[0].query == query


async def test_the_first_clause_sounds_before_the_second_comes() -> None:
    more = asyncio.Event()

    async def clauses() -> AsyncGenerator[str, None]:
        yield "One."
        await more.wait()
        yield "Two."

    async with serving() as server, speaking(server) as speaker:
        speech = speaker.speak(clauses())
        assert await anext(speech) == Clause("One.")
        assert await anext(speech)
        more.set()
        rest = [piece async for piece in speech]
        assert Clause("Two.") in rest


async def test_one_connection_serves_the_whole_call() -> None:
    async with serving() as server, speaking(server) as speaker:
        for text in (GREETING, ANSWER, "You are welcome."):
            assert await collect(speaker.speak(all_of(text))) == [(text, ulaw(text))]
        assert len(server.speak_sessions) == 1


async def test_nothing_to_say() -> None:
    async with serving() as server, speaking(server) as speaker:
        assert await collect(speaker.speak(all_of())) == []
        assert await collect(speaker.speak(all_of("", " "))) == []
        assert server.speak_sessions[0].received == []


async def test_a_speech_that_is_broken_off_is_not_heard_in_the_next() -> None:
    async with serving(pace=Pace(speed=1.0)) as server, speaking(server) as speaker:
        speech = speaker.speak(all_of(ANSWER))
        await anext(speech)
        await anext(speech)
        await speech.aclose()
        said = await collect(speaker.speak(all_of("You are welcome.")))
        assert said == [("You are welcome.", ulaw("You are welcome."))]
        session = server.speak_sessions[0]
        assert len(session.got("Clear")) == 1
        assert len(session.speech_pcm) < len(ulaw(ANSWER)) + len(ulaw("You are welcome."))


async def test_sound_that_was_on_its_way_before_the_clear_is_dropped() -> None:
    """A vendor that is slow to obey: sound goes on between our Clear and its Cleared."""
    obey = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        async for message in socket:
            if "Clear" in str(message):
                await socket.send(bytes(800))
                await obey.wait()
                await socket.send(bytes(800))
                await socket.send('{"type": "Flushed", "sequence_id": 0}')
                await socket.send('{"type": "Cleared", "sequence_id": 1}')
            elif "Flush" in str(message):
                await socket.send(b"\xff" * 80)
                if obey.is_set():
                    await socket.send('{"type": "Flushed", "sequence_id": 2}')

    async with serve(talk, "127.0.0.1", 0) as server:
        speaker = speaker_at(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await speaker.start(BRIEFING)
        speech = speaker.speak(all_of("One.", "Two."))
        await anext(speech)
        await speech.aclose()
        next_speech = asyncio.create_task(collect(speaker.speak(all_of("Three."))))
        obey.set()
        assert await next_speech == [("Three.", ulaw_to_pcm(b"\xff" * 80))]
        await speaker.close()


async def test_what_goes_wrong_with_the_words_goes_on_to_whoever_listens() -> None:
    async def clauses() -> AsyncGenerator[str, None]:
        yield "One."
        raise ProviderError("the model broke off")

    async with serving() as server, speaking(server) as speaker:
        with pytest.raises(ProviderError, match="the model broke off"):
            await collect(speaker.speak(clauses()))
        assert await collect(speaker.speak(all_of("Two."))) == [("Two.", ulaw("Two."))]
        await until_settled(server.speak_sessions[0])


async def test_many_clauses_share_a_flush() -> None:
    words = [f"word{number}." for number in range(40)]
    async with serving() as server, speaking(server) as speaker:
        said = await collect(speaker.speak(all_of(*words)))
        assert b"".join(pcm for _, pcm in said) == ulaw(" ".join(words))
        assert " ".join(text for text, _ in said) == " ".join(words)
        session = server.speak_sessions[0]
        assert [text for text, _ in said[:12]] == words[:12]
        assert len(flushes(session)) == 13
        assert not session.said("Warning")


async def test_a_call_never_exceeds_the_vendors_limit() -> None:
    async with serving() as server, speaking(server) as speaker:
        for number in range(20):
            await collect(speaker.speak(all_of(f"word{number}.")))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await collect(speaker.speak(all_of("more.")))
        session = server.speak_sessions[0]
        assert len(flushes(session)) == 20
        assert not session.said("Warning")


# -- faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "status"), [("s3cret", 401), (KEY, 429)])
async def test_a_refusal_is_told_with_its_status(key: str, status: int) -> None:
    async with serving(Fault("refuse", status=429)) as server:
        with pytest.raises(ProviderError, match=f"refused the connection: {status}") as refused:
            await speaker_at(server.url, key=key).start(BRIEFING)
        assert refused.value.status == status
        assert key not in str(refused.value)


async def test_a_slow_start_may_be_cancelled() -> None:
    async with serving(Fault("slow", seconds=1.0)) as server:
        speaker = speaker_at(server.url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await speaker.start(BRIEFING)
        await speaker.close()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("close", "closed the connection: 1011"),
        ("error", "1011 The service has not transmitted"),
        ("limit", "1008 Session reached its maximum"),
        ("garbage", "no JSON object"),
    ],
)
async def test_a_speech_that_breaks_in_mid_word_is_lost(kind: Any, says: str) -> None:
    async with serving(Fault(kind, 0)) as server, speaking(server) as speaker:
        heard = bytearray()

        async def hear() -> None:
            async for piece in speaker.speak(all_of(ANSWER)):
                heard.extend(piece if isinstance(piece, bytes) else b"")

        with pytest.raises(ProviderError, match=says):
            await hear()
        assert heard == ulaw(ANSWER)[: 16 * 300]
        assert len(server.speak_sessions) == 1


async def test_a_speech_that_stalls_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.3)
    async with serving(Fault("stall", 0)) as server, speaking(server) as speaker:
        with pytest.raises(ProviderError, match="fell silent in the middle of a speech"):
            await collect(speaker.speak(all_of(ANSWER)))


async def test_words_that_are_slow_to_come_are_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.5)

    async def clauses() -> AsyncGenerator[str, None]:
        yield "One."
        await asyncio.sleep(0.8)
        yield "Two."

    async with serving() as server, speaking(server) as speaker:
        said = await collect(speaker.speak(clauses()))
        assert said == [(text, ulaw(text)) for text in ("One.", "Two.")]


async def test_a_connection_that_ended_while_nobody_spoke_is_opened_anew() -> None:
    async with serving(pace=Pace(speed=50.0, session_seconds=0.5)) as server, speaking(server) as speaker:
        await until(lambda: server.speak_sessions[0].closed)
        assert await collect(speaker.speak(all_of("Hello."))) == [("Hello.", ulaw("Hello."))]
        assert len(server.speak_sessions) == 2


async def test_a_connection_that_breaks_at_the_first_word_is_opened_anew_once() -> None:
    faults = [Fault("close", None, session, after_ms=0.0) for session in (0, 1)]
    async with serving(*faults) as server, speaking(server) as speaker:
        with pytest.raises(ProviderError, match="closed the connection"):
            await collect(speaker.speak(all_of("Hello,", "this is")))
        assert len(server.speak_sessions) == 2
        assert await collect(speaker.speak(all_of("Hello,"))) == [("Hello,", ulaw("Hello,"))]


async def test_words_are_not_lost_when_the_connection_breaks_at_the_first() -> None:
    async with serving(Fault("close", None, after_ms=0.0)) as server, speaking(server) as speaker:
        said = await collect(speaker.speak(all_of("Hello,", "this is", "the garden center.")))
        assert said == [(text, ulaw(text)) for text in ("Hello,", "this is", "the garden center.")]
        assert len(server.speak_sessions) == 2


async def test_a_warning_is_logged_and_a_complaint_is_the_end() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(f'{{"type": "Warning", "code": "W", "description": "slowly, {KEY}"}}')
        await socket.send(b"\xff" * 160)
        await socket.send(f'{{"type": "Error", "code": "E", "description": "no more, {KEY}"}}')
        await socket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        speaker = speaker_at(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await speaker.start(BRIEFING)
        with capture_logs() as logs, pytest.raises(ProviderError, match=r"Deepgram: no more, … \(E\)"):
            await collect(speaker.speak(all_of("One.")))
        assert [(one["log_level"], one["code"], one["reason"]) for one in logs] == [("warning", "W", "slowly, …")]
        await speaker.close()


async def test_half_a_sample_waits_for_its_other_half() -> None:
    async def talk(socket: ServerConnection) -> None:
        async for message in socket:
            if "Flush" in str(message):
                for piece in (b"\x01", b"\x02\x03\x04", b"\x05"):
                    await socket.send(piece)
                await socket.send('{"type": "Flushed", "sequence_id": 0}')

    async with serve(talk, "127.0.0.1", 0) as server:
        speaker = speaker_at(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", SLIN16)
        await speaker.start(BRIEFING)
        said = await collect(speaker.speak(all_of("One.", "Two.")))
        assert said == [("One.", b"\x01\x02\x03\x04"), ("Two.", b"\x01\x02\x03\x04")]
        await speaker.close()


# -- when to flush ----------------------------------------------------------------------------------------


def used(*times: float) -> FlushTimes:
    flushes = FlushTimes()
    for time in times:
        flushes.add(time)
    return flushes


def test_two_flushes_may_be_open() -> None:
    assert [used().due_at(10.0, 0.0, count) for count in (0, 1, 2)] == [10.0, 10.0, None]


def test_sound_in_hand_gives_time() -> None:
    assert used().due_at(10.0, 13.9, 0) == 10.0
    assert used().due_at(10.0, 16.0, 0) == 12.0


def test_the_last_two_of_a_minute_are_for_a_caller_who_hears_nothing() -> None:
    almost_all = used(*[0.0] * 18)
    assert almost_all.due_at(10.0, 0.0, 0) == 10.0
    assert almost_all.due_at(10.0, 12.0, 0) == 11.0
    assert almost_all.due_at(10.0, 12.0, 1) == 61.0
    every_one = used(*[0.0] * 18, 5.0, 6.0)
    assert every_one.due_at(10.0, 0.0, 0) == 61.0
    assert every_one.due_at(62.0, 0.0, 0) == 62.0


def test_flushes_are_shared_when_they_become_few() -> None:
    flushes = used(*[0.0] * 12)
    assert flushes.sparing(10.0)
    assert not flushes.sparing(61.0)
    assert not used(*[0.0] * 11).sparing(10.0)

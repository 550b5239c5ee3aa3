"""Deepgram's Nova transcriber against the fake of its listen v1, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.ports import Final, Heard, Partial
from ai_engine.providers.pipeline.stt import deepgram as module
from ai_engine.providers.pipeline.stt.deepgram import DeepgramListenSettings, DeepgramTranscriber
from ai_engine.providers.pipeline.stt.deepgram_turns import Result, StreamedTurns
from ai_engine.session.ports import Briefing, Fitting
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.deepgram_wire import Pace
from tests.fakes.scenario import Fault, Scenario, Turn
from tests.fakes.word_tones import spoken
from tests.waiting import until

KEY = "test-key"
BRIEFING = Briefing("call-1", {"name": "shop", "language": "en-GB"}, "Hello.", "")
TURNS = [Turn("what are your hours", pieces=2), Turn("book a table"), Turn("thank you")]


def turn_faults(*faults: Fault) -> Scenario:
    return Scenario("", TURNS, faults)


class Ear:
    """A transcriber, what it says, and a line to feed it from."""

    def __init__(self, transcriber: DeepgramTranscriber) -> None:
        self.transcriber = transcriber
        self.heard: list[Heard] = []
        self.lost: ProviderError | None = None

    async def read(self) -> None:
        try:
            async for one in self.transcriber.events():
                self.heard.append(one)
        except ProviderError as error:
            self.lost = error

    @property
    def finals(self) -> list[str]:
        return [one.text for one in self.heard if isinstance(one, Final)]

    @property
    def partials(self) -> list[str]:
        return [one.text for one in self.heard if isinstance(one, Partial)]

    def hear(self, pcm: bytes) -> None:
        """As the call does: in frames."""
        step = self.transcriber.input_format.frame_bytes
        assert not len(pcm) % step
        for at in range(0, len(pcm), step):
            self.transcriber.hear(pcm[at : at + step])

    def quiet(self, ms: int) -> None:
        self.hear(bytes(self.transcriber.input_format.byte_count(ms)))

    def speak(self, text: str) -> None:
        """As the engine's ear has it: what begins with silence, is noticed late, and ends with silence."""
        pcm = spoken(text, self.transcriber.input_format.rate)
        noticed = self.transcriber.input_format.byte_count(100)
        self.quiet(400)
        self.hear(pcm[:noticed])
        self.transcriber.turn_began()
        self.hear(pcm[noticed:])
        self.quiet(400)

    def say(self, text: str) -> None:
        self.speak(text)
        self.transcriber.turn_ended()


def transcriber_of(
    server: DeepgramServer, line: AudioFormat = SLIN8, key: str = KEY, **settings: object
) -> DeepgramTranscriber:
    read = DeepgramListenSettings.model_validate({"url": server.url, **settings})
    return DeepgramTranscriber(read, Fitting(line, {"DEEPGRAM_API_KEY": key}))


@asynccontextmanager
async def listening(server: DeepgramServer, line: AudioFormat = SLIN8, **settings: object) -> AsyncIterator[Ear]:
    transcriber = transcriber_of(server, line, **settings)
    await transcriber.start(BRIEFING)
    ear = Ear(transcriber)
    reader = asyncio.create_task(ear.read())
    try:
        yield ear
    finally:
        await transcriber.close()
        await transcriber.close()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


@asynccontextmanager
async def serving(scenario: Scenario | None = None, pace: Pace | None = None) -> AsyncIterator[DeepgramServer]:
    server = DeepgramServer(scenario or Scenario("", TURNS), pace=pace)
    async with server.listening():
        yield server
    assert server.violations == []


@pytest.mark.parametrize(
    ("line", "encoding"), [(SLIN8, "mulaw"), (SLIN16, "linear16"), (AudioFormat(48000), "linear16")]
)
async def test_turns_become_words(line: AudioFormat, encoding: str) -> None:
    async with serving() as server, listening(server, line, keyterms=("tomato", "weed killer")) as ear:
        ear.say("something to hear")
        ear.say("and more")
        await until(lambda: len(ear.finals) == 2)
        assert ear.finals == ["what are your hours", "book a table"]
        query = server.listen_sessions[0].query
        assert query["encoding"] == [encoding]
        assert query["sample_rate"] == [str(ear.transcriber.input_format.rate)]
        assert query["model"] == ["nova-3"]
        assert query["language"] == ["en"]
        assert query["keyterm"] == ["tomato", "weed killer"]


async def test_the_language_may_be_another_than_the_agents() -> None:
    async with serving() as server, listening(server, language="de-CH", smart_format=False, endpointing_ms=50):
        query = server.listen_sessions[0].query
        assert (query["language"], query["smart_format"], query["endpointing"]) == (["de-CH"], ["false"], ["50"])


@pytest.mark.parametrize(("language", "asked"), [("de-DE", "de"), ("fr", "fr"), ("zh-HK", "zh-HK"), ("multi", "multi")])
async def test_the_agents_language_is_one_of_the_vendors(language: str, asked: str) -> None:
    """Which refuses the connection over a region that it does not list."""
    async with serving() as server:
        transcriber = transcriber_of(server)
        await transcriber.start(Briefing("call-1", {"language": language}, "", ""))
        await transcriber.close()
        assert server.listen_sessions[0].query["language"] == [asked]


async def test_partial_words_come_while_the_turn_lasts() -> None:
    async with serving() as server, listening(server) as ear:
        ear.speak("one two three four five")
        await until(lambda: ear.partials)
        assert not ear.finals
        ear.transcriber.turn_ended()
        await until(lambda: ear.finals)
        whole = ear.finals[0]
        assert all(whole.startswith(one) for one in ear.partials)
        assert ear.partials == sorted(set(ear.partials), key=len)


async def test_sound_goes_out_only_in_turns_with_the_pre_roll_first() -> None:
    async with serving() as server, listening(server) as ear:
        ear.quiet(3000)
        before = spoken("before", 8000)  # 200 ms, which the pre-roll holds
        ear.hear(before)
        ear.transcriber.turn_began()
        ear.hear(spoken("after", 8000))
        ear.transcriber.turn_ended()
        ear.quiet(3000)
        await until(lambda: ear.finals)
        session = server.listen_sessions[0]
        sent = bytes(3200) + before + spoken("after", 8000)
        assert bytes(session.caller_pcm) == ulaw_to_pcm(pcm_to_ulaw(sent))
        assert len(session.got("Finalize")) == 1


async def test_sound_of_the_last_turn_is_not_in_the_pre_roll_of_the_next() -> None:
    async with serving() as server, listening(server) as ear:
        ear.say("one")
        ear.transcriber.turn_began()
        ear.hear(spoken("two", 8000))
        ear.transcriber.turn_ended()
        await until(lambda: len(ear.finals) == 2)
        # 400 ms of pre-roll, of which 100 ms are the word; the rest of it; silence; the next word.
        assert len(server.listen_sessions[0].caller_pcm) == 16 * (300 + 200 + 400 + 200)


async def test_a_dropped_turn_says_nothing_and_leaves_nothing() -> None:
    async with serving() as server, listening(server) as ear:
        ear.speak("cough")
        ear.transcriber.turn_dropped()
        ear.say("now really")
        await until(lambda: ear.finals)
        assert ear.finals == ["book a table"]
        assert len(server.listen_sessions[0].got("Finalize")) == 2


async def test_a_turn_may_begin_before_the_last_ones_words_are_there() -> None:
    async with serving() as server, listening(server) as ear:
        ear.say("one")
        ear.speak("two")
        await until(lambda: ear.finals)
        assert ear.finals == ["what are your hours"]
        ear.transcriber.turn_ended()
        await until(lambda: len(ear.finals) == 2)
        assert ear.finals[1] == "book a table"


async def test_a_turn_without_a_word_is_told_as_well() -> None:
    async with serving() as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.quiet(600)
        ear.transcriber.turn_ended()
        await until(lambda: ear.finals)
        assert ear.finals == [""]


async def test_beginning_and_ending_twice_change_nothing() -> None:
    async with serving() as server, listening(server) as ear:
        ear.transcriber.turn_ended()
        ear.transcriber.turn_dropped()
        ear.speak("one")
        ear.transcriber.turn_began()
        ear.transcriber.turn_ended()
        ear.transcriber.turn_ended()
        ear.transcriber.turn_dropped()
        await until(lambda: ear.finals)
        assert ear.finals == ["what are your hours"]
        assert len(server.listen_sessions[0].got("Finalize")) == 1


async def test_the_longest_turn_may_come_at_once() -> None:
    async with serving() as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.quiet(118_000)
        ear.hear(spoken("one two three", 8000))
        ear.transcriber.turn_ended()
        await until(lambda: ear.finals or ear.lost)
        assert (ear.finals, ear.lost) == (["what are your hours"], None)


async def test_an_idle_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEEP_ALIVE_SECONDS", 0.1)
    async with serving(pace=Pace(idle_seconds=1.0)) as server, listening(server) as ear:
        await until(lambda: len(server.listen_sessions[0].got("KeepAlive")) >= 12)
        ear.say("still there")
        await until(lambda: ear.finals)
        assert ear.lost is None


# -- faults -----------------------------------------------------------------------------------------------


async def test_a_wrong_key_is_refused_and_not_told() -> None:
    async with serving() as server:
        with pytest.raises(ProviderError, match="refused the connection: 401") as refused:
            await transcriber_of(server, key="s3cret").start(BRIEFING)
        assert refused.value.status == 401
        assert "s3cret" not in str(refused.value)


async def test_too_many_calls_are_refused() -> None:
    async with serving(Scenario("", TURNS, [Fault("refuse", status=429)])) as server:
        with pytest.raises(ProviderError) as refused:
            await transcriber_of(server).start(BRIEFING)
        assert refused.value.status == 429


async def test_nobody_there() -> None:
    async with serving() as server:
        pass
    with pytest.raises(ProviderError, match="cannot be reached"):
        await transcriber_of(server).start(BRIEFING)


async def test_a_slow_start_may_be_cancelled() -> None:
    async with serving(Scenario("", TURNS, [Fault("slow", seconds=1.0)])) as server:
        transcriber = transcriber_of(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transcriber.start(BRIEFING)
        await transcriber.close()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("close", "closed the connection: 1011"),
        ("error", "1011 The service has not transmitted"),
        ("limit", "1008 Session reached its maximum"),
        ("garbage", "no JSON object"),
    ],
)
async def test_a_broken_session_is_lost(kind: str, says: str) -> None:
    async with serving(turn_faults(Fault(kind, 0))) as server, listening(server) as ear:  # type: ignore[arg-type]
        ear.speak("one two three")
        await until(lambda: ear.lost)
        assert ear.lost is not None
        with pytest.raises(ProviderError, match=says):
            raise ear.lost


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"type": "Error", "description": f"{KEY} was revoked"}, "Deepgram: … was revoked"),
        ({"type": "Results"}, "Deepgram sent a broken 'Results': KeyError('start')"),
        ({"type": "Results", "start": 10**400}, "Deepgram sent a broken 'Results': OverflowError"),
        ({"type": "Metadata"}, "Deepgram closed the connection: 1008 … was revoked"),
    ],
)
async def test_what_the_vendor_says_ends_the_session_and_the_key_is_not_told(said: object, reason: str) -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.send(json.dumps(said))
        await socket.close(1008, f"{KEY} was revoked")

    async with serve(talk, "127.0.0.1", 0) as server:
        settings = DeepgramListenSettings(url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transcriber = DeepgramTranscriber(settings, Fitting(SLIN8, {"DEEPGRAM_API_KEY": KEY}))
        await transcriber.start(BRIEFING)
        ear = Ear(transcriber)
        async with asyncio.timeout(5):
            await ear.read()
        assert str(ear.lost).startswith(reason)
        await transcriber.close()


async def test_words_that_do_not_come_are_not_waited_for() -> None:
    # Deaf in the middle of the turn, which is too short to tell it from a vendor with nothing to say.
    async with serving(turn_faults(Fault("stall", 0, after_ms=700.0))) as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.hear(spoken("one two three four five", 8000))
        ear.transcriber.turn_ended()
        await until(lambda: ear.finals)
        assert ear.finals == ["what are"]
        assert ear.lost is None


@pytest.mark.parametrize("stalls_at", [None, 10])
async def test_a_turn_that_came_at_once_is_heard_to_its_end_at_the_vendors_pace(stalls_at: int | None) -> None:
    """Ten times as fast as it was spoken; with a pause in its middle."""
    seconds = 18

    async def work_off(socket: ServerConnection) -> None:
        heard = 0
        async for message in socket:
            if isinstance(message, bytes):
                heard += len(message)
                continue
            assert heard == 8000 * seconds
            for second in range(1, seconds + 1):
                if second == stalls_at:
                    await socket.wait_closed()
                await asyncio.sleep(0.1)
                is_last, at_pause = second == seconds, second == 3
                words = {"transcript": str(second), "confidence": 0.9, "words": []}
                result = {"type": "Results", "start": second - 1, "duration": 1.0, "is_final": True}
                rest = {"speech_final": at_pause or is_last, "from_finalize": is_last}
                await socket.send(json.dumps({**result, **rest, "channel": {"alternatives": [words]}}))

    async with serve(work_off, "127.0.0.1", 0) as server:
        settings = DeepgramListenSettings(url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transcriber = DeepgramTranscriber(settings, Fitting(SLIN8, {"DEEPGRAM_API_KEY": KEY}))
        await transcriber.start(BRIEFING)
        ear = Ear(transcriber)
        reader = asyncio.create_task(ear.read())
        transcriber.turn_began()
        ear.quiet(1000 * seconds)
        transcriber.turn_ended()
        await until(lambda: ear.finals or ear.lost)
        heard = seconds if stalls_at is None else stalls_at - 1
        assert ear.finals == [" ".join(map(str, range(1, heard + 1)))]
        await transcriber.close()
        reader.cancel()


async def test_when_all_is_final_there_may_be_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor does not promise any when little is left to be made final."""
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 60.0)

    async def answer(socket: ServerConnection) -> None:
        async for message in socket:
            if isinstance(message, bytes):
                alternative = {"transcript": "yes", "confidence": 0.9, "words": []}
                result = {"type": "Results", "start": 0.0, "duration": len(message) / 8000, "is_final": True}
                rest = {"speech_final": True, "channel": {"alternatives": [alternative]}}
                await socket.send(json.dumps({**result, **rest}))

    async with serve(answer, "127.0.0.1", 0) as server:
        settings = DeepgramListenSettings(url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transcriber = DeepgramTranscriber(settings, Fitting(SLIN8, {"DEEPGRAM_API_KEY": KEY}))
        await transcriber.start(BRIEFING)
        ear = Ear(transcriber)
        reader = asyncio.create_task(ear.read())
        ear.quiet(400)
        transcriber.turn_began()
        await until(lambda: ear.partials)
        transcriber.turn_ended()
        await until(lambda: ear.finals)
        assert ear.finals == ["yes"]
        await transcriber.close()
        reader.cancel()


async def test_words_that_come_after_all_are_not_taken_for_the_next_turns() -> None:
    async with serving(turn_faults(Fault("slow", 0, seconds=1.3))) as server, listening(server) as ear:
        ear.say("one two")
        await until(lambda: ear.finals)
        ear.say("three")
        await until(lambda: len(ear.finals) == 2)
        assert ear.finals[1] == "book a table"


async def test_a_vendor_that_falls_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STUCK_SECONDS", 1.1)
    async with serving(turn_faults(Fault("stall"))) as server, listening(server) as ear:
        ear.say("one two three four five six seven eight nine ten eleven twelve thirteen fourteen")
        await until(lambda: ear.lost)
        assert "says nothing any more" in str(ear.lost)
        assert ear.finals == []


def test_settings_are_checked() -> None:
    assert DeepgramListenSettings().url == "wss://api.deepgram.com"
    with pytest.raises(ValidationError):
        DeepgramListenSettings(endpointing_ms=5)


# -- which words belong to which turn ---------------------------------------------------------------------


def result(end: float, text: str, *, final: bool = False, speech: bool = False, flushed: bool = False) -> Result:
    return Result(end, text, final or flushed, speech, flushed)


def test_a_later_result_ends_a_turn_that_was_not_answered() -> None:
    turns = StreamedTurns()
    turns.begin()
    assert list(turns.take(result(1.0, "hello", final=True, speech=True))) == [Partial("hello")]
    first = turns.end(1.5, wanted=True)
    assert first.paused
    turns.begin()
    assert list(turns.take(result(1.9, "my"))) == [Final("hello"), Partial("my")]
    assert not turns.awaited(first)
    assert list(turns.take(result(1.504, "late", flushed=True))) == []
    second = turns.end(2.5, wanted=True)
    assert list(turns.take(result(2.5, "my name", flushed=True))) == [Final("my name")]
    assert list(turns.give_up(second)) == []


def test_segments_are_joined_and_interim_words_replaced() -> None:
    turns = StreamedTurns()
    turns.begin()
    told = [
        *turns.take(result(1.0, "I wood")),
        *turns.take(result(1.5, "I would like", final=True)),
        *turns.take(result(2.0, "a")),
        *turns.take(result(2.0, "a")),
        *turns.take(result(2.4, "a tomato")),
    ]
    assert told == [
        Partial("I wood"),
        Partial("I would like"),
        Partial("I would like a"),
        Partial("I would like a tomato"),
    ]
    turn = turns.end(2.8, wanted=True)
    assert not turn.paused
    assert list(turns.give_up(turn)) == [Final("I would like a tomato")]


def test_giving_up_a_turn_gives_up_those_before() -> None:
    turns = StreamedTurns()
    turns.begin()
    turns.end(1.0, wanted=True)
    turns.begin()
    turns.end(2.0, wanted=False)
    turns.begin()
    third = turns.end(3.0, wanted=True)
    assert list(turns.give_up(third)) == [Final(""), Final("")]

"""Deepgram's Flux transcriber against the fake of its listen v2, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.ports import Began, Eager, Final, Heard, Partial, Resumed
from ai_engine.providers.pipeline.stt.deepgram_flux import DeepgramFluxSettings, DeepgramFluxTranscriber
from ai_engine.session.ports import Briefing, Fitting
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.scenario import Fault, Scenario, Turn
from tests.fakes.word_tones import spoken
from tests.waiting import until

KEY = "test-key"
BRIEFING = Briefing("call-1", {"name": "shop"}, "Hello.", "")
TURNS = [Turn("what are your hours"), Turn("book a table for two please", resumed=True), Turn("thank you")]


class Ear:
    """A transcriber, what it says, and a line to feed it from."""

    def __init__(self, transcriber: DeepgramFluxTranscriber) -> None:
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
    def kinds(self) -> list[type[Heard]]:
        """In order, without the partial texts."""
        return [type(one) for one in self.heard if not isinstance(one, Partial)]

    def hear(self, pcm: bytes) -> None:
        step = self.transcriber.input_format.frame_bytes
        for at in range(0, len(pcm), step):
            self.transcriber.hear(pcm[at : at + step])

    def quiet(self, ms: int) -> None:
        self.hear(bytes(self.transcriber.input_format.byte_count(ms)))

    def speak(self, text: str) -> None:
        self.hear(spoken(text, self.transcriber.input_format.rate))


def transcriber_of(
    server: DeepgramServer, line: AudioFormat = SLIN8, key: str = KEY, **settings: object
) -> DeepgramFluxTranscriber:
    read = DeepgramFluxSettings.model_validate({"url": server.url, **settings})
    return DeepgramFluxTranscriber(read, Fitting(line, {"DEEPGRAM_API_KEY": key}))


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
async def serving(*faults: Fault) -> AsyncIterator[DeepgramServer]:
    server = DeepgramServer(Scenario("", TURNS, faults))
    async with server.listening():
        yield server
    assert server.violations == []


@pytest.mark.parametrize(
    ("line", "encoding"), [(SLIN8, "mulaw"), (SLIN16, "linear16"), (AudioFormat(24000), "linear16")]
)
async def test_it_finds_the_turns_itself(line: AudioFormat, encoding: str) -> None:
    async with serving() as server, listening(server, line, keyterms=("tomato", "weed")) as ear:
        ear.quiet(1000)
        ear.speak("one two three")
        ear.quiet(1000)
        ear.speak("four five")
        ear.quiet(1000)
        await until(lambda: len(ear.finals) == 2)
        assert ear.finals == ["what are your hours", "book a table for two please"]
        assert ear.kinds == [Began, Final, Began, Final]
        session = server.listen_sessions[0]
        assert session.query["encoding"] == [encoding]
        assert session.query["sample_rate"] == [str(ear.transcriber.input_format.rate)]
        assert session.query["keyterm"] == ["tomato", "weed"]
        assert "eot_threshold" not in session.query
        # Silence too, but for what waits for its parcel to be full.
        await until(lambda: ear.transcriber.input_format.ms(len(session.caller_pcm)) >= 3000 + 5 * 200 - 80)


async def test_words_come_while_the_turn_lasts() -> None:
    async with serving() as server, listening(server) as ear:
        ear.speak("one two three four five")
        await until(lambda: Partial("what are") in ear.heard)
        ear.quiet(1000)
        await until(lambda: ear.finals)
        partials = [one.text for one in ear.heard if isinstance(one, Partial)]
        assert all(ear.finals[0].startswith(one) for one in partials)


async def test_an_end_that_may_be_none_is_told_early_and_taken_back() -> None:
    settings = {"eager_eot_threshold": 0.4, "eot_threshold": 0.8, "eot_timeout_ms": 4000}
    async with serving() as server, listening(server, **settings) as ear:
        for words in ("one two three", "one two three four five six seven"):
            ear.speak(words)
            ear.quiet(1000)
        await until(lambda: len(ear.finals) == 2)
        assert ear.kinds == [Began, Eager, Final, Began, Eager, Resumed, Eager, Final]
        eager = [one.text for one in ear.heard if isinstance(one, Eager)]
        assert eager == ["what are your hours", "book a table", "book a table for two please"]
        query = server.listen_sessions[0].query
        assert (query["eager_eot_threshold"], query["eot_timeout_ms"]) == (["0.4"], ["4000"])
        assert ear.transcriber.patience_seconds > 4.0


async def test_the_longest_turn_may_come_at_once() -> None:
    async with serving() as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.quiet(118_000)
        ear.speak("one two three")
        ear.quiet(1000)
        ear.transcriber.turn_ended()
        await until(lambda: ear.finals or ear.lost)
        assert (ear.finals, ear.lost) == (["what are your hours"], None)


async def test_a_turn_it_ends_in_time_is_not_forced() -> None:
    async with serving() as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.speak("one two three")
        ear.quiet(300)
        ear.transcriber.turn_ended()
        ear.quiet(9000)
        await until(lambda: len(server.listen_sessions[0].caller_pcm) >= 16 * 9800)
        await until(lambda: ear.finals)
        assert ear.finals == ["what are your hours"]
        assert not server.listen_sessions[0].got("ForceEndTurn")


async def test_a_turn_it_does_not_end_is_ended_by_force() -> None:
    """The engine's ear hears the caller fall silent; Flux hears the radio beside them."""
    async with serving() as server, listening(server, eot_timeout_ms=500) as ear:
        session = server.listen_sessions[0]
        ear.transcriber.turn_began()
        ear.speak("one two three")
        ear.transcriber.turn_ended()
        ear.speak("radio radio radio radio")
        await until(lambda: len(session.caller_pcm) >= 16 * 1300)
        assert not session.got("ForceEndTurn")
        while not ear.finals:
            ear.speak("radio")
            await asyncio.sleep(0.01)
        assert ear.finals == ["what are your hours"]
        assert len(session.got("ForceEndTurn")) == 1
        assert session.said("TurnInfo")[-1]["trigger"] == "manual"


async def test_no_force_once_the_caller_goes_on() -> None:
    async with serving() as server, listening(server, eot_timeout_ms=500) as ear:
        session = server.listen_sessions[0]
        ear.transcriber.turn_began()
        ear.speak("one two three")
        ear.transcriber.turn_ended()
        ear.transcriber.turn_began()
        ear.speak("four five six seven eight nine ten eleven twelve")
        ear.transcriber.turn_ended()
        ear.quiet(1000)
        await until(lambda: ear.finals)
        assert not session.got("ForceEndTurn")


async def test_a_turn_without_a_word_is_told_as_well() -> None:
    async with serving() as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.quiet(300)
        ear.transcriber.turn_ended()
        ear.quiet(3000)
        await until(lambda: ear.finals)
        ear.speak("one two")
        ear.quiet(1000)
        await until(lambda: len(ear.finals) == 2)
        assert ear.finals == ["", "what are your hours"]


async def test_a_dropped_turn_is_not_told_unless_it_has_words() -> None:
    async with serving() as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.quiet(300)
        ear.transcriber.turn_dropped()
        ear.quiet(3000)
        ear.transcriber.turn_began()
        ear.speak("one two")
        ear.transcriber.turn_dropped()
        ear.quiet(1000)
        await until(lambda: ear.finals)
        assert ear.finals == ["what are your hours"]


async def test_a_line_that_gives_no_sound_is_filled_with_silence() -> None:
    """Else a turn would never end."""
    async with serving() as server, listening(server) as ear:
        ear.speak("one two three")
        await until(lambda: ear.finals)
        await until(lambda: len(server.listen_sessions[0].caller_pcm) >= 16 * 1600)
        assert ear.finals == ["what are your hours"]
        assert ear.lost is None


# -- faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "status"), [("s3cret", 401), (KEY, 429)])
async def test_a_refusal_is_told_with_its_status(key: str, status: int) -> None:
    async with serving(Fault("refuse", status=429)) as server:
        with pytest.raises(ProviderError, match=f"refused the connection: {status}") as refused:
            await transcriber_of(server, key=key).start(BRIEFING)
        assert refused.value.status == status
        assert key not in str(refused.value)


@pytest.mark.parametrize("fault", [Fault("slow", seconds=1.0), Fault("stall")])
async def test_a_start_that_takes_too_long_may_be_cancelled(fault: Fault) -> None:
    async with serving(fault) as server:
        transcriber = transcriber_of(server)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transcriber.start(BRIEFING)
        await transcriber.close()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("close", "closed the connection: 1011"),
        ("error", "internal server error occurred. .INTERNAL_SERVER_ERROR"),
        ("limit", "SESSION_DURATION_EXCEEDED"),
        ("garbage", "no JSON object"),
    ],
)
async def test_a_broken_session_is_lost(kind: Any, says: str) -> None:
    async with serving(Fault(kind, 0)) as server, listening(server) as ear:
        ear.speak("one two three")
        await until(lambda: ear.lost)
        assert ear.lost is not None
        with pytest.raises(ProviderError, match=says):
            raise ear.lost


@pytest.mark.parametrize("greets", [True, False])
async def test_what_the_vendor_says_is_told_without_the_key(greets: bool) -> None:
    async def talk(socket: ServerConnection) -> None:
        if greets:
            await socket.send('{"type": "Connected"}')
            await socket.send(f'{{"type": "Warning", "code": "W", "description": "old: {KEY}"}}')
        await socket.send(f'{{"type": "Error", "code": "E", "description": "revoked: {KEY}"}}')
        await socket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        settings = DeepgramFluxSettings(url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transcriber = DeepgramFluxTranscriber(settings, Fitting(SLIN8, {"DEEPGRAM_API_KEY": KEY}))

        async def listen() -> None:
            await transcriber.start(BRIEFING)
            async for _ in transcriber.events():
                pass

        with capture_logs() as logs, pytest.raises(ProviderError, match=r"^Deepgram: revoked: … \(E\)$"):
            await listen()
        assert [one["reason"] for one in logs] == ["old: …"] * greets
        await transcriber.close()


async def test_a_session_that_falls_silent_says_nothing() -> None:
    """The session finds out: an answer is owed, and does not come."""
    async with serving(Fault("stall", 0)) as server, listening(server) as ear:
        ear.transcriber.turn_began()
        ear.speak("one two three")
        ear.transcriber.turn_ended()
        ear.quiet(400)
        await until(lambda: len(server.listen_sessions[0].caller_pcm) >= 16 * 960)
        assert ear.finals == []
        assert ear.lost is None


def test_settings_are_checked() -> None:
    DeepgramFluxSettings(eager_eot_threshold=0.7)
    for wrong in (
        {"eot_threshold": 0.4},
        {"eager_eot_threshold": 0.95},
        {"eager_eot_threshold": 0.8},
        {"eager_eot_threshold": 0.6, "eot_threshold": 0.5},
        {"eot_timeout_ms": 100},
    ):
        with pytest.raises(ValidationError):
            DeepgramFluxSettings.model_validate(wrong)

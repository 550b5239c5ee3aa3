"""The local parts of a pipeline against the real server, each on a session of its own."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.llm.local import LocalLanguageModel, LocalLanguageModelSettings
from ai_engine.providers.pipeline.ports import Clause, Final, Heard, Message, Part, Partial, Piece, ToolCall
from ai_engine.providers.pipeline.stt.local import LocalTranscriber, LocalTranscriberSettings
from ai_engine.providers.pipeline.tts.local import LocalSpeaker, LocalSpeakerSettings
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.tools.send_dtmf import SendDtmf
from local_ai_server.agent import Agent
from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import Act, LanguageModel
from local_ai_server.llm.base import Piece as ServerPiece
from local_ai_server.llm.intents import Intents
from local_ai_server.processes import ProcessPool
from local_ai_server.protocol import MAX_TURN_BYTES, decode_client
from local_ai_server.tools import OWN, Tools
from local_ai_server.workers import WorkerPool
from tests.local_ai_server.demo_agent import AGENT
from tests.local_ai_server.phone_speech import caller
from tests.local_ai_server.serving import serving
from tests.local_ai_server.slow_models import VOICE, slow_pool
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAPTURES = Path(__file__).parents[1] / "captures" / "local_ai" / "client"
PLAIN = {key: value for key, value in AGENT.items() if key != "greeting"}
BRIEFING = Briefing("call-1", PLAIN, AGENT["greeting"], "Be kind.")
HOURS = AGENT["intents"]["hours"]["answer"]
SYSTEM = Message("system", "Be kind.")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(2, "pocketsphinx", "flite") as pool:
        yield pool


@asynccontextmanager
async def started(part: Part, **agent: str) -> AsyncIterator[None]:
    async with asyncio.timeout(20):
        try:
            await part.start(replace(BRIEFING, agent={**PLAIN, **agent}))
            yield
        finally:
            await part.close()


@asynccontextmanager
async def transcriber(pool: WorkerPool, line: AudioFormat = SLIN8) -> AsyncIterator[LocalTranscriber]:
    async with serving(pool) as (_, address):
        ears = LocalTranscriber(LocalTranscriberSettings(url=f"ws://{address}/v1"), Fitting(line, preroll_ms=100))
        async with started(ears):
            yield ears


@asynccontextmanager
async def model(pool: ProcessPool, behind: LanguageModel | None = None) -> AsyncIterator[LocalLanguageModel]:
    async with serving(pool, behind) as (_, address):
        words = LocalLanguageModel(LocalLanguageModelSettings(url=f"ws://{address}/v1"), Fitting(SLIN8))
        async with started(words):
            yield words


@asynccontextmanager
async def speaker(pool: ProcessPool, **agent: str) -> AsyncIterator[LocalSpeaker]:
    async with serving(pool) as (_, address):
        voice = LocalSpeaker(LocalSpeakerSettings(url=f"ws://{address}/v1"), Fitting(SLIN8))
        async with started(voice, **agent):
            yield voice


# -- speech to text ---------------------------------------------------------------------------------------


def say(ears: LocalTranscriber, text: str) -> None:
    pcm = caller(text, "rms", rate=ears.input_format.rate)
    size = ears.input_format.frame_bytes
    for at in range(0, len(pcm) - size, size):
        ears.hear(pcm[at : at + size])


async def heard(ears: LocalTranscriber, finals: int = 1) -> list[Heard]:
    found: list[Heard] = []
    async with aclosing(ears.events()) as events:
        async for event in events:
            found.append(event)
            if sum(isinstance(each, Final) for each in found) == finals:
                return found
    raise AssertionError("it ended")


@pytest.mark.parametrize("line", [SLIN8, SLIN16])
async def test_a_turn_is_heard_at_the_rate_of_the_line(pool: WorkerPool, line: AudioFormat) -> None:
    async with transcriber(pool, line) as ears:
        assert ears.input_format == line
        ears.turn_began()
        say(ears, "when are you open")
        ears.turn_ended()
        assert (await heard(ears))[-1] == Final("when are you open")


async def test_what_it_sounds_like_so_far(pool: WorkerPool) -> None:
    async with transcriber(pool) as ears:
        ears.turn_began()
        say(ears, "tell me about your services")
        async with aclosing(ears.events()) as events:
            first = asyncio.ensure_future(anext(events))
            while not first.done():  # noqa: ASYNC110 - the line goes on, with nothing on it
                ears.hear(ears.input_format.silence())
                await asyncio.sleep(0.001)
            assert isinstance(first.result(), Partial)


async def test_each_turn_that_ended_has_one_text_and_others_have_none(pool: WorkerPool) -> None:
    async with transcriber(pool) as ears:
        ears.turn_ended()  # of nothing
        for text in ("goodbye", None, "where are you"):
            ears.turn_began()
            if text:
                say(ears, text)
                ears.turn_ended()
            else:
                ears.turn_dropped()
        ears.turn_began()
        ears.turn_ended()
        finals = [event for event in await heard(ears, 3) if isinstance(event, Final)]
        assert finals == [Final("goodbye"), Final("where are you"), Final("")]


async def test_the_first_syllable_comes_from_before_the_turn(pool: WorkerPool) -> None:
    async with transcriber(pool) as ears:
        pcm = caller("goodbye", "awb", rate=8000)
        size = ears.input_format.frame_bytes
        for at in range(0, len(pcm) - size, size):
            ears.hear(pcm[at : at + size])
            if at // size == 4:
                ears.turn_began()
        ears.turn_ended()
        assert (await heard(ears))[-1] == Final("goodbye")


async def test_a_turn_too_long_for_the_server_is_cut_before_it_cuts_it(pool: WorkerPool) -> None:
    turns: list[int] = []

    async def count(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(json.dumps({"type": "ready", "input_rate": 16000, "output_rate": 0}))
        async for message in socket:
            if isinstance(message, bytes):
                turns[-1] += len(message)
            elif json.loads(message)["type"] == "turn_begin":
                turns.append(0)
            else:
                await socket.send(json.dumps({"type": "final", "turn": len(turns), "text": "", "confidence": 0.0}))

    async with serve(count, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ears = LocalTranscriber(LocalTranscriberSettings(url=url), Fitting(SLIN16))
        async with started(ears):
            for frames in (MAX_TURN_BYTES // SLIN16.frame_bytes + 100, 50):
                ears.turn_began()
                for frame in range(frames):
                    ears.hear(SLIN16.silence())
                    if frame % 100 == 0:
                        await asyncio.sleep(0.001)
                ears.turn_ended()
                assert await heard(ears) == [Final("")]
    long, short = turns
    assert 0.9 * MAX_TURN_BYTES < long < MAX_TURN_BYTES
    assert short == 50 * SLIN16.frame_bytes


# -- the language model -----------------------------------------------------------------------------------


async def pieces(words: LocalLanguageModel, *messages: Message, tools: Sequence[Any] = ()) -> list[Piece]:
    async with aclosing(words.answer([SYSTEM, *messages], tools)) as answer:
        return [piece async for piece in answer]


def text(found: list[Piece]) -> str:
    return "".join(piece for piece in found if isinstance(piece, str))


class Operator(Intents):
    """Presses a key when asked to, and shows what it was given."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.closed = 0

    async def answer(
        self, agent: Agent, record: tuple[tuple[str, str], ...], tools: Tools = OWN
    ) -> AsyncGenerator[ServerPiece, None]:
        self.given.append((agent.prompt, record, [tool.name for tool in tools]))
        speaker, said = record[-1]
        if said == "fail":
            yield "Er, "
            raise JobFailed("it stumbled")
        if said == "for ever":
            try:
                while True:
                    yield "and on "
                    await asyncio.sleep(0.001)
            finally:
                self.closed += 1
        yield "Done. " if speaker == "tool" else "I will. "
        if said == "press one":
            yield Act("send_dtmf", {"digits": "1"})


async def test_intents_answer_token_by_token(pool: WorkerPool) -> None:
    async with model(pool) as words:
        found = await pieces(words, Message("user", "when are you open"))
        assert text(found) == HOURS
        assert len(found) > 4
        found = await pieces(words, Message("user", "talk to a human"))
        assert isinstance(found[-1], ToolCall)
        assert (found[-1].name, found[-1].arguments) == ("transfer", "{}")
        assert await pieces(words, Message("user", "banana")) == []


async def test_a_tool_is_asked_for_and_the_answer_goes_on_from_its_result(pool: WorkerPool) -> None:
    async with model(pool, operator := Operator()) as words:
        asked = Message("user", "press one")
        *_, call = await pieces(words, asked, tools=[SendDtmf()])
        assert isinstance(call, ToolCall)
        assert (call.name, json.loads(call.arguments)) == ("send_dtmf", {"digits": "1"})
        used = Message("assistant", "I will.", (call,))
        done = Message("tool", '{"ok": true}', call_id=call.id)
        assert text(await pieces(words, asked, used, done)) == "Done. "
    use = ("tool", 'send_dtmf({"digits": "1"}) -> {"ok": true}')
    assert operator.given == [
        ("Be kind.", (("caller", "press one"),), ["send_dtmf"]),
        ("Be kind.", (("caller", "press one"), ("agent", "I will."), use), []),
    ]


async def test_closing_an_answer_ends_it_and_the_next_one_is_whole(pool: WorkerPool) -> None:
    async with model(pool, operator := Operator()) as words:
        for count in (0, 3):
            async with aclosing(words.answer([SYSTEM, Message("user", "for ever")], ())) as answer:
                if not count:
                    waiting = asyncio.ensure_future(anext(answer))
                    await asyncio.sleep(0)
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
                for _ in range(count):
                    assert await anext(answer) == "and on "
            assert text(await pieces(words, Message("user", "hello"))) == "I will. "
        assert operator.closed == sum(record[-1][1] == "for ever" for _, record, _ in operator.given)


async def test_an_answer_that_is_lost_is_an_error_and_no_fallback(pool: WorkerPool) -> None:
    async with model(pool, Operator()) as words:
        with pytest.raises(ProviderError, match="an answer was lost: it stumbled"):
            await pieces(words, Message("user", "fail"))
        assert text(await pieces(words, Message("user", "hello"))) == "I will. "


# -- text to speech ---------------------------------------------------------------------------------------


async def each(*texts: str) -> AsyncIterator[str]:
    for one in texts:
        yield one


async def test_each_clause_is_followed_by_its_sound(pool: WorkerPool) -> None:
    async with speaker(pool) as voice:
        assert voice.output_format == SLIN16
        async with aclosing(voice.speak(each("Hello there.", " ", "We are open, and you are welcome."))) as speech:
            found = [piece async for piece in speech]
        kinds = [type(piece) for i, piece in enumerate(found) if i == 0 or type(found[i - 1]) is not type(piece)]
        assert kinds == [Clause, bytes] * 3
        said = [piece.text for piece in found if isinstance(piece, Clause)]
        assert said == ["Hello there.", "We are open,", "and you are welcome."]


async def test_the_first_clause_sounds_before_there_is_a_second(pool: WorkerPool) -> None:
    second = asyncio.Event()

    async def clauses() -> AsyncIterator[str]:
        yield "Hello."
        await second.wait()
        yield "How are you?"

    async with speaker(pool) as voice, aclosing(voice.speak(clauses())) as speech:
        assert await anext(speech) == Clause("Hello.")
        assert isinstance(await anext(speech), bytes)
        second.set()
        async for piece in speech:
            if piece == Clause("How are you?"):
                return
    raise AssertionError("the second clause was not said")


async def test_closing_the_speech_ends_it_and_nothing_of_it_is_in_the_next(pool: WorkerPool) -> None:
    endless = "This sentence is spoken again and again. " * 60
    async with speaker(pool) as voice:
        for _ in range(3):
            async with aclosing(voice.speak(each(endless))) as speech:
                await anext(speech)
                assert isinstance(await anext(speech), bytes)
            await until(lambda: pool.idle == pool.size)
            async with aclosing(voice.speak(each("Yes?"))) as speech:
                found = [piece async for piece in speech]
            assert found[0] == Clause("Yes?")
            seconds = sum(len(piece) for piece in found if isinstance(piece, bytes)) / 32000
            assert 0.1 < seconds < 2


async def test_speech_closed_before_it_began_is_not_made() -> None:
    async with slow_pool(1, 0.05) as pool, speaker(pool, voice=VOICE) as voice:
        for _ in range(5):
            waiting = asyncio.ensure_future(anext(voice.speak(each("A long one. " * 200))))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with aclosing(voice.speak(each("Yes?"))) as speech:
            assert await anext(speech) == Clause("Yes?")
        assert pool.load.jobs <= 6


async def test_a_clause_that_cannot_be_said_is_an_error() -> None:
    async with (
        WorkerPool(1, "pocketsphinx", "flite") as pool,
        speaker(pool) as voice,
        aclosing(voice.speak(each("This sentence is spoken again and again. " * 60))) as speech,
    ):
        await anext(speech)
        os.kill(pool.process_ids()[0], signal.SIGKILL)
        with pytest.raises(ProviderError, match="could not say it"):
            async for _ in speech:
                pass


# -- all of them ------------------------------------------------------------------------------------------


async def test_what_they_say_first_is_as_the_captures_have_it(pool: WorkerPool) -> None:
    said: list[dict[str, Any]] = []

    async def talk(socket: ServerConnection) -> None:
        said.append(json.loads(await socket.recv()))
        await socket.send(json.dumps({"type": "ready", "input_rate": 8000, "output_rate": 16000}))
        await socket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        for part in (
            LocalTranscriber(LocalTranscriberSettings(url=url), Fitting(SLIN8)),
            LocalLanguageModel(LocalLanguageModelSettings(url=url), Fitting(SLIN8)),
            LocalSpeaker(LocalSpeakerSettings(url=url), Fitting(SLIN8)),
        ):
            capture = json.loads((CAPTURES / f"start.{['stt', 'llm', 'tts'][len(said)]}.json").read_text())
            agent = {key: value for key, value in capture["agent"].items() if key not in ("greeting", "prompt")}
            await part.start(Briefing(capture["call_id"], agent, "Hello.", "Be kind."))
            await part.close()
            await part.close()
            assert said[-1] == capture
            decode_client(json.dumps(said[-1]))


async def test_a_server_that_is_busy_refuses_and_one_that_goes_is_missed(pool: WorkerPool) -> None:
    async with serving(pool, max_sessions=1) as (_, address):
        url = f"ws://{address}/v1"
        first = LocalTranscriber(LocalTranscriberSettings(url=url), Fitting(SLIN8))
        second = LocalSpeaker(LocalSpeakerSettings(url=url), Fitting(SLIN8))
        await first.start(BRIEFING)
        with pytest.raises(ProviderError, match=r"refused the call: all 1 sessions are taken \(busy\)"):
            await second.start(BRIEFING)
        await second.close()
    with pytest.raises(ProviderError, match="closed the connection"):
        await heard(first)
    with pytest.raises(ProviderError, match="closed the connection"):
        await heard(first)
    await first.close()
    third = LocalLanguageModel(LocalLanguageModelSettings(url=url), Fitting(SLIN8))
    with pytest.raises(ProviderError, match="cannot be reached"):
        await third.start(BRIEFING)
    await third.close()


async def test_a_dialog_that_reads_no_prompt_says_so(pool: WorkerPool) -> None:
    async with model(pool) as words:
        assert not words.reads_prompt, "the embedded one knows its intents, and nothing else"

"""The OpenAI parts of a pipeline against a server that keeps the vendor's contract."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from ai_engine.audio.format import SLIN8
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.llm.openai import OpenAIChat, OpenAIChatSettings
from ai_engine.providers.pipeline.ports import Clause, Message, Piece, ToolCall, Usage
from ai_engine.providers.pipeline.tts.openai import OpenAISpeech, OpenAISpeechSettings
from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import Fitting
from ai_engine.tools.send_dtmf import SendDtmf
from tests.fakes.openai_http import OpenAIServer
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.word_tones import spoken
from tests.waiting import until

TURNS = [
    Turn("what time is it", "It is noon, more or less."),
    Turn(
        "press one",
        "I will.",
        tools=[Call("send_dtmf", {"digits": "1"}), Call("send_dtmf", {"digits": "2"})],
        then="Done.",
    ),
]
SYSTEM = Message("system", "Be kind.")
TOOLS = (SendDtmf(),)


@asynccontextmanager
async def served(*faults: Fault, key: str = "test-key", **pace: Any) -> AsyncIterator[tuple[OpenAIServer, Fitting]]:
    server = OpenAIServer(Scenario(turns=TURNS, faults=faults), **pace)
    http = SharedHttp()
    async with server.listening():
        yield server, Fitting(SLIN8, {"OPENAI_API_KEY": key}, http=http)
        await http.close()
        assert [found for found in server.violations if "API key" not in found] == []


def chat(server: OpenAIServer, fitting: Fitting, **settings: Any) -> OpenAIChat:
    return OpenAIChat(OpenAIChatSettings(url=server.url, **settings), fitting)


def speech(server: OpenAIServer, fitting: Fitting) -> OpenAISpeech:
    return OpenAISpeech(OpenAISpeechSettings(url=server.url), fitting)


async def pieces(model: OpenAIChat, *messages: Message, tools: Sequence[Any] = ()) -> list[Piece]:
    async with asyncio.timeout(5), aclosing(model.answer([SYSTEM, *messages], tools)) as answer:
        return [piece async for piece in answer]


def text(found: list[Piece]) -> str:
    return "".join(piece for piece in found if isinstance(piece, str))


async def clauses(*texts: str) -> AsyncIterator[str]:
    for one in texts:
        yield one


async def test_an_answer_comes_token_by_token_and_says_what_it_cost() -> None:
    async with served() as (server, fitting):
        found = await pieces(
            chat(server, fitting, temperature=0.2, max_tokens=100), Message("user", "What time is it?")
        )
    assert text(found) == "It is noon, more or less."
    assert len([piece for piece in found if isinstance(piece, str)]) > 3
    [usage] = [piece for piece in found if isinstance(piece, Usage)]
    assert usage.units["completion_tokens"] > 0
    [request] = server.requests
    assert request.body is not None
    assert (request.body["temperature"], request.body["max_completion_tokens"]) == (0.2, 100)


async def test_tools_are_asked_for_and_their_results_continue_the_answer() -> None:
    async with served() as (server, fitting):
        model = chat(server, fitting)
        asked = Message("user", "press one")
        found = await pieces(model, asked, tools=TOOLS)
        calls = tuple(piece for piece in found if isinstance(piece, ToolCall))
        assert text(found) == "I will."
        assert [(call.name, call.arguments) for call in calls] == [
            ("send_dtmf", '{"digits": "1"}'),
            ("send_dtmf", '{"digits": "2"}'),
        ]
        results = [Message("tool", '{"ok": true}', call_id=call.id) for call in calls]
        found = await pieces(model, asked, Message("assistant", "I will.", calls), *results, tools=TOOLS)
        assert text(found) == "Done."


async def test_leaving_the_answer_ends_the_request() -> None:
    async with served(tokens_per_second=5) as (server, fitting):
        answer = chat(server, fitting).answer([SYSTEM, Message("user", "what time is it")], ())
        async with aclosing(answer):
            assert await anext(answer)
        await until(lambda: server.requests[0].aborted)


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        (Fault("refuse", turn=0, status=429), r"openai refused the request: 429: .+", 429),
        (Fault("refuse", turn=0, status=503), r"openai refused the request: 503", 503),
        (Fault("garbage", turn=0), r"openai sent something that is no JSON object", 0),
        (Fault("close", turn=0), r"openai (cannot be reached|broke off)", 0),
        (Fault("error", turn=0), r"openai failed: .+", 0),
    ],
)
async def test_what_goes_wrong_is_a_provider_error(fault: Fault, error: str, status: int) -> None:
    async with served(fault) as (server, fitting):
        with pytest.raises(ProviderError, match=error) as found:
            await pieces(chat(server, fitting), Message("user", "what time is it"))
        assert found.value.status == status
        again = await pieces(chat(server, fitting), Message("user", "what time is it"))
        assert text(again) == "It is noon, more or less.", "the fault has passed"


async def test_a_wrong_key_is_refused_and_told_to_nobody() -> None:
    async with served(key="sk-very-secret-key-9999") as (server, fitting):
        for part in (pieces(chat(server, fitting), Message("user", "hi")), _sound(speech(server, fitting), "Hi.")):
            with pytest.raises(ProviderError, match="401") as found:
                await part
            assert found.value.status == 401
            assert "9999" not in str(found.value), "the vendor repeats the end of the key"
        assert "very-secret" not in repr(fitting)


async def test_nobody_listens() -> None:
    http = SharedHttp()
    model = OpenAIChat(OpenAIChatSettings(url="http://127.0.0.1:9/v1", key=None), Fitting(SLIN8, http=http))
    with pytest.raises(ProviderError, match="openai cannot be reached: ClientConnectorError"):
        await pieces(model, Message("user", "hi"))
    await http.close()


# -- servers that only nearly speak it ------------------------------------------------------------------------


@asynccontextmanager
async def saying(body: str, *, key: str = "test-key", **answer: Any) -> AsyncIterator[tuple[str, Fitting]]:
    """The address of a server that says ``body`` to everything."""

    async def say(request: web.Request) -> web.Response:
        return web.Response(text=body, **answer)

    app = web.Application()
    app.router.add_post("/{rest:.*}", say)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    http = SharedHttp()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", Fitting(SLIN8, {"OPENAI_API_KEY": key}, http=http)
    finally:
        await http.close()
        await runner.cleanup()


def stream(*deltas: dict[str, Any], **more: Any) -> str:
    chunks = [{"choices": [{"index": 0, "delta": delta}], **more} for delta in deltas]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def called(id: str | None, arguments: str, **index: int | None) -> dict[str, Any]:
    named = {} if id is None else {"id": id}
    return {"tool_calls": [{**named, **index, "function": {"name": "weather", "arguments": arguments}}]}


@pytest.mark.parametrize("index", [{"index": 0}, {}, {"index": None}])
async def test_calls_that_share_an_index_are_told_apart(index: dict[str, int | None]) -> None:
    """Ollama has said 0 for each of them, or nothing (its issues 15457, 7881)."""
    deltas = called("a", '{"town": "Bern"}', **index), called("b", '{"town": ', **index)
    rest = {"tool_calls": [{**index, "function": {"arguments": '"Rome"}'}}]}
    async with saying(stream(*deltas, rest)) as (url, fitting):
        found = await pieces(OpenAIChat(OpenAIChatSettings(url=url), fitting), Message("user", "hi"))
    assert found == [ToolCall("a", "weather", '{"town": "Bern"}'), ToolCall("b", "weather", '{"town": "Rome"}')]


async def test_calls_without_an_id_are_given_one() -> None:
    deltas = called(None, "{}", index=0), called("", "", index=1)
    async with saying(stream(*deltas)) as (url, fitting):
        found = await pieces(OpenAIChat(OpenAIChatSettings(url=url), fitting), Message("user", "hi"))
    assert found == [ToolCall("call_0", "weather", "{}"), ToolCall("call_1", "weather", "{}")]


async def test_numbers_that_are_too_great_are_an_error() -> None:
    async with saying(stream({}, usage={"prompt_tokens": 10**400})) as (url, fitting):
        with pytest.raises(ProviderError, match="broken chunk"):
            await pieces(OpenAIChat(OpenAIChatSettings(url=url), fitting), Message("user", "hi"))


@pytest.mark.parametrize("key", ["gsk_4711abcdefgh", "0123456789abcdef"])
async def test_a_key_of_any_form_is_told_to_nobody(key: str) -> None:
    async with saying(f'{{"error": {{"message": "Key {key} is unknown."}}}}', key=key, status=401) as (url, fitting):
        with pytest.raises(ProviderError, match="401: Key .+ is unknown") as found:
            await pieces(OpenAIChat(OpenAIChatSettings(url=url), fitting), Message("user", "hi"))
    assert key not in str(found.value)


async def test_a_key_that_no_header_can_hold_is_an_error() -> None:
    async with saying(stream(), key="sk-4711\n") as (url, fitting):
        with pytest.raises(ProviderError, match="cannot be reached: ValueError"):
            await pieces(OpenAIChat(OpenAIChatSettings(url=url), fitting), Message("user", "hi"))


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/plain"])
async def test_words_are_not_played(kind: str) -> None:
    async with saying("<html>Sign in!</html>", content_type=kind) as (url, fitting):
        speaker = OpenAISpeech(OpenAISpeechSettings(url=url), fitting)
        with pytest.raises(ProviderError, match=f"openai sent {kind} where sound was due"):
            await _sound(speaker, "Hello.")


async def _sound(speaker: OpenAISpeech, *texts: str) -> list[Clause | bytes]:
    async with asyncio.timeout(5), aclosing(speaker.speak(clauses(*texts))) as sound:
        return [piece async for piece in sound]


async def test_each_clause_is_announced_and_sounds() -> None:
    async with served() as (server, fitting):
        speaker = speech(server, fitting)
        found = await _sound(speaker, "It is noon,", "more or less.")
    assert [piece.text for piece in found if isinstance(piece, Clause)] == ["It is noon,", "more or less."]
    pcm = b"".join(piece for piece in found if isinstance(piece, bytes))
    assert pcm == spoken("It is noon,", 24000) + spoken("more or less.", 24000)
    assert all(len(piece) % 2 == 0 for piece in found if isinstance(piece, bytes))
    assert speaker.output_format.rate == 24000


async def test_the_first_clause_sounds_before_the_second_is_written() -> None:
    gate = asyncio.Event()

    async def written() -> AsyncIterator[str]:
        yield "It is noon."
        await gate.wait()
        yield "More or less."

    async with served() as (server, fitting), aclosing(speech(server, fitting).speak(written())) as sound:
        assert await anext(sound) == Clause("It is noon.")
        heard = 0
        while heard < len(spoken("It is noon.", 24000)):
            piece = await anext(sound)
            assert isinstance(piece, bytes)
            heard += len(piece)
        gate.set()
        assert await anext(sound) == Clause("More or less.")


async def test_leaving_the_speech_ends_the_request() -> None:
    async with served(speech_pace=1) as (server, fitting):
        sound = speech(server, fitting).speak(clauses("one two three four five six seven eight"))
        async with aclosing(sound):
            await anext(sound)
            await anext(sound)
        await until(lambda: server.requests[0].aborted)


async def test_a_long_speech_is_made_no_more_than_a_while_ahead() -> None:
    clause = "one two three four five six seven eight nine ten " * 4  # 8 s
    async with served() as (server, fitting):
        listener = asyncio.create_task(_sound(speech(server, fitting), *[clause] * 50))
        await until(lambda: len(server.requests) == 4)
        await asyncio.sleep(0.3)  # what should not have been asked for has been
        assert len(server.requests) == 4
        listener.cancel()
        await asyncio.wait({listener})

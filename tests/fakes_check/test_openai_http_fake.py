"""The vendor's own SDK drives our fake of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk
from pydantic import ValidationError

from tests.fakes.openai_chat import answer, chunks
from tests.fakes.openai_http import SPEECH_RATE, OpenAIServer
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.strict_types import strictly
from tests.fakes.word_tones import spoken
from tests.waiting import until

HTTP_ERRORS = (httpx2.HTTPError,)
MODEL = "gpt-4.1-mini"
HOURS = "We are open from nine to six, each day. Même le café: ☕!"
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("book", "look_up")
]
TURNS = [
    Turn("What are your hours?", HOURS),
    Turn(
        "book a table",
        "One moment.",
        tools=[Call("book", {"people": 2, "name": "Zoë"}), Call("look_up", raw="{people: ")],
        then="It is booked.",
    ),
    Turn("just look", tools=[Call("look_up")], then="Nothing there."),
]


def scenario(*faults: Fault) -> Scenario:
    return Scenario("Hello, this is the garden center.", TURNS, faults)


@asynccontextmanager
async def serving(server: OpenAIServer, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    async with (
        server.listening(),
        AsyncOpenAI(api_key="test-key", base_url=server.url, **{"max_retries": 0, "timeout": 5, **options}) as client,
    ):
        yield client


def asks(*texts: str) -> list[Any]:
    return [{"role": "system", "content": "Be brief."}, *({"role": "user", "content": text} for text in texts)]


async def stream(client: AsyncOpenAI, *texts: str, **options: Any) -> list[ChatCompletionChunk]:
    got: list[ChatCompletionChunk] = []
    await read_into(got, client, *texts, **options)
    return got


async def read_into(got: list[ChatCompletionChunk], client: AsyncOpenAI, *texts: str, **options: Any) -> None:
    async for chunk in await client.chat.completions.create(
        **{"model": MODEL, "messages": asks(*texts), "stream": True, **options}
    ):
        got.append(chunk)  # noqa: PERF401 - what came before an error stays


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def called(*ids: str) -> dict[str, Any]:
    function = {"name": "book", "arguments": "{}"}
    return {"role": "assistant", "tool_calls": [{"id": id, "type": "function", "function": function} for id in ids]}


def result(id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "{}"}


async def test_a_stream_begins_with_the_role_and_ends_with_its_reason() -> None:
    server = OpenAIServer(scenario())
    async with serving(server) as client:
        got = await stream(client, "what are your hours")
    assert got[0].choices[0].delta.role == "assistant"
    assert text_of(got) == HOURS
    assert [chunk.choices[0].delta.content for chunk in got[1:4]] == ["We", " are", " open"]
    assert [chunk.choices[0].finish_reason for chunk in got[-2:]] == [None, "stop"]
    assert len({chunk.id for chunk in got}) == 1
    assert [(record.path, record.aborted) for record in server.requests] == [("/v1/chat/completions", False)]
    assert server.requests[0].body["messages"][1]["content"] == "what are your hours"
    assert server.violations == []


async def test_usage_comes_last_and_alone() -> None:
    async with serving(OpenAIServer(scenario())) as client:
        got = await stream(client, "what are your hours", stream_options={"include_usage": True})
    assert [chunk.usage for chunk in got[:-1]] == [None] * (len(got) - 1)
    assert got[-1].choices == []
    assert got[-1].usage is not None
    assert got[-1].usage.completion_tokens == len(HOURS.split())


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_an_answer_is_cut_at_the_limit(limit: str) -> None:
    async with serving(OpenAIServer(scenario())) as client:
        got = await stream(client, "what are your hours", **{limit: 3})
    assert text_of(got) == "We are open"
    assert got[-1].choices[0].finish_reason == "length"


def test_a_chunk_is_held_to_the_letter() -> None:
    chunk = chunks(answer({"model": MODEL, "messages": asks()}, scenario()), 0, {})[0]
    kind = strictly(ChatCompletionChunk)
    kind.validate_python(chunk, strict=True)
    choice = chunk["choices"][0]
    for wrong in (
        {**chunk, "x": 1},
        {**chunk, "created": "0"},
        {**chunk, "choices": [{**choice, "finish_reason": "end"}]},
        {**chunk, "choices": [{**choice, "delta": {"text": "hi"}}]},
        {name: value for name, value in chunk.items() if name != "object"},
    ):
        with pytest.raises(ValidationError):
            kind.validate_python(wrong, strict=True)


async def test_the_last_words_decide() -> None:
    async with serving(OpenAIServer(scenario())) as client:
        assert text_of(await stream(client)) == "Hello, this is the garden center."
        assert text_of(await stream(client, "book a table", "WHAT are your hours")) == HOURS
        assert text_of(await stream(client, "mumble")).startswith("I am sorry")
        parts = [{"role": "user", "content": [{"type": "text", "text": "what are your hours"}]}]
        assert text_of(await stream(client, messages=parts)) == HOURS


async def test_tools_come_in_pieces_and_their_results_go_on() -> None:
    server = OpenAIServer(scenario())
    async with serving(server) as client:
        async with client.chat.completions.stream(model=MODEL, messages=asks("book a table"), tools=TOOLS) as streaming:
            message = (await streaming.get_final_completion()).choices[0].message
        calls = message.tool_calls or []
        assert message.content == "One moment."
        assert [call.function.name for call in calls] == ["book", "look_up"]
        assert json.loads(calls[0].function.arguments) == {"people": 2, "name": "Zoë"}
        assert calls[1].function.arguments == "{people: "
        ids = [call.id for call in calls]

        history = [*asks("book a table"), called(*ids), *map(result, reversed(ids))]
        got = await stream(client, messages=history, tools=TOOLS)
    assert text_of(got) == "It is booked."
    assert got[-1].choices[0].finish_reason == "stop"
    assert server.violations == []


async def test_the_pieces_of_tools_are_deltas() -> None:
    async with serving(OpenAIServer(scenario())) as client:
        got = await stream(client, "book a table", tools=TOOLS)
    deltas = [call for chunk in got for call in chunk.choices[0].delta.tool_calls or ()]
    named = [call for call in deltas if call.function and call.function.name]
    assert [call.index for call in named] == [0, 1]
    assert all(call.id is None and call.type is None for call in deltas if call not in named)
    assert len([call for call in deltas if call.index == 0]) > 3
    assert got[-1].choices[0].finish_reason == "tool_calls"


async def test_tools_are_asked_for_as_the_request_allows() -> None:
    async with serving(OpenAIServer(scenario())) as client:
        assert text_of(await stream(client, "book a table")) == "One moment."
        none = await stream(client, "book a table", tools=TOOLS, tool_choice="none")
        assert none[-1].choices[0].finish_reason == "stop"
        one = await client.chat.completions.create(
            model=MODEL, messages=asks("book a table"), tools=TOOLS, parallel_tool_calls=False
        )
        first = one.choices[0].message
        assert [call.function.name for call in first.tool_calls or () if call.type == "function"] == ["book"]
        ids = [call.id for call in first.tool_calls or ()]
        history = [*asks("book a table"), called(*ids), *map(result, ids)]
        other = await client.chat.completions.create(
            model=MODEL, messages=history, tools=TOOLS, parallel_tool_calls=False
        )
    names = [call.function.name for call in other.choices[0].message.tool_calls or () if call.type == "function"]
    assert names == ["look_up"]


async def test_an_answer_in_one_piece() -> None:
    async with serving(OpenAIServer(scenario())) as client:
        whole = await client.chat.completions.create(model=MODEL, messages=asks("what are your hours"))
        tool = await client.chat.completions.create(model=MODEL, messages=asks("just look"), tools=TOOLS)
    assert whole.choices[0].message.content == HOURS
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert tool.choices[0].message.content is None
    assert tool.choices[0].finish_reason == "tool_calls"


async def test_models_are_listed_for_the_key_only() -> None:
    server = OpenAIServer(scenario())
    async with serving(server) as client:
        assert {MODEL, "tts-1"} <= {model.id async for model in client.models.list()}
        with pytest.raises(openai.AuthenticationError) as wrong:
            await client.with_options(api_key="sk-wrong-one-4321").models.list()
        assert wrong.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await stream(client.with_options(api_key="sk-wrong-one-4321"), "hello")
        async with aiohttp.ClientSession() as plain, plain.get(f"{server.url}/models") as response:
            assert response.status == 401
    assert len(server.violations) == 3


def function(name: str, parameters: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": name, "parameters": parameters}}]


BAD = {
    "no such parameter": ({"extra_body": {"bogus": 1}}, "Unknown parameter: 'bogus'"),
    "no such field of a message": (
        {"messages": [{"role": "user", "content": "hi", "when": 1}]},
        r"Unknown parameter: 'messages\[0\].when'",
    ),
    "no such role": ({"messages": [{"role": "caller", "content": "hi"}]}, r"messages\[0\]"),
    "no content": ({"messages": [{"role": "user"}]}, r"Missing required parameter: 'messages\[0\].content'"),
    "no messages": ({"messages": []}, "empty array"),
    "a number as text": ({"temperature": "0.5"}, "'temperature'"),
    "too hot": ({"temperature": 2.5}, "'temperature'"),
    "an assistant who says nothing": ({"messages": [{"role": "assistant"}]}, "expected a string, got null"),
    "a result without its call": ({"messages": [*asks("hi"), result("a")]}, "must be a response"),
    "another call's result": ({"messages": [*asks("hi"), called("a"), result("b")]}, "'b' not found"),
    "a missing result": ({"messages": [*asks("hi"), called("a", "b"), result("b")]}, "response messages: a"),
    "a late result": ({"messages": [*asks("hi"), called("a"), *asks("hi"), result("a")]}, "response messages: a"),
    "a result twice": ({"messages": [*asks("hi"), called("a"), result("a"), result("a")]}, "'a' not found"),
    "arguments that are no text": (
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "book", "arguments": {}}}],
                },
                result("a"),
            ]
        },
        r"messages\[0\].tool_calls",
    ),
    "no tools": ({"tools": []}, "empty array"),
    "a choice without tools": ({"tool_choice": "auto"}, "only allowed when 'tools'"),
    "a tool with a dot": ({"tools": function("a.b", {"type": "object"})}, "does not match pattern"),
    "a tool twice": ({"tools": TOOLS + TOOLS}, "unique"),
    "no schema": ({"tools": function("a", {"type": "objct"})}, "Invalid schema for function 'a'"),
    "a schema of no object": ({"tools": function("a", {"type": "string"})}, "Invalid schema for function 'a'"),
    "an old limit": ({"model": "gpt-5.5", "max_tokens": 10}, "max_completion_tokens"),
}


@pytest.mark.parametrize(("options", "words"), BAD.values(), ids=BAD)
async def test_a_bad_request_is_refused(options: dict[str, Any], words: str) -> None:
    server = OpenAIServer(scenario())
    async with serving(server) as client:
        with pytest.raises(openai.BadRequestError, match=words) as refused:
            await stream(client, "hi", **options)
    assert refused.value.type == "invalid_request_error"
    assert len(server.violations) == 1


async def test_an_unknown_model_is_refused() -> None:
    async with serving(OpenAIServer(scenario())) as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await stream(client, "hi", model="gpt-0")
    assert refused.value.code == "model_not_found"


async def test_what_is_no_json_is_refused() -> None:
    server = OpenAIServer(scenario())
    headers = {"Authorization": "Bearer test-key", "Content-Type": "application/json"}
    async with server.listening(), aiohttp.ClientSession(headers=headers) as plain:
        for path, body, status in (
            ("chat/completions", b"{", 400),
            ("chat/completions", b"[]", 400),
            ("audio/speech", b"null", 400),
            ("nowhere", b"{}", 404),
        ):
            async with plain.post(f"{server.url}/{path}", data=body) as response:
                assert response.status == status
                assert (await response.json())["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_refuse(status: int, error: type[openai.APIStatusError]) -> None:
    server = OpenAIServer(scenario(Fault("refuse", turn=0, status=status, seconds=2.5)))
    async with serving(server) as client:
        with pytest.raises(error) as refused:
            await stream(client, "what are your hours")
        assert refused.value.response.headers.get("Retry-After") == ("3" if status == 429 else None)
        assert isinstance(refused.value.body, dict)
        assert text_of(await stream(client, "what are your hours")) == HOURS
    assert server.violations == []


async def test_the_sdk_tries_again() -> None:
    server = OpenAIServer(scenario(Fault("refuse", turn=0, status=429, seconds=0)))
    async with serving(server, max_retries=2) as client:
        assert text_of(await stream(client, "what are your hours")) == HOURS
    assert len(server.requests) == 2


async def test_slow() -> None:
    server = OpenAIServer(scenario(Fault("slow", turn=1, seconds=30)))
    async with serving(server) as client:
        assert text_of(await stream(client, "what are your hours")) == HOURS
        with pytest.raises(openai.APITimeoutError):
            await stream(client.with_options(timeout=0.1), "what are your hours", "just look")
        await until(lambda: server.requests[1].aborted)


async def test_stall() -> None:
    server = OpenAIServer(scenario(Fault("stall", turn=0, after_ms=300)))
    got: list[ChatCompletionChunk] = []
    async with serving(server) as client:
        with pytest.raises(openai.APITimeoutError):
            await read_into(got, client.with_options(timeout=0.2), "what are your hours")
        await until(lambda: server.requests[0].aborted)
    assert text_of(got) == "We are"


async def test_garbage() -> None:
    got: list[ChatCompletionChunk] = []
    async with serving(OpenAIServer(scenario(Fault("garbage", turn=0)))) as client:
        with pytest.raises(json.JSONDecodeError):
            await read_into(got, client, "what are your hours")
    assert text_of(got) == "We are"


async def test_close() -> None:
    server = OpenAIServer(scenario(Fault("close", turn=0)))
    got: list[ChatCompletionChunk] = []
    async with serving(server) as client:
        with pytest.raises(openai.APIConnectionError):
            await read_into(got, client, "what are your hours")
    assert text_of(got) == "We are"
    assert not server.requests[0].aborted


async def test_error() -> None:
    got: list[ChatCompletionChunk] = []
    async with serving(OpenAIServer(scenario(Fault("error", turn=0, after_ms=0)))) as client:
        with pytest.raises(openai.APIError, match="had an error"):
            await read_into(got, client, "what are your hours")
    assert [chunk.choices[0].delta.role for chunk in got] == ["assistant"]


@pytest.mark.parametrize("kind", ["stall", "garbage", "close", "error"])
async def test_faults_of_an_answer_in_one_piece(kind: Any) -> None:
    async with serving(OpenAIServer(scenario(Fault(kind, turn=None))), timeout=0.2) as client:
        with pytest.raises((openai.APIError, json.JSONDecodeError)):
            await client.chat.completions.create(model=MODEL, messages=asks())


async def test_a_fault_is_of_one_turn_and_session() -> None:
    server = OpenAIServer(scenario(Fault("refuse", turn=1, session=1, status=503)))
    async with serving(server) as client:
        await stream(client, "hi")
        await stream(client, "hi", "there")
        with pytest.raises(openai.InternalServerError):
            await stream(client, "hi", "there")
        await stream(client, "hi", "there")


async def test_hanging_up_in_mid_stream_is_seen() -> None:
    server = OpenAIServer(scenario(), tokens_per_second=20)
    async with serving(server) as client:
        streaming = await client.chat.completions.create(model=MODEL, messages=asks("what are your hours"), stream=True)
        await anext(aiter(streaming))
        await streaming.close()
        await until(lambda: server.requests[0].aborted)


async def test_tokens_come_at_their_pace() -> None:
    clock = asyncio.get_running_loop()
    server = OpenAIServer(scenario(), first_token_ms=100, tokens_per_second=50)
    async with serving(server) as client:
        began = clock.time()
        await stream(client, "what are your hours")
    assert clock.time() - began >= 0.1 + (len(HOURS.split()) - 1) / 50


async def speak(client: AsyncOpenAI, into: bytearray | None = None, **options: Any) -> bytes:
    heard = bytearray() if into is None else into
    asked = {"model": "tts-1", "voice": "nova", "input": HOURS, "response_format": "pcm", **options}
    async with client.audio.speech.with_streaming_response.create(**asked) as response:
        assert response.headers["Content-Type"].startswith("audio/")
        async for piece in response.iter_bytes():
            heard += piece
    return bytes(heard)


async def test_speech_is_tones() -> None:
    server = OpenAIServer(scenario())
    async with serving(server) as client:
        assert await speak(client) == spoken(HOURS, SPEECH_RATE)
        wav = await speak(client, response_format="wav", speed=1.5, stream_format="audio")
    assert wav[:4] + wav[8:12] == b"RIFFWAVE"
    assert int.from_bytes(wav[24:28], "little") == SPEECH_RATE
    assert wav[44:] == spoken(HOURS, SPEECH_RATE)
    assert server.requests[1].body["speed"] == 1.5
    assert server.violations == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"response_format": "mp3"}, "pcm and wav"),
        ({"response_format": openai.omit}, "pcm and wav"),
        ({"response_format": "pcm16"}, "response_format"),
        ({"voice": "nobody"}, "nobody"),
        ({"input": ""}, "too short"),
        ({"input": "x" * 4097}, "too long"),
        ({"speed": 5}, "speed"),
        ({"stream_format": "sse"}, "audio only"),
        ({"extra_body": {"format": "pcm"}}, "Unknown parameter: 'format'"),
    ],
)
async def test_bad_speech_is_refused(options: dict[str, Any], words: str) -> None:
    async with serving(OpenAIServer(scenario())) as client:
        with pytest.raises(openai.BadRequestError, match=words):
            await speak(client, **options)


async def test_speech_refused_slow_or_failed() -> None:
    faults = [
        Fault("refuse", turn=0, status=429),
        Fault("slow", turn=1, seconds=30),
        Fault("error", turn=2),
    ]
    async with serving(OpenAIServer(scenario(*faults))) as client:
        with pytest.raises(openai.RateLimitError):
            await speak(client)
        with pytest.raises(openai.APITimeoutError):
            await speak(client.with_options(timeout=0.1))
        with pytest.raises(openai.InternalServerError):
            await speak(client)
        assert await speak(client) == spoken(HOURS, SPEECH_RATE)


@pytest.mark.parametrize("kind", ["stall", "close"])
@pytest.mark.parametrize("after_ms", [0, 300, 1e6])
async def test_speech_that_breaks_off(kind: Any, after_ms: float) -> None:
    server = OpenAIServer(scenario(Fault(kind, turn=0, after_ms=after_ms)))
    heard = bytearray()
    async with serving(server) as client:
        with pytest.raises((openai.APIConnectionError, *HTTP_ERRORS)):
            await speak(client.with_options(timeout=0.3), heard)
        await until(lambda: server.requests[0].aborted == (kind == "stall"))
    whole = spoken(HOURS, SPEECH_RATE)
    assert bytes(heard) == whole[: round(after_ms * SPEECH_RATE / 1000) * 2]


async def test_speech_that_is_a_page() -> None:
    async with serving(OpenAIServer(scenario(Fault("garbage", turn=0)))) as client:
        page = await client.audio.speech.create(model="tts-1", voice="nova", input="hi", response_format="pcm")
    assert page.response.headers["Content-Type"].startswith("text/html")


async def test_speech_comes_at_its_pace() -> None:
    clock = asyncio.get_running_loop()
    async with serving(OpenAIServer(scenario(), speech_pace=10)) as client:
        began = clock.time()
        heard = await speak(client, input="one two three four five")
    assert clock.time() - began >= len(heard) / (2 * SPEECH_RATE * 10)

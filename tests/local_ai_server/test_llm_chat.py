"""The chat backend against a small server of its own that streams as Ollama, vLLM and llama.cpp do."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from local_ai_server.agent import Agent
from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import Act, Piece, Verdict
from local_ai_server.llm.chat import Chat
from local_ai_server.llm.completion import LONGEST
from local_ai_server.llm.endpoint import Endpoint
from local_ai_server.tools import Tool
from tests.waiting import until

AGENT = Agent("demo", prompt="You work at the front desk.")
RECORD = (("agent", "Hello."), ("caller", "When are you open?"))
KEY = "sk-secret"

Handle = Callable[["Server", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class Server:
    """Streams the same words to everyone, or whatever ``handle`` does."""

    def __init__(self, words: Sequence[str] = ("We ", "are ", "open."), handle: Handle | None = None) -> None:
        self.words = words
        self.handle = handle
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closed = 0
        """Streams the client left before they were over."""
        self.url = ""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        if self.handle:
            return await self.handle(self, request, body)
        return await self.stream(request, [says(word) for word in self.words])

    async def stream(
        self, request: web.Request, chunks: Sequence[dict[str, Any]], pause: asyncio.Event | None = None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for chunk in chunks:
                await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            if pause:
                await pause.wait()
            await response.write(b": a comment\n\ndata: [DONE]\n\n")
        except (ConnectionResetError, asyncio.CancelledError):
            self.closed += 1
            raise
        return response


def says(text: str | None, **more: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "delta": {"content": text, **more}}]}


def calls(name: str) -> dict[str, Any]:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return says(None, tool_calls=[call])


@asynccontextmanager
async def talking_to(server: Server, **endpoint: Any) -> AsyncIterator[Chat]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_get("/v1/models", list_models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}/v1"
    chat = Chat(Endpoint(**{"url": server.url, "model": "small", **endpoint}))
    await chat.start()
    try:
        yield chat
    finally:
        await chat.close()
        await runner.cleanup()


async def list_models(request: web.Request) -> web.Response:
    return web.json_response({"data": []})


async def answer(chat: Chat, record: Sequence[tuple[str, str]] = RECORD, agent: Agent = AGENT) -> list[Piece]:
    return [piece async for piece in chat.answer(agent, tuple(record))]


async def test_tokens_come_as_they_are_made() -> None:
    pause = asyncio.Event()

    async def half(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await server.stream(request, [says("We "), says("are")], pause)

    async with talking_to(Server(handle=half)) as chat, aclosing(chat.answer(AGENT, RECORD)) as pieces:
        assert [await anext(pieces), await anext(pieces)] == ["We ", "are"]
        pause.set()
        assert [piece async for piece in pieces] == []


async def test_what_the_server_is_sent() -> None:
    server = Server()
    async with talking_to(server, key=KEY) as chat:
        assert await answer(chat) == ["We ", "are ", "open."]
        await answer(chat, [*RECORD, ("caller", "Hello?"), ("agent", "At nine."), ("caller", "Thanks.")])
    first, second = server.asked
    assert first["model"] == "small"
    assert first["stream"] is True
    assert [tool["function"]["name"] for tool in first["tools"]] == ["hangup", "transfer"]
    system, question = first["messages"]
    assert system["role"] == "system"
    assert system["content"].startswith(AGENT.prompt)
    assert "Hello." in system["content"]
    assert "[hangup]" not in system["content"]
    assert question == {"role": "user", "content": "When are you open?"}
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "user"]
    assert second["messages"][1]["content"] == "When are you open?\nHello?"
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_without_a_key_none_is_sent() -> None:
    server = Server()
    async with talking_to(server) as chat:
        await answer(chat)
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("name", ["hangup", "transfer"])
async def test_a_tool_call_is_an_act(name: str) -> None:
    async def act(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await server.stream(request, [calls(name), says("Goodbye."), calls(name), calls("dance")])

    async with talking_to(Server(handle=act)) as chat:
        assert await answer(chat) == ["Goodbye.", Act(name)]


LOOK_UP = Tool("look_up", "Looks it up.", {"type": "object", "required": ["what"]})


def part(arguments: str, index: int | None = 0, **more: Any) -> dict[str, Any]:
    """A piece of a tool call; ``more``: ``id``, ``name``."""
    function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
    return says(None, tool_calls=[{**({} if index is None else {"index": index}), **more, "function": function}])


@pytest.mark.parametrize(
    ("chunks", "acts"),
    [
        ([part("", id="1", name="look_up"), part('{"what": '), part('"hours"}')], [{"what": "hours"}]),
        (
            [part('{"what": "a"}', id="1", name="look_up"), part('{"what": "b"}', 1, id="2", name="look_up")],
            [{"what": "a"}, {"what": "b"}],
        ),
        (
            [part('{"what": "a"}', id="1", name="look_up"), part('{"what": "b"}', 0, id="2", name="look_up")],
            [{"what": "a"}, {"what": "b"}],
        ),
        ([part('{"what": "a"}', None, id="1", name="look_up")], [{"what": "a"}]),
        ([part('{"what": ', id="1", name="look_up")], [{}]),
        ([part("[1]", id="1", name="look_up")], [{}]),
    ],
)
async def test_the_clients_tools_are_asked_for_with_arguments(
    chunks: list[dict[str, Any]], acts: list[dict[str, Any]]
) -> None:
    async def act(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await server.stream(request, [*chunks, part("{}", 7, id="9", name="hangup")])

    server = Server(handle=act)
    async with talking_to(server) as chat:
        made = [piece async for piece in chat.answer(AGENT, RECORD, (LOOK_UP,))]
    assert made == [Act("look_up", arguments) for arguments in acts]
    [told] = server.asked[0]["tools"]
    assert told["function"] == {
        "name": "look_up", "description": "Looks it up.", "parameters": {"type": "object", "required": ["what"]}
    }  # fmt: skip


async def test_what_came_of_a_tool_is_told_as_such() -> None:
    server = Server()
    record = (*RECORD, ("agent", "One moment."), ("tool", 'look_up({"what": "a) -> b"}) -> {"ok": true}'))
    async with talking_to(server) as chat:
        for tools in ((LOOK_UP,), ()):
            assert [piece async for piece in chat.answer(AGENT, record, tools)] == ["We ", "are ", "open."]
    asked, plain = server.asked
    *_, used, result = asked["messages"]
    [call] = used["tool_calls"]
    assert (used["role"], used["content"]) == ("assistant", "One moment.")
    assert call["function"] == {"name": "look_up", "arguments": '{"what": "a) -> b"}'}
    assert result == {"role": "tool", "tool_call_id": call["id"], "content": '{"ok": true}'}
    assert "tools" not in plain
    assert plain["messages"][-1]["role"] == "user"
    assert "look_up" in plain["messages"][-1]["content"]


async def test_marks_and_thoughts_are_not_spoken() -> None:
    words = ("<thi", "nk>He wants to go.</think>", "\n\nGood", "bye! [ha", "ngup]")
    async with talking_to(Server(words)) as chat:
        assert await answer(chat) == ["Good", "bye! ", Act("hangup")]


async def test_an_answer_without_a_word_is_none() -> None:
    async with talking_to(Server(["", "\n"])) as chat:
        assert await answer(chat) == [Verdict.NOT_UNDERSTOOD]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "registry.ollama.ai/library/tiny:latest does not support tools"),
        (500, "tools param requires --jinja flag"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    ],
)
async def test_a_server_without_tools_is_told_of_marks(status: int, message: str) -> None:
    async def refuse(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "tools" in body:
            return web.json_response({"error": {"message": message}}, status=status)
        return await server.stream(request, [says("Bye. [hangup]")])

    server = Server(handle=refuse)
    async with talking_to(server) as chat:
        assert await answer(chat) == ["Bye. ", Act("hangup")]
        assert await answer(chat) == ["Bye. ", Act("hangup")]
    assert ["tools" in body for body in server.asked] == [True, False, False]
    assert "[hangup]" in server.asked[1]["messages"][0]["content"]


LONG_CALL = [(("caller", "agent")[i % 2], f"words {i}") for i in range(21)]
TOO_LONG = {"error": {"code": "context_length_exceeded", "message": "maximum context length is 4096 tokens"}}


@pytest.mark.parametrize("in_stream", [False, True])
async def test_the_oldest_turns_are_left_out_of_a_long_call(in_stream: bool) -> None:
    async def short_of_memory(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if len(body["messages"]) <= 6:
            return await server.stream(request, [says("Yes.")])
        return await server.stream(request, [TOO_LONG]) if in_stream else web.json_response(TOO_LONG, status=400)

    server = Server(handle=short_of_memory)
    async with talking_to(server) as chat:
        assert await answer(chat, LONG_CALL) == ["Yes."]
    last = server.asked[-1]["messages"]
    assert [message["role"] for message in last[:2]] == ["system", "user"]
    assert last[-1] == {"role": "user", "content": "words 20"}
    assert len(server.asked) == 3


async def test_what_cannot_be_shortened_is_lost() -> None:
    async def refuse(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(TOO_LONG, status=400)

    async with talking_to(Server(handle=refuse)) as chat:
        with pytest.raises(JobFailed, match="answered 400: maximum context length is 4096 tokens"):
            await answer(chat, LONG_CALL)


async def test_a_context_that_runs_out_in_mid_answer_does_not_begin_it_again() -> None:
    async def run_out(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await server.stream(request, [says("We are"), TOO_LONG])

    server = Server(handle=run_out)
    async with talking_to(server) as chat:
        with pytest.raises(JobFailed, match="context"):
            await answer(chat, LONG_CALL)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (lambda: web.json_response({"error": "out of memory"}, status=500), "answered 500: out of memory"),
        (lambda: web.Response(status=502, text="<html>\nBad gateway"), "answered 502: <html> Bad gateway"),
        (lambda: web.json_response({"error": f"Bad key {KEY}"}, status=401), "LOCAL_AI_LLM_KEY is missing, or refused"),
        (lambda: web.json_response({"error": f"{KEY} is out of credit"}, status=429), r"429: \*\*\* is out of credit"),
        (lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:9/"}), "answered 307"),
        (lambda: web.json_response({"choices": []}), "application/json instead of text/event-stream"),
        (lambda: web.Response(text="data: {oops\n\n", content_type="text/event-stream"), "failed"),
        (lambda: web.Response(text="data: [1]\n\n", content_type="text/event-stream"), "no chat completion"),
        (lambda: web.Response(text='data: {"choices": [7]}\n\n', content_type="text/event-stream"), "no chat compl"),
    ],
)
async def test_a_server_that_fails_loses_the_answer(response: Callable[[], web.Response], expected: str) -> None:
    async def fail(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return response()

    async with talking_to(Server(handle=fail), key=KEY) as chat:
        with pytest.raises(JobFailed, match=expected) as failure:
            await answer(chat)
    assert KEY not in str(failure.value)


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    chat = Chat(Endpoint(f"http://127.0.0.1:{port}/v1", "small"))
    await chat.start()
    with pytest.raises(JobFailed, match="server failed"):
        await answer(chat)
    await chat.close()


async def test_a_server_that_dies_in_mid_answer_loses_it() -> None:
    async def die(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + json.dumps(says("We ")).encode() + b"\n\n")
        assert request.transport
        request.transport.close()
        return response

    async with talking_to(Server(handle=die)) as chat, aclosing(chat.answer(AGENT, RECORD)) as pieces:
        assert await anext(pieces) == "We "
        with pytest.raises(JobFailed, match="server failed"):
            await anext(pieces)


@pytest.mark.parametrize("chunks", [[], [says("We ")], [says(None, reasoning_content="hm")] * 3])
async def test_a_server_that_says_nothing_more_is_given_up(chunks: list[dict[str, Any]]) -> None:
    async def stall(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await server.stream(request, chunks, asyncio.Event())

    server = Server(handle=stall)
    async with talking_to(server, patience_seconds=0.2) as chat:
        with pytest.raises(JobFailed, match=r"said nothing for 0\.2 s"):
            await answer(chat)
        await until(lambda: server.closed == 1)


async def test_patience_is_with_the_model_and_not_with_the_one_who_listens() -> None:
    async with (
        talking_to(Server(["We ", "are."]), patience_seconds=0.3) as chat,
        aclosing(chat.answer(AGENT, RECORD)) as pieces,
    ):
        assert await anext(pieces) == "We "
        await asyncio.sleep(0.4)
        assert [piece async for piece in pieces] == ["are."]


async def test_closing_the_answer_ends_the_request() -> None:
    async def endless(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await server.stream(request, [says("We ")], asyncio.Event())

    server = Server(handle=endless)
    async with talking_to(server) as chat:
        async with aclosing(chat.answer(AGENT, RECORD)) as pieces:
            assert await anext(pieces) == "We "
            assert server.closed == 0
        await until(lambda: server.closed == 1)


async def test_an_endless_answer_is_cut() -> None:
    async def babble(server: Server, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await server.stream(request, [says("again ")] * LONGEST, asyncio.Event())

    async with talking_to(Server(handle=babble)) as chat:
        said = "".join(piece for piece in await answer(chat) if isinstance(piece, str))
    assert LONGEST <= len(said) < LONGEST + 10


def test_it_understands_everything_but_silence_and_asides() -> None:
    chat = Chat(Endpoint("http://127.0.0.1:9/v1", "small"))
    assert chat.understands(AGENT, "banana", (), exactly=False)
    assert not chat.understands(AGENT, "  ", (), exactly=False)
    assert not chat.understands(AGENT, "no", (), exactly=True)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(Endpoint("http://127.0.0.1/v1", "small", KEY))

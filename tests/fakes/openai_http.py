"""A stand-in for an OpenAI-compatible server of chat and speech, over a real loopback socket.

server = OpenAIServer(scenario)
async with server.listening():
    client = AsyncOpenAI(api_key=server.key, base_url=server.url)
    ...
server.requests        # what came, in order: path, JSON body, aborted
server.violations      # why the fake refused what came; [] when the client did all right

A chat is answered by the words of its last user message. A fault's ``turn`` is the number of user messages in a chat's
request, less one, and its ``session`` how many requests before had that turn; for speech the ``turn`` is the number of
the request. One server knows both, so give the two their own when only one shall fail.

Of an answer that fails midway ``after_ms`` goes out first: sound, or as many tokens as ``word_tones`` makes of it.
``refuse`` with 429 says ``Retry-After`` the fault's ``seconds``. There is no ``limit``. In speech, which has no form to
break, ``garbage`` is a page of HTML with status 200 and ``error`` status 500. ``speed`` is checked and not heard.
"""

import asyncio
import json
import math
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeAlias

from aiohttp import web

from tests.fakes.openai_chat import answer, chunks, completion, turn_number
from tests.fakes.openai_faults import KINDS, NEVER, Request, break_off, failure, reset, send_event, tokens_of
from tests.fakes.openai_refusals import CHAT_MODELS, SPEECH_MODELS, Refused, bad, check_chat, check_speech
from tests.fakes.scenario import Fault, Scenario
from tests.fakes.word_tones import spoken

SPEECH_RATE = 24000
"""Hz, PCM16 mono."""

_PIECE_SECONDS = 0.1

Json: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[web.Request, Request], Awaitable[web.StreamResponse]]


class OpenAIServer:
    """The server."""

    def __init__(
        self,
        scenario: Scenario,
        key: str = "test-key",
        *,
        first_token_ms: float = 0,
        tokens_per_second: float | None = None,
        speech_pace: float | None = None,
    ) -> None:
        """``first_token_ms`` is for the first sound, too; ``speech_pace``: how many times real time; None: at once."""
        self.scenario = scenario
        self.key = key
        self.url = ""
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self._first_token_seconds = first_token_ms / 1000
        self._token_seconds = 1 / tokens_per_second if tokens_per_second else 0.0
        self._speech_pace = speech_pace
        self._ids = count(1)
        self._chats: Counter[int | None] = Counter()
        self._speeches = count()
        self._closing = False

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["OpenAIServer"]:
        """Serve on 127.0.0.1 while the block runs."""
        app = web.Application()
        app.router.add_get("/v1/models", self._answering(self._models))
        app.router.add_post("/v1/chat/completions", self._answering(self._chat))
        app.router.add_post("/v1/audio/speech", self._answering(self._speech))
        app.router.add_route("*", "/{rest:.*}", self._answering(self._unknown))
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            self._closing = True
            await runner.cleanup()

    def _answering(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            record = Request(request.method, request.path)
            self.requests.append(record)
            try:
                self._check_key(request)
                record.body = await _json_of(request) if request.method == "POST" else None
                response = await handler(request, record)
            except Refused as refused:
                self.violations.append(f"{record.method} {record.path}: {refused}")
                response = self._refusal(refused.status, refused.error)
            except (asyncio.CancelledError, ConnectionResetError):
                record.aborted = not (record.ended or self._closing)
                raise
            record.ended = True
            return response

        return handle

    def _check_key(self, request: web.Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            raise Refused(401, "You didn't provide an API key.")
        if key != self.key:
            # The vendor repeats the ends of the key, which is why its words are not for a log.
            raise Refused(401, f"Incorrect API key provided: {key[:8]}****{key[-4:]}.", code="invalid_api_key")

    async def _models(self, request: web.Request, record: Request) -> web.StreamResponse:
        known = [
            {"id": id, "object": "model", "created": 1700000000, "owned_by": "openai"}
            for id in (*CHAT_MODELS, *SPEECH_MODELS)
        ]
        return web.json_response({"object": "list", "data": known}, headers=self._headers())

    async def _unknown(self, request: web.Request, record: Request) -> web.StreamResponse:
        raise Refused(404, f"Invalid URL ({record.method} {record.path})")

    async def _chat(self, request: web.Request, record: Request) -> web.StreamResponse:
        check_chat(record.body)
        turn = turn_number(record.body)
        fault = self.scenario.fault(self._chats[turn], turn, *KINDS)
        self._chats[turn] += 1
        if refused := await self._begin(fault):
            return refused
        said = answer(record.body, self.scenario)
        if record.body.get("stream"):
            events = chunks(said, int(time.time()), record.body.get("stream_options") or {})
            return await self._stream(request, record, events, fault)
        await asyncio.sleep(self._first_token_seconds + self._token_seconds * len(said.tokens))
        whole = json.dumps(completion(said, int(time.time()))).encode()
        return await self._send_whole(request, record, whole, "application/json", fault)

    async def _stream(
        self, request: web.Request, record: Request, events: Sequence[Json], fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=self._headers("text/event-stream; charset=utf-8"))
        await response.prepare(request)
        await asyncio.sleep(self._first_token_seconds)
        last = next(number for number, event in enumerate(events) if _finish_reason(event))
        breaks_at = min(1 + tokens_of(fault), last) if fault else None
        for number, event in enumerate(events):
            if fault and number == breaks_at and await break_off(request, response, record, fault):
                return response
            if 1 < number < last:
                await asyncio.sleep(self._token_seconds)
            await send_event(response, json.dumps(event, ensure_ascii=False))
        record.ended = True
        await send_event(response, "[DONE]")
        return response

    async def _speech(self, request: web.Request, record: Request) -> web.StreamResponse:
        check_speech(record.body)
        turn = next(self._speeches)
        fault = self.scenario.fault(0, turn, *KINDS)
        if refused := await self._begin(fault):
            return refused
        if fault and fault.kind == "error":
            return self._refusal(500, failure(500))
        if fault and fault.kind == "garbage":
            page = "<html><body><h1>It works!</h1></body></html>"
            return web.Response(text=page, content_type="text/html")
        pcm = spoken(record.body["input"], SPEECH_RATE)
        is_wav = record.body["response_format"] == "wav"
        response = web.StreamResponse(headers=self._headers("audio/wav" if is_wav else "audio/pcm"))
        await response.prepare(request)
        await asyncio.sleep(self._first_token_seconds)
        if is_wav:
            await response.write(_wav_header())
        return await self._send_sound(request, response, record, pcm, fault)

    async def _send_sound(
        self, request: web.Request, response: web.StreamResponse, record: Request, pcm: bytes, fault: Fault | None
    ) -> web.StreamResponse:
        breaks_at = min(len(pcm), round(fault.after_ms * SPEECH_RATE / 1000) * 2) if fault else None
        # An odd number of bytes: where a sample ends is nothing that HTTP knows.
        size = int(2 * SPEECH_RATE * _PIECE_SECONDS) + 1
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size]
            if fault and breaks_at is not None and start + len(piece) >= breaks_at:
                await response.write(piece[: max(0, breaks_at - start)])
                if await break_off(request, response, record, fault):
                    return response
                piece, breaks_at = piece[max(0, breaks_at - start) :], None
            record.ended = start + size >= len(pcm)
            await response.write(piece)
            if self._speech_pace:
                await asyncio.sleep(len(piece) / (2 * SPEECH_RATE * self._speech_pace))
        return response

    async def _send_whole(
        self, request: web.Request, record: Request, whole: bytes, content_type: str, fault: Fault | None
    ) -> web.StreamResponse:
        match fault.kind if fault else None:
            case "stall":
                await asyncio.sleep(NEVER)
            case "garbage":
                whole = whole[: len(whole) // 2]
            case "error":
                return self._refusal(500, failure(500))
            case "close":
                response = web.StreamResponse(headers=self._headers(content_type))
                await response.prepare(request)
                await response.write(whole[: len(whole) // 2])
                await reset(request, record)
                return response
        return web.Response(body=whole, headers=self._headers(content_type))

    async def _begin(self, fault: Fault | None) -> web.Response | None:
        if fault and fault.kind == "refuse":
            headers = {"Retry-After": str(math.ceil(fault.seconds))} if fault.status == 429 else {}
            return self._refusal(fault.status, failure(fault.status), headers)
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        return None

    def _refusal(self, status: int, error: Json, headers: Mapping[str, str] | None = None) -> web.Response:
        return web.json_response({"error": error}, status=status, headers=self._headers() | dict(headers or {}))

    def _headers(self, content_type: str | None = None) -> dict[str, str]:
        headers = {"x-request-id": f"req_{next(self._ids):032d}"}
        return headers | ({"Content-Type": content_type} if content_type else {})


async def _json_of(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise bad("The body of the request must be application/json.")
    try:
        return await request.json()
    except ValueError:
        raise bad("We could not parse the JSON body of your request.") from None


def _finish_reason(event: Mapping[str, Any]) -> str | None:
    return next((choice["finish_reason"] for choice in event["choices"]), None)


def _wav_header() -> bytes:
    # Of a stream whose length is not known yet, as the vendor sends it.
    unknown = 0xFFFFFFFF
    form = struct.pack("<IHHIIHH", 16, 1, 1, SPEECH_RATE, 2 * SPEECH_RATE, 2, 16)
    return b"RIFF" + struct.pack("<I", unknown) + b"WAVEfmt " + form + b"data" + struct.pack("<I", unknown)

"""Any server with OpenAI's chat completions: Ollama, vLLM, llama.cpp's."""

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import aiohttp
import structlog

from local_ai_server.agent import Agent
from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import Piece
from local_ai_server.llm.completion import pieces_of
from local_ai_server.llm.endpoint import Endpoint
from local_ai_server.llm.messages import Record, messages_of, schemas_of, without_oldest
from local_ai_server.tools import OWN, Tools

_KEPT_SECONDS = 3.0
"""An idle connection is closed by us before the servers do (5 s and more): a request must not run into their close."""
_PROBE_SECONDS = 5.0
_LONGEST_REASON = 200
_STREAM = "text/event-stream"
_log = structlog.get_logger()


class _Refusal(Exception):
    """The server said no."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the language model's server answered {status}: {reason}")
        self.reason = reason

    @property
    def is_about_tools(self) -> bool:
        return re.search(r"\btools?\b|tool_", self.reason, re.IGNORECASE) is not None

    @property
    def is_about_length(self) -> bool:
        return re.search(r"context|too long|inputs` tokens", self.reason, re.IGNORECASE) is not None


class Chat:
    """Streams each answer. A server that turns out to take no tools is told of marks from then on."""

    device = "remote"
    languages: tuple[str, ...] = ()

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._http: aiohttp.ClientSession | None = None
        self._takes_tools = True

    async def start(self) -> None:
        """Connects; a server that is not there yet may come later, and is only warned of."""
        key = self._endpoint.key
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=None),  # pieces_of keeps the time
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
        )
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        try:
            async with self._http.get(self._url("models"), timeout=timeout, allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refusal(response.status, await response.text(errors="replace"))
        except (aiohttp.ClientError, TimeoutError, _Refusal) as error:
            _log.warning("the language model cannot be reached yet", url=self._endpoint.url, reason=_why(error))

    async def prepare(self, agent: Agent) -> None:
        """The server keeps nothing of an agent."""

    async def answer(self, agent: Agent, record: Record, tools: Tools = OWN) -> AsyncGenerator[Piece, None]:
        async with (
            aclosing(self._chunks(agent, record, tools)) as chunks,
            aclosing(pieces_of(chunks, self._endpoint.patience_seconds, tools)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    def understands(self, agent: Agent, text: str, record: tuple[tuple[str, str], ...], *, exactly: bool) -> bool:
        """Everything but what has a meaning of its own: it has no wording that would go before that."""
        return not exactly and bool(text.strip())

    async def close(self) -> None:
        if self._http:
            await self._http.close()

    async def _chunks(self, agent: Agent, record: Record, tools: Tools) -> AsyncGenerator[Mapping[str, Any], None]:
        """The completion's chunks; asked for differently where the server refuses to begin. Raises JobFailed."""
        while True:
            has_begun = False
            with_tools = self._takes_tools and bool(tools)
            try:
                async with aclosing(self._ask(agent, record, tools, with_tools)) as chunks:
                    async for chunk in chunks:
                        has_begun = True
                        yield chunk
                return
            except _Refusal as refusal:
                shorter = without_oldest(record)
                if has_begun:
                    raise JobFailed(str(refusal)) from None
                if with_tools and refusal.is_about_tools:
                    self._takes_tools = False
                    _log.info("the language model is told of marks instead of tools", reason=refusal.reason)
                elif shorter and refusal.is_about_length:
                    record = shorter
                    _log.info("the oldest turns are left out", turns_left=len(record), reason=refusal.reason)
                else:
                    raise JobFailed(str(refusal)) from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise JobFailed(f"the language model's server failed: {_why(error)}") from None

    async def _ask(
        self, agent: Agent, record: Record, tools: Tools, with_tools: bool
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """One attempt. Raises _Refusal; ClientError, OSError or ValueError where it is no answer at all."""
        assert self._http, "start comes first"
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": messages_of(agent, record, tools, marks=not with_tools),
            "stream": True,
        }
        if with_tools:
            body["tools"] = schemas_of(tools)
        async with self._http.post(self._url("chat/completions"), json=body, allow_redirects=False) as response:
            if response.status != HTTPStatus.OK:
                raise self._refusal(response.status, await response.text(errors="replace"))
            if response.content_type != _STREAM:
                raise ValueError(f"it sent {response.content_type} instead of {_STREAM}")
            async for chunk in _events(response.content):
                if chunk.get("error"):
                    raise self._refusal(response.status, json.dumps(chunk))
                yield chunk

    def _url(self, path: str) -> str:
        return f"{self._endpoint.url}/{path}"

    def _refusal(self, status: int, body: str) -> _Refusal:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return _Refusal(status, "LOCAL_AI_LLM_KEY is missing, or refused")
        reason = _reason(body)
        return _Refusal(status, reason.replace(self._endpoint.key, "***") if self._endpoint.key else reason)


async def _events(content: aiohttp.StreamReader) -> AsyncGenerator[Mapping[str, Any], None]:
    """The objects of a stream of server-sent events, up to its ``[DONE]``. Raises ValueError."""
    async for line in content:
        name, _, data = line.decode().strip().partition(":")
        if name != "data":
            continue
        if data.strip() == "[DONE]":
            return
        event = json.loads(data)
        if not isinstance(event, dict):
            raise ValueError("it sent something that is no chat completion")
        yield event


def _reason(body: str) -> str:
    """What the body of an error says, wherever a server puts it, on one line."""
    try:
        said = json.loads(body)
    except ValueError:
        said = body
    while isinstance(said, dict):
        said = next((said[key] for key in ("error", "message", "detail") if key in said), "")
    return " ".join(str(said).split())[:_LONGEST_REASON] or "no reason given"


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__

"""Any server that speaks OpenAI's chat completions: OpenAI itself, Ollama, vLLM, llama.cpp."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.ports import Message, Piece, ToolCall, Usage
from ai_engine.remote.http import server_sent
from ai_engine.session.ports import Briefing, Fitting, ToolSpec
from ai_engine.settings import HttpUrl, KeyName, Section

_BROKEN = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What reading a chunk that is not as documented can raise."""


class OpenAIChatSettings(Section):
    """A language model behind OpenAI's chat completions."""

    type: Literal["openai"] = "openai"
    """Which kind of language model this is."""
    url: HttpUrl = "https://api.openai.com/v1"
    """Where `/chat/completions` is: `http://127.0.0.1:11434/v1` for Ollama, `http://127.0.0.1:8000/v1` for vLLM."""
    key: KeyName | None = "OPENAI_API_KEY"
    """The variable in `.env` that holds the key; null for a server that wants none."""
    model: str = "gpt-4o-mini"
    """As the server names it."""
    temperature: float | None = None
    """0 to 2; null leaves it to the server."""
    max_tokens: int | None = None
    """The longest answer; null leaves it to the server."""
    extra: Mapping[str, Any] = {}
    """Whatever else the server understands, as it is sent: `{reasoning_effort: minimal}`."""


@dataclass(slots=True)
class _Call:
    """A tool call as it comes in pieces."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class OpenAIChat:
    """Implements ``LanguageModel``."""

    name = "openai"
    reads_prompt = True

    def __init__(self, settings: OpenAIChatSettings, fitting: Fitting) -> None:
        self._settings = settings
        self._http = fitting.http
        self._headers = {"Authorization": f"Bearer {fitting.keys[settings.key]}"} if settings.key else {}

    async def start(self, briefing: Briefing) -> None:
        """Nothing: each answer is a request of its own."""

    async def close(self) -> None:
        """The connections are shared by all calls."""

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> AsyncGenerator[Piece, None]:
        calls: list[_Call] = []
        url = f"{self._settings.url.rstrip('/')}/chat/completions"
        async with (
            self._http.post(self.name, url, self._body(messages, tools), self._headers) as response,
            aclosing(server_sent(self.name, response)) as chunks,
        ):
            async for chunk in chunks:
                try:
                    for piece in _pieces(chunk, calls):
                        yield piece
                except _BROKEN as error:
                    raise ProviderError(f"{self.name} sent a broken chunk: {error!r}") from error
        for number, call in enumerate(calls):
            yield ToolCall(call.id or f"call_{number}", call.name, call.arguments or "{}")

    def _body(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [_message(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tools:
            body["tools"] = [_tool(tool) for tool in tools]
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if settings.max_tokens is not None:
            body["max_completion_tokens"] = settings.max_tokens
        return {**body, **settings.extra}


def _pieces(chunk: dict[str, Any], calls: list[_Call]) -> list[Piece]:
    """What is in a chunk; pieces of tool calls go into ``calls``."""
    pieces: list[Piece] = []
    if usage := chunk.get("usage"):
        units = {name: float(usage[name]) for name in ("prompt_tokens", "completion_tokens") if name in usage}
        pieces.append(Usage(units))
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        if text := delta.get("content"):
            pieces.append(str(text))
        for part in delta.get("tool_calls") or ():
            call = _call(int(part.get("index") or 0), part.get("id") or "", calls)
            function = part.get("function") or {}
            call.name += function.get("name") or ""
            call.arguments += function.get("arguments") or ""
    return pieces


def _call(index: int, id: str, calls: list[_Call]) -> _Call:
    """The one that a piece belongs to; some servers give all calls of an answer the same index, or none."""
    for call in reversed(calls):
        if call.index == index and (id in ("", call.id) or not call.id):
            call.id = call.id or id
            return call
    calls.append(_Call(index, id))
    return calls[-1]


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.call_id, "content": message.text}
    said: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        said["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    return said


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}

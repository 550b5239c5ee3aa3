"""A streamed chat completion, in OpenAI's shape, as the pieces of an answer."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import Act, Piece, Verdict
from local_ai_server.llm.marks import MarkFilter, markable
from local_ai_server.tools import OWN, Tools

LONGEST = 4000
"""Characters of one answer, some four minutes of speech; a model that says more has lost its way."""

PATIENCE_SECONDS = 20.0
"""A caller who hears nothing new for so long is told the agent's fallback."""


@dataclass(slots=True)
class _Call:
    """A tool call as it comes in pieces."""

    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""

    def act(self) -> Act:
        """Arguments that are no JSON object are none: the engine says which are missing."""
        try:
            arguments = json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = {}
        return Act(self.name, arguments if isinstance(arguments, dict) else {})


class Completion:
    """Feed chunks, get what is to be spoken; ``finish`` says what is to be done."""

    def __init__(self, tools: Tools = OWN) -> None:
        self._names = frozenset(tool.name for tool in tools)
        self._marks = MarkFilter(tuple(tool.name for tool in markable(tools)))
        self._marked: list[Act] = []
        self._calls: list[_Call] = []
        self.spoken = 0
        """Characters so far."""

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[str]:
        """Raises JobFailed where ``chunk`` is none."""
        try:
            deltas = [choice.get("delta") or {} for choice in chunk.get("choices") or ()]
            said = "".join(delta.get("content") or "" for delta in deltas)
            for part in (part for delta in deltas for part in delta.get("tool_calls") or ()):
                self._take(part)
        except (AttributeError, TypeError):
            raise JobFailed("the language model sent something that is no chat completion") from None
        yield from self._speak(self._marks.feed(said))

    def finish(self) -> Iterator[Piece]:
        yield from self._speak(self._marks.flush())
        acts: list[Act] = []
        for act in (*self._marked, *(call.act() for call in self._calls)):
            if act.name in self._names and act not in acts:
                acts.append(act)
        yield from acts
        if not self.spoken and not acts:
            yield Verdict.NOT_UNDERSTOOD

    def _take(self, part: Mapping[str, Any]) -> None:
        """A piece of a tool call: of the latest with its number, unless id or name say otherwise.

        Some servers give all calls the same number, or none; they send each of them whole.
        """
        function = part.get("function") or {}
        index, id, name = part.get("index"), part.get("id") or "", function.get("name") or ""
        call = next((each for each in reversed(self._calls) if each.index == index), None)
        if call is None or (id and call.id not in ("", id)) or (name and call.name not in ("", name)):
            call = _Call(index)
            self._calls.append(call)
        call.id, call.name = id or call.id, name or call.name
        call.arguments += function.get("arguments") or ""

    def _speak(self, pieces: list[str | Act]) -> Iterator[str]:
        for piece in pieces:
            if isinstance(piece, Act):
                self._marked.append(piece)
                continue
            text = piece if self.spoken else piece.lstrip()
            if text:
                self.spoken += len(text)
                yield text


async def pieces_of(
    chunks: AsyncGenerator[Mapping[str, Any], None], patience_seconds: float, tools: Tools = OWN
) -> AsyncGenerator[Piece, None]:
    """The answer in ``chunks``. Raises JobFailed where there is nothing new to speak for ``patience_seconds``."""
    completion = Completion(tools)
    now = asyncio.get_running_loop().time
    deadline = now() + patience_seconds
    while completion.spoken < LONGEST:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise JobFailed(f"the language model said nothing for {patience_seconds:g} s") from None
        if chunk is None:
            break
        for text in completion.feed(chunk):
            yield text
            deadline = now() + patience_seconds
    for piece in completion.finish():
        yield piece

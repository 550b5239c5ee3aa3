"""A streamed chat completion, in OpenAI's shape, as the pieces of an answer."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

from local_ai_server.agent import ACTIONS
from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import Act, Piece, Verdict
from local_ai_server.llm.marks import MarkFilter

LONGEST = 4000
"""Characters of one answer, some four minutes of speech; a model that says more has lost its way."""

PATIENCE_SECONDS = 20.0
"""A caller who hears nothing new for so long is told the agent's fallback."""


class Completion:
    """Feed chunks, get what is to be spoken; ``finish`` says what is to be done."""

    def __init__(self) -> None:
        self._marks = MarkFilter(ACTIONS)
        self._acts: list[Act] = []
        self.spoken = 0
        """Characters so far."""

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[str]:
        """Raises JobFailed where ``chunk`` is none."""
        try:
            deltas = [choice.get("delta") or {} for choice in chunk.get("choices") or ()]
            said = "".join(delta.get("content") or "" for delta in deltas)
            names = [(call.get("function") or {}).get("name") for d in deltas for call in d.get("tool_calls") or ()]
        except (AttributeError, TypeError):
            raise JobFailed("the language model sent something that is no chat completion") from None
        yield from self._speak(self._marks.feed(said))
        self._act([Act(name) for name in names if name in ACTIONS])

    def finish(self) -> Iterator[Piece]:
        yield from self._speak(self._marks.flush())
        yield from self._acts
        if not self.spoken and not self._acts:
            yield Verdict.NOT_UNDERSTOOD

    def _speak(self, pieces: list[str | Act]) -> Iterator[str]:
        for piece in pieces:
            if isinstance(piece, Act):
                self._act([piece])
                continue
            text = piece if self.spoken else piece.lstrip()
            if text:
                self.spoken += len(text)
                yield text

    def _act(self, acts: list[Act]) -> None:
        self._acts += [act for act in acts if act not in self._acts]


async def pieces_of(
    chunks: AsyncGenerator[Mapping[str, Any], None], patience_seconds: float
) -> AsyncGenerator[Piece, None]:
    """The answer in ``chunks``. Raises JobFailed where there is nothing new to speak for ``patience_seconds``."""
    completion = Completion()
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

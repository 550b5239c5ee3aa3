"""The models that serve calls together, of one choice of the operator's."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict

from local_ai_server import protocol
from local_ai_server.backends import Card
from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import LanguageModel, Queued
from local_ai_server.workers import WorkerPool


class Crew:
    """A pool that hears and speaks, and a model that answers; either may be part of another crew too."""

    def __init__(
        self, backends: protocol.Backends, pool: WorkerPool, model: LanguageModel, card: Card | None = None
    ) -> None:
        """``card``: of the language model."""
        self.backends = backends
        self.pool = pool
        self.model = model
        self.card = card
        self.users = 0
        """Sessions that are with it, or about to be."""
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def names(self) -> dict[str, str]:
        return asdict(self.backends)

    @property
    def takes_notes(self) -> bool:
        """The embedded dialog reads no prompt: there is nothing a note would change."""
        return self.backends.llm != "intents"

    @property
    def cards(self) -> Mapping[str, Card]:
        """By kind; those that are known."""
        return {**self.pool.cards, **({"llm": self.card} if self.card else {})}

    def enter(self) -> None:
        """One more session uses it."""
        self.users += 1
        self._unused.clear()

    def leave(self) -> None:
        """One session uses it no more."""
        self.users -= 1
        if not self.users:
            self._unused.set()

    async def unused(self) -> None:
        """Wait until no session uses it."""
        await self._unused.wait()

    async def prepare(self, start: protocol.Start) -> tuple[int, int]:
        """Warm the parts a client wants for its agent; ``(input_rate, output_rate)`` in Hz, 0 without the part.

        Raises AgentError, JobFailed.
        """
        if "llm" in start.parts:
            await self.model.prepare(start.agent)
        sound = start.parts & {"stt", "tts"}
        if not sound:
            return 0, 0
        prepared: list[tuple[int, int]] = await self.pool.run_everywhere("prepare", start.agent, sound)
        if not prepared:
            raise JobFailed("no worker is alive")
        return prepared[0]

    def delay_seconds(self, parts: frozenset[str]) -> float:
        """How long what a new call asks first of these parts would wait, about."""
        hearing = self.pool.delay_seconds if parts & {"stt", "tts"} else 0.0
        thinking = self.model.delay_seconds if "llm" in parts and isinstance(self.model, Queued) else 0.0
        return hearing + thinking

"""A GGUF file through llama-cpp-python, in a process of its own."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError, JobFailed
from local_ai_server.llm import llama_process
from local_ai_server.llm.base import Piece
from local_ai_server.llm.completion import PATIENCE_SECONDS, pieces_of
from local_ai_server.llm.messages import Record
from local_ai_server.models import model_file
from local_ai_server.processes import ProcessPool
from local_ai_server.tools import OWN, Tools

MOST_WAITING = 16
"""Calls that may wait for their turn; one more would run out of patience anyway."""
_ANSWER_SECONDS = 90.0
"""The longest answer (``llama_process``) takes less, even at five tokens a second."""


class Llama:
    """One model, one answer at a time.

    Calls take turns: a call has one answer in the making and whoever asks again comes last, so no call is served twice
    while another waits. Closing an answer frees the model after the token it is at.
    """

    languages: tuple[str, ...] = ()

    def __init__(self, models: Path, name: str | None, device: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Loads nothing yet; patience is also for the wait behind other calls. Raises SettingsError."""
        path = model_file(models, "llm", "llama", name, "*.gguf")
        self._patience_seconds = patience_seconds
        self._process = ProcessPool("local-ai-llama", 1, llama_process.run, path, device, job_seconds=_ANSWER_SECONDS)
        self._stack = AsyncExitStack()

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``, once it is started."""
        return str(self._process.cards)

    async def start(self) -> None:
        await self._stack.enter_async_context(self._process)

    async def prepare(self, agent: Agent) -> None:
        """The model keeps nothing of an agent."""

    @property
    def delay_seconds(self) -> float:
        """How long a new call's first answer would wait, about."""
        return self._process.delay_seconds

    async def answer(self, agent: Agent, record: Record, tools: Tools = OWN) -> AsyncGenerator[Piece, None]:
        if self._process.queue >= MOST_WAITING:
            raise JobFailed("too many calls wait for the language model")
        async with (
            aclosing(self._process.stream("answer", agent, record, tools)) as chunks,
            aclosing(pieces_of(chunks, self._patience_seconds, tools)) as pieces,
        ):
            try:
                async for piece in pieces:
                    yield piece
            except AgentError as error:
                raise JobFailed(str(error)) from None

    def understands(self, agent: Agent, text: str, record: tuple[tuple[str, str], ...], *, exactly: bool) -> bool:
        """Everything but what has a meaning of its own: it has no wording that would go before that."""
        return not exactly and bool(text.strip())

    async def close(self) -> None:
        await self._stack.aclose()

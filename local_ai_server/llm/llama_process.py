"""What the process of a llama.cpp model does."""

import socket
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError, SettingsError
from local_ai_server.link import EmitItem, serve
from local_ai_server.llm.messages import Record, messages_of, without_oldest
from local_ai_server.models import unusable
from local_ai_server.tools import OWN, Tools

CONTEXT = 4096
"""Tokens of prompt, record and answer: some twenty minutes of a call. Memory grows with it."""
MOST_TOKENS = 400
"""Of an answer, some two minutes of speech."""
Chunks: TypeAlias = Generator[Mapping[str, Any], None, None]
_log = structlog.get_logger()


class LlamaModel:
    """One context, which keeps the prompt it evaluated last: an agent's own prompt is mostly read once."""

    def __init__(self, path: Path, device: str) -> None:
        """``device``: ``auto`` is a GPU where the library was built for one. Raises SettingsError."""
        import llama_cpp  # noqa: PLC0415 - an optional package

        has_gpu = llama_cpp.llama_supports_gpu_offload()
        if device == "cuda" and not has_gpu:
            raise SettingsError("this llama-cpp-python is built without a GPU; --device cpu runs it on the CPU")
        self.cards = "cuda" if has_gpu and device != "cpu" else "cpu"
        layers = -1 if self.cards == "cuda" else 0
        try:
            self._llama: Any = llama_cpp.Llama(str(path), n_ctx=CONTEXT, n_gpu_layers=layers, verbose=False)
        except Exception as error:  # noqa: BLE001 - whatever a C++ library thinks of the file
            raise unusable(path.parent, "llm", "llama", error) from None
        self._room = min(CONTEXT, self._trained_on()) - MOST_TOKENS

    def answer(self, emit: EmitItem, agent: Agent, record: Record, tools: Tools = OWN) -> None:
        """Emits the chunks of a chat completion. Raises AgentError where the model's template or context refuses."""
        with closing(self._begin(agent, record, tools)) as chunks:
            for chunk in chunks:
                if not emit(chunk):
                    return

    def _begin(self, agent: Agent, record: Record, tools: Tools) -> Chunks:
        """The answer to as much of ``record`` as leaves room for one; the prompt is read when this returns."""
        shorter = without_oldest(record)
        try:
            chunks = self._complete(agent, record, tools)
            next(chunks)  # it says no more than whose answer this is
        except ValueError as error:
            if shorter is None or "context window" not in str(error):
                raise AgentError(f"the language model refuses: {error}") from None
        else:
            if shorter is None or self._llama.n_tokens <= self._room:
                return chunks
            chunks.close()
        _log.info("the oldest turns are left out", turns_left=len(shorter))
        return self._begin(agent, shorter, tools)

    def _complete(self, agent: Agent, record: Record, tools: Tools) -> Chunks:
        # marks, since the library tells a template of tools and leaves the calls in the text
        chunks: Chunks = self._llama.create_chat_completion(
            messages_of(agent, record, tools, marks=True), stream=True, max_tokens=MOST_TOKENS
        )
        return chunks

    def _trained_on(self) -> int:
        """Tokens of context the model has learned to use."""
        about = self._llama.metadata
        return int(about.get(f"{about.get('general.architecture')}.context_length", CONTEXT))


def run(sock: socket.socket, path: Path, device: str) -> None:
    """The life of the process."""
    serve(sock, lambda: LlamaModel(path, device))

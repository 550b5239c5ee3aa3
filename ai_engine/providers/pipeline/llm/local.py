"""The dialog of ``local_ai_server``."""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal

from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.local_session import LocalSession, Word
from ai_engine.providers.pipeline.ports import Message, Piece, ToolCall
from ai_engine.session.ports import Briefing, Fitting, ToolSpec
from ai_engine.settings import Section, WebSocketUrl


class LocalLanguageModelSettings(Section):
    """The language model of the `local_ai_server` program, or its dialog of intents."""

    type: Literal["local"] = "local"
    """Which kind of language model this is."""
    url: WebSocketUrl | None = None
    """Its WebSocket address; absent: as `providers.local.url`."""


class LocalLanguageModel:
    """Implements ``LanguageModel``: each answer is told the whole conversation, so that ours alone counts."""

    name = "local"
    reads_prompt = True

    def __init__(self, settings: LocalLanguageModelSettings, fitting: Fitting) -> None:
        self._session = LocalSession(settings.url or fitting.local_url, fitting)
        self._turn = 0

    async def start(self, briefing: Briefing) -> None:
        self.reads_prompt = (await self._session.start("llm", briefing)).get("notes") is True

    async def close(self) -> None:
        await self._session.close()

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> AsyncGenerator[Piece, None]:
        self._turn += 1
        turn, reply, is_over = self._turn, 0, False
        question, context = _context(messages, tools)
        self._session.send("text", turn=turn, text=question, context=context)
        try:
            while not is_over:
                said = await self._session.next()
                if not isinstance(said, Word):
                    continue
                if said.type == "reply" and said.fields.get("turn") == turn:
                    reply = said.reply
                elif reply and said.type == "error":
                    raise ProviderError(f"local_ai_server: {said.fields.get('message')}")
                elif reply and said.reply == reply:
                    is_over = said.type == "reply_end"
                    for piece in _pieces(said):
                        yield piece
        finally:
            if not is_over and reply:
                self._session.refuse(reply)
            elif not is_over:
                self._session.refuse_answer(turn)


def _context(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> tuple[str, dict[str, Any]]:
    """``(question, context)``: without a question the answer goes on from what came of a tool."""
    question = messages[-1].text if messages and messages[-1].role == "user" else ""
    calls: dict[str, ToolCall] = {}
    history: list[list[str]] = []
    for message in messages[:-1] if question else messages:
        calls.update((call.id, call) for call in message.calls)
        if message.role == "tool":
            call = calls.get(message.call_id) or ToolCall(message.call_id, "tool", "{}")
            history.append(["tool", f"{call.name}({call.arguments}) -> {message.text}"])
        elif message.role != "system" and message.text:
            history.append(["caller" if message.role == "user" else "agent", message.text])
    return question, {
        "prompt": "\n\n".join(message.text for message in messages if message.role == "system"),
        "history": history,
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)} for tool in tools
        ],
    }


def _pieces(said: Word) -> list[Piece]:
    try:
        if said.type == "token":
            return [str(said.fields["text"])]
        if said.type == "tool":
            arguments = json.dumps(dict(said.fields["arguments"]))
            return [ToolCall(str(said.fields["id"]), str(said.fields["name"]), arguments)]
    except (KeyError, TypeError, ValueError) as error:
        raise ProviderError(f"local_ai_server sent a broken {said.type!r}: {error!r}") from error
    return []

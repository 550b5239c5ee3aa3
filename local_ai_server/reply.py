"""How a reply is made: an answer or a given line becomes tokens, clauses and sound."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from local_ai_server import protocol
from local_ai_server.crew import Crew
from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import Act, Piece, Verdict
from local_ai_server.llm.intents import tokens_of
from local_ai_server.record import Record, SpokenReply
from local_ai_server.tools import OWN, goes_on
from local_ai_server.tts.clauses import ClauseSplitter

_BROKEN_OFF = "\u2026 "
"""Ends the clause in which an answer was lost."""
_MOST_ROUNDS = 8
"""A model that has used tools so many times in a row answers without: it has lost its way."""

Send = Callable[[protocol.ServerMessage | bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Question:
    """What the caller waits for an answer to; false where there is nothing."""

    text: str = ""
    has_results: bool = False
    """Tools have answered, and the agent has not said what."""

    def __bool__(self) -> bool:
        return bool(self.text) or self.has_results


@dataclass(frozen=True, slots=True)
class Order:
    """A reply to be made: to ``question``, or to say ``line`` as it is."""

    number: int
    turn: int | None
    question: Question
    line: str | None = None
    continues: bool = False
    """The line goes on from what was said before it."""
    falls_back: bool = True
    """What is not understood is answered with the agent's fallback, rather than by nothing."""


@dataclass(slots=True)
class ReplyMaker:
    """Makes one caller's replies, one at a time, and remembers what tools they asked for."""

    start: protocol.Start
    output_rate: int
    record: Record
    send: Send
    report: Callable[[str], Awaitable[None]]
    """Tells the client of something that was lost."""
    owner: Hashable
    """Whose jobs these are, to the workers."""
    _misunderstood: int = 0
    _rounds: int = 0
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _asked: dict[str, Act] = field(default_factory=dict)
    """Tools nothing has come of yet."""

    def take_context(self, context: protocol.Context) -> None:
        """The client says how things stand."""
        agent = self.start.agent if context.prompt is None else replace(self.start.agent, prompt=context.prompt)
        tools = self.start.tools if context.tools is None else context.tools
        self.start = replace(self.start, agent=agent, tools=tools)
        if context.history is not None:
            self.record.begin_again(context.history)

    def take_note(self, text: str) -> None:
        """The agent is to know this; it goes to the prompt, since not every model takes instructions in the middle."""
        agent = self.start.agent
        self.start = replace(self.start, agent=replace(agent, prompt=f"{agent.prompt}\n\n{text}".strip()))

    def take_result(self, id: str, result: Mapping[str, Any]) -> bool:
        """Record what came of a tool; whether it was the last one an answer waited for."""
        act = self._asked.pop(id, None)
        if act is None:
            return False
        self.record.tool_answered(f"{act.name}({_json(act.arguments)}) -> {_json(result)}")
        # A call that goes on although it should have ended or been handed over is something to talk about.
        has_news = goes_on(act.name) or result.get("ok") is False
        return has_news and not any(goes_on(other.name) for other in self._asked.values())

    async def make(self, order: Order, crew: Crew) -> bool:
        """Send all of a reply but its end; whether it is to go on after a tool. Raises AgentError, JobFailed."""
        await self.send(protocol.Reply(order.number, order.turn))
        text = order.question.text
        if order.line is None and text and self.record.entries[-1:] != (("caller", text),):
            self.record.caller_said(text)
        heard_so_far = self.record.entries
        spoken = self.record.agent_begins(order.number)
        splitter = ClauseSplitter()
        acts: list[Act] = []
        async with aclosing(self._pieces(order, heard_so_far, crew)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Act):
                    acts.append(piece)
                elif isinstance(piece, str):
                    if "llm" in self.start.parts:
                        await self.send(protocol.Token(order.number, piece))
                    for clause in splitter.feed(piece):
                        await self._speak(order, spoken, clause, crew)
        for clause in splitter.flush():
            await self._speak(order, spoken, clause, crew)
        for act in acts:
            await self._ask(order.number, act)
        return any(goes_on(act.name) for act in acts)

    async def _ask(self, reply: int, act: Act) -> None:
        id = f"tool-{next(self._numbers)}"
        self._asked[id] = act
        await self.send(protocol.ToolAsked(reply, id, act.name, act.arguments, goes_on(act.name)))

    async def _pieces(
        self, order: Order, heard_so_far: tuple[tuple[str, str], ...], crew: Crew
    ) -> AsyncGenerator[Piece, None]:
        if order.line is not None:
            for token in tokens_of(order.line):
                yield token
            return
        is_understood = bool(order.question)
        if is_understood:
            async with aclosing(self._answer(order.question, heard_so_far, crew)) as pieces:
                async for piece in pieces:
                    if piece is Verdict.NOT_UNDERSTOOD:
                        is_understood = False
                    else:
                        yield piece
        if not order.falls_back:
            return
        self._misunderstood = 0 if is_understood else self._misunderstood + 1
        if not is_understood:
            for token in tokens_of(self.start.agent.fallback):
                yield token
            if self._misunderstood >= self.start.agent.fallback_limit:
                self._misunderstood = 0
                yield Act("transfer")

    async def _answer(
        self, question: Question, heard_so_far: tuple[tuple[str, str], ...], crew: Crew
    ) -> AsyncGenerator[Piece, None]:
        """What the model says; an answer that is lost on the way ends as one that was not understood."""
        self._rounds = 0 if question.text else self._rounds + 1
        tools = OWN if self.start.tools is None else self.start.tools
        said = ""
        try:
            async with aclosing(
                crew.model.answer(self.start.agent, heard_so_far, tools if self._rounds < _MOST_ROUNDS else ())
            ) as pieces:
                async for piece in pieces:
                    said += piece if isinstance(piece, str) else ""
                    yield piece
        except JobFailed as error:
            await self.report(f"an answer was lost: {error}")
            if said:
                yield " " if said.rstrip().endswith((".", "?", "!")) else _BROKEN_OFF
            yield Verdict.NOT_UNDERSTOOD

    async def _speak(self, order: Order, spoken: SpokenReply, clause: str, crew: Crew) -> None:
        opens_reply = not spoken.clauses and not order.continues
        spoken.begin(clause)
        if "tts" not in self.start.parts:
            return
        await self.send(protocol.Clause(spoken.reply, clause))
        sound = crew.pool.stream("speak", self.start.agent, clause, opens_reply, owner=self.owner, urgent=opens_reply)
        async with aclosing(sound) as chunks:
            async for pcm in chunks:
                spoken.sounded(len(pcm) / 2 * 1000 / self.output_rate)
                await self.send(protocol.pack_sound(spoken.reply, pcm))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)

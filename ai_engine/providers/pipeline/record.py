"""The conversation as the language model is told it: what was said, and of the agent's words those that were heard."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ai_engine.call.events import ReplyId
from ai_engine.providers.pipeline.ports import Message, ToolCall
from ai_engine.session.ports import Said
from ai_engine.text.aside import aside

INTERRUPTED = "[interrupted by the caller]"
"""Ends an answer of which the caller did not hear everything."""
_STILL_RUNNING = {"status": "still running: its result will follow, do not ask for it again"}
_EARLIER_TOOLS = "What tools did earlier in this call:"


@dataclass(slots=True)
class _Clause:
    text: str
    ms: float = 0.0

    def heard_in(self, ms: float) -> str:
        """The words that fit into ``ms``, by their share of the clause's sound."""
        if ms >= self.ms > 0:
            return self.text
        share = ms / self.ms if self.ms else 0.0
        words = self.text.split()
        if len(words) == 1:  # a script without spaces
            return self.text[: int(len(self.text) * share)] if not self.text.isascii() else ""
        return " ".join(words[: int(len(words) * share)])


@dataclass(eq=False, slots=True)
class Answer:
    """What the agent said, or asked tools to do, in one round of the model."""

    reply: ReplyId | None = None
    clauses: list[_Clause] = field(default_factory=list)
    is_whole: bool = False
    """Everything that was to be said was made."""
    heard_ms: float | None = None
    """Where the caller cut in; None: nothing is known against their having heard all of it."""
    calls: tuple[ToolCall, ...] = ()
    results: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """What came of each call, by its place in ``calls``."""

    @property
    def text(self) -> str:
        """The words that were heard, and a mark when more were to come."""
        said = " ".join(clause.text for clause in self.clauses if clause.text)
        if self.heard_ms is None:
            return said
        heard, left = [], self.heard_ms
        for clause in self.clauses:
            heard.append(clause.heard_in(left))
            left = max(0.0, left - clause.ms)
        text = " ".join(filter(None, heard))
        if not text or (text == said and self.is_whole):
            return text
        return f"{text} {INTERRUPTED}"

    def messages(self) -> list[Message]:
        """The assistant's message and those of its tools, which must follow it; none when nothing was heard."""
        text = self.text
        if not text and not self.calls:
            return []
        results = [self.results.get(place, _STILL_RUNNING) for place in range(len(self.calls))]
        return [
            Message("assistant", text, self.calls),
            *(
                Message("tool", json.dumps(result, ensure_ascii=False, default=str), call_id=call.id)
                for call, result in zip(self.calls, results, strict=True)
            ),
        ]


class Record:
    """Pure bookkeeping of one call."""

    def __init__(self, prompt: str, history: Sequence[Said] = (), most_turns: int = 40) -> None:
        """``most_turns`` of the caller are kept, with what was answered to them; the oldest are dropped."""
        tools = [said.text for said in history if said.speaker == "tool"]
        self._prompt = "\n".join([prompt, "", _EARLIER_TOOLS, *tools]) if tools else prompt
        self._most_turns = most_turns
        self._entries: list[Message | Answer] = []
        for said in history:
            if said.speaker == "caller":
                self.caller_said(said.text)
            elif said.speaker == "agent":
                self._entries.append(Answer(clauses=[_Clause(said.text)]))
            elif said.speaker == "operator":
                self.advise(said.text)

    def advise(self, text: str) -> None:
        """To the instructions, wherever it comes: not every model takes a system's message in the middle."""
        self._prompt += f"\n\n{aside(text)}"

    def caller_said(self, text: str) -> None:
        self._entries.append(Message("user", text))
        callers = [place for place, entry in enumerate(self._entries) if isinstance(entry, Message)]
        if len(callers) > self._most_turns:
            del self._entries[: callers[-self._most_turns]]

    def reply_began(self, reply: ReplyId) -> None:
        self._entries.append(Answer(reply))

    def reply_said(self, reply: ReplyId, text: str) -> None:
        """The sound that is reported next says ``text``."""
        if answer := self._answer(reply):
            answer.clauses.append(_Clause(text))

    def reply_sounded(self, reply: ReplyId, ms: float) -> None:
        """``ms`` of sound was made for the clause that was said last."""
        if (answer := self._answer(reply)) and answer.clauses:
            answer.clauses[-1].ms += ms

    def reply_made(self, reply: ReplyId) -> None:
        """All of it was said."""
        if answer := self._answer(reply):
            answer.is_whole = True

    def reply_cut(self, reply: ReplyId, heard_ms: float) -> None:
        """The caller heard only the first ``heard_ms``; an unknown reply is ignored."""
        if answer := self._answer(reply):
            answer.heard_ms = heard_ms

    def tools_asked(self, reply: ReplyId, calls: tuple[ToolCall, ...]) -> Answer:
        """After the words of ``reply``, or without any: fill in the ``results`` of what is returned."""
        answer = self._answer(reply)
        if answer is None:
            answer = Answer(reply)
            self._entries.append(answer)
        answer.calls = calls
        return answer

    def messages(self) -> list[Message]:
        """The instructions, then the conversation, oldest first."""
        messages = [Message("system", self._prompt)]
        for entry in self._entries:
            messages += [entry] if isinstance(entry, Message) else entry.messages()
        return messages

    def _answer(self, reply: ReplyId) -> Answer | None:
        for entry in reversed(self._entries):
            if isinstance(entry, Answer) and entry.reply == reply:
                return entry
        return None

"""What was said in a call, how much of it was heard, and what tools did meanwhile."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ai_engine.call.events import ReplyId

ENGINE = "offhook"
"""In place of a provider's name."""

Speaker = Literal["caller", "agent", "tool", "operator"]
"""The ``operator`` is heard by nobody but the agent, or acts."""


@dataclass(slots=True)
class _Clause:
    text: str
    ms: float = 0.0


@dataclass(slots=True)
class Utterance:
    """One turn of one side. ``text`` is what was heard; ``cut`` tells that more had been planned."""

    speaker: Speaker
    at: float
    """Loop time (seconds) at which it began."""
    clauses: list[_Clause] = field(default_factory=list)
    reply: ReplyId | None = None
    cut: bool = False
    provider: str = ""
    """Who said it, of the agent's."""
    tool: Mapping[str, Any] = field(default_factory=dict)
    """Of a tool: ``name``, ``arguments``, ``result``, ``ms``."""

    @property
    def text(self) -> str:
        return " ".join(clause.text for clause in self.clauses if clause.text)


class Transcript:
    """The record of one call, in order."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self._replies: dict[ReplyId, Utterance] = {}
        self._awaited: Utterance | None = None
        """The turn of the caller whose words are to come."""

    def caller_paused(self, now: float) -> None:
        """The caller's turn is over; its words may come after those of the answer, and belong here."""
        self._awaited = Utterance("caller", now)

    def caller_unheard(self) -> None:
        """No words come of that turn: those that come next belong to another one."""
        self._awaited = None

    def caller_said(self, text: str, now: float) -> None:
        """``text`` is empty for speech that was not understood."""
        said, self._awaited = self._awaited or Utterance("caller", now), None
        said.clauses.append(_Clause(text))
        self._insert(said)

    def agent_said(self, reply: ReplyId, text: str, now: float, provider: str = "") -> None:
        """Words of a reply; the audio reported next carries them."""
        utterance = self._replies.get(reply)
        if utterance is None:
            utterance = self._replies[reply] = Utterance("agent", now, reply=reply, provider=provider)
            self.utterances.append(utterance)
        utterance.clauses.append(_Clause(text.strip()))

    def engine_said(self, reply: ReplyId, text: str, now: float) -> None:
        """A sentence of the engine's own, which no agent needs to know of."""
        self.agent_said(reply, text, now, ENGINE)

    def tool_answered(
        self, name: str, arguments: Mapping[str, Any], result: Mapping[str, Any], ms: float, now: float
    ) -> None:
        """A tool did what the agent asked for, or failed."""
        text = f"{name}({_json(arguments)}) -> {_json(result)}"
        tool = {"name": name, "arguments": dict(arguments), "result": dict(result), "ms": round(ms)}
        self.utterances.append(Utterance("tool", now, [_Clause(text)], tool=tool))

    def operator_said(self, text: str, now: float) -> None:
        """The agent was told ``text``, unheard by the caller."""
        self.utterances.append(Utterance("operator", now, [_Clause(text)]))

    def operator_did(self, what: str, now: float) -> None:
        """Somebody who looks after the engine did something to the call, which no agent needs to know of."""
        self.utterances.append(Utterance("operator", now, [_Clause(what)], provider=ENGINE))

    def agent_sounded(self, reply: ReplyId, ms: float) -> None:
        """``ms`` of audio came for the clause that was announced last."""
        if (utterance := self._replies.get(reply)) and utterance.clauses:
            utterance.clauses[-1].ms += ms

    def reply_cut(self, reply: ReplyId, heard_ms: float) -> None:
        """Keep of ``reply`` what fits in ``heard_ms``: whole clauses, then words in proportion to its audio."""
        utterance = self._replies.get(reply)
        if utterance is None:
            return
        utterance.cut = True
        left = heard_ms
        for clause in utterance.clauses:
            if left < clause.ms or not clause.ms:
                words = clause.text.split()
                kept = int(len(words) * left / clause.ms) if clause.ms else 0
                clause.text = " ".join(words[:kept])
                left = 0.0
            else:
                left -= clause.ms
        if not utterance.text:
            self.utterances.remove(utterance)

    def _insert(self, said: Utterance) -> None:
        """In its place by time: an answer that came before its question was understood stands after it."""
        place = len(self.utterances)
        while place and self.utterances[place - 1].at > said.at:
            place -= 1
        self.utterances.insert(place, said)

    def lines(self) -> list[dict[str, object]]:
        """Plain data, ready for JSON."""
        return [
            {
                "speaker": said.speaker,
                "text": said.text,
                "cut": said.cut,
                "at": round(said.at, 3),
                **({"provider": said.provider} if said.provider else {}),
                **({"tool": said.tool} if said.tool else {}),
            }
            for said in self.utterances
        ]

    def history(self) -> tuple[tuple[Speaker, str], ...]:
        """``(speaker, text)`` pairs, to brief an agent that takes over."""
        return tuple((said.speaker, said.text) for said in self.utterances if said.text and said.provider != ENGINE)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

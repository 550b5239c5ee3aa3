"""What was said in a call, and how much of it was heard."""

from dataclasses import dataclass, field
from typing import Literal

from ai_engine.call.events import ReplyId

Speaker = Literal["caller", "agent"]


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

    @property
    def text(self) -> str:
        return " ".join(clause.text for clause in self.clauses if clause.text)


class Transcript:
    """The record of one call, in order."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self._replies: dict[ReplyId, Utterance] = {}

    def caller_said(self, text: str, now: float) -> None:
        """``text`` is empty for speech that was not understood."""
        self.utterances.append(Utterance("caller", now, [_Clause(text)]))

    def agent_said(self, reply: ReplyId, text: str, now: float) -> None:
        """Words of a reply; the audio reported next carries them."""
        utterance = self._replies.get(reply)
        if utterance is None:
            utterance = self._replies[reply] = Utterance("agent", now, reply=reply)
            self.utterances.append(utterance)
        utterance.clauses.append(_Clause(text.strip()))

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

    def lines(self) -> list[dict[str, object]]:
        """Plain data, ready for JSON."""
        return [
            {"speaker": said.speaker, "text": said.text, "cut": said.cut, "at": round(said.at, 3)}
            for said in self.utterances
        ]

    def history(self) -> tuple[tuple[str, str], ...]:
        """``(speaker, text)`` pairs, to brief an agent that takes over."""
        return tuple((said.speaker, said.text) for said in self.utterances if said.text)

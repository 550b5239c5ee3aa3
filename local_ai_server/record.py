"""What was said in a session, cut to what the caller heard."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class SpokenReply:
    """One reply as it was made: its clauses, each with the milliseconds of sound it became."""

    reply: int
    clauses: list[tuple[str, float]] = field(default_factory=list)
    heard_ms: float | None = None
    """Where the caller cut in; None: nothing is known against his having heard all of it."""

    def begin(self, clause: str) -> None:
        self.clauses.append((clause, 0.0))

    def sounded(self, ms: float) -> None:
        text, so_far = self.clauses[-1]
        self.clauses[-1] = (text, so_far + ms)

    @property
    def text(self) -> str:
        """The words that were heard; a clause cut in the middle keeps its share of words."""
        if self.heard_ms is None:
            return " ".join(text for text, _ in self.clauses)
        if not self.heard_ms:
            return ""
        heard, left = [], self.heard_ms
        for text, ms in self.clauses:
            words = text.split()
            share = 1.0 if left >= ms else left / ms
            heard += words[: int(len(words) * share)]
            left = max(0.0, left - ms)
        return " ".join(heard)


class Record:
    """The conversation so far, oldest first."""

    def __init__(self, history: Sequence[tuple[str, str]] = ()) -> None:
        self._entries: list[tuple[str, str] | SpokenReply] = list(history)

    def begin_again(self, history: Sequence[tuple[str, str]]) -> None:
        """The client knows better; a reply that is being made belongs to what is forgotten."""
        self._entries = list(history)

    def tool_answered(self, text: str) -> None:
        """``name(arguments) -> result``."""
        self._entries.append(("tool", text))

    def caller_said(self, text: str) -> None:
        self._entries.append(("caller", text))

    def agent_begins(self, reply: int) -> SpokenReply:
        """Open the entry of a reply; what is written to it later is part of the record."""
        spoken = SpokenReply(reply)
        self._entries.append(spoken)
        return spoken

    def cut(self, reply: int, heard_ms: float) -> None:
        """The caller heard only the first ``heard_ms`` of ``reply``; an unknown reply is ignored."""
        for entry in reversed(self._entries):
            if isinstance(entry, SpokenReply) and entry.reply == reply:
                entry.heard_ms = heard_ms
                return

    @property
    def entries(self) -> tuple[tuple[str, str], ...]:
        """``(speaker, text)`` for everything of which at least a word was heard."""
        spoken = (("agent", e.text) if isinstance(e, SpokenReply) else e for e in self._entries)
        return tuple(entry for entry in spoken if entry[1])

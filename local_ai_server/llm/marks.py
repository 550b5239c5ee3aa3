"""What a model writes that is not to be spoken: marks such as ``[hangup]``, taken out of its tokens as they come."""

from local_ai_server.llm.base import Act
from local_ai_server.tools import Tools

_SPOKEN_NEVER = {"<think>": "</think>"}
"""What some models think aloud between these, before they answer, is not for the caller."""
_LONGEST = 24
"""Characters a mark may have, blanks and all; more after an opening bracket are plain text."""


def markable(tools: Tools) -> Tools:
    """Those a mark can ask for: it holds a short name, and no arguments."""
    return tuple(tool for tool in tools if not tool.needs_arguments and len(tool.name) + 2 <= _LONGEST)


class MarkFilter:
    """Feed tokens, get what is to be spoken and done; call ``flush`` when the answer is complete.

    A mark may be cut anywhere between tokens, so what could still become one is held back.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._acts = {_plain(f"[{name}]"): Act(name) for name in names}
        self._held = ""
        self._until = ""
        """The end of what is being left out; empty: nothing is."""

    def feed(self, token: str) -> list[str | Act]:
        self._held += token
        pieces: list[str | Act] = []
        while (piece := self._next()) is not None:
            if piece:
                pieces.append(piece)
        return pieces

    def flush(self) -> list[str | Act]:
        """What was held back in vain."""
        rest, self._held = "" if self._until else self._held, ""
        return [rest] if rest else []

    def _next(self) -> str | Act | None:
        """The next piece of what is held, ``""`` where something was left out; None: wait for more."""
        if self._until:
            return self._leave_out()
        start = min((at for at in map(self._held.find, "[<") if at >= 0), default=len(self._held))
        if start:
            return self._take(start)
        if not self._held:
            return None
        return self._read_mark()

    def _read_mark(self) -> str | Act | None:
        """As ``_next``, of what begins with a bracket."""
        closed = self._held.find("]" if self._held[0] == "[" else ">") + 1
        if closed > _LONGEST:
            return self._take(1)
        mark = _plain(self._held[:closed] if closed else self._held)
        if closed and mark in self._acts:
            self._take(closed)
            return self._acts[mark]
        if closed and mark in _SPOKEN_NEVER:
            self._until = _SPOKEN_NEVER[mark]
            self._take(closed)
            return ""
        could_be = len(self._held) < _LONGEST and any(name.startswith(mark) for name in (*self._acts, *_SPOKEN_NEVER))
        return None if could_be and not closed else self._take(1)

    def _leave_out(self) -> str | None:
        end = self._held.lower().find(self._until)
        if end < 0:
            self._held = self._held[-len(self._until) :]
            return None
        self._take(end + len(self._until))
        self._until = ""
        return ""

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        return taken


def _plain(mark: str) -> str:
    """``[ Hang up ]`` as ``[hangup]``: models are no sticklers."""
    return "".join(mark.split()).replace("_", "").replace("-", "").lower()

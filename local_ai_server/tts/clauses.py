"""Cutting a reply into clauses while its tokens still come in, the first one short."""

import re

_BREAK = re.compile(r"(?P<mark>[.?!\u2026]+|[,;:\u2013\u2014])[\"')\u201d\u2019]*\s+")
_ABBREVIATIONS = frozenset(["mr", "mrs", "ms", "dr", "st", "vs", "etc", "e.g", "i.e", "a.m", "p.m"])
_FIRST_WORDS = 3
"""The first clause may end at any punctuation once it has this many words: the caller is waiting."""
_LATER_WORDS = 8
"""Later ones end at a comma only when they are this long: a synthesizer's melody needs the whole sentence."""
_MAX_WORDS = 30
"""No clause is longer, punctuated or not: the workers are shared between calls."""


class ClauseSplitter:
    """Feed tokens, get clauses; call ``flush`` when the reply is complete."""

    def __init__(self) -> None:
        self._waiting = ""
        self._is_first = True

    def feed(self, token: str) -> list[str]:
        """The clauses that ``token`` completed."""
        self._waiting += token
        clauses = []
        while (end := self._end()) is not None:
            clauses.append(self._take(end))
        return clauses

    def flush(self) -> list[str]:
        """What is left, as at most one clause."""
        return [self._take(len(self._waiting))] if self._waiting.strip() else []

    def _take(self, end: int) -> str:
        clause, self._waiting = self._waiting[:end].strip(), self._waiting[end:]
        self._is_first = False
        return clause

    def _end(self) -> int | None:
        for found in _BREAK.finditer(self._waiting):
            if self._ends_clause(self._waiting[: found.start()].split(), found["mark"]):
                return found.end()
        words = list(re.finditer(r"\S+\s+", self._waiting))
        return words[_MAX_WORDS - 1].end() if len(words) >= _MAX_WORDS else None

    def _ends_clause(self, words: list[str], mark: str) -> bool:
        if not words or len(words) > _MAX_WORDS:
            return False
        if mark == ".":
            return words[-1].lower().lstrip("(\"'") not in _ABBREVIATIONS
        if mark[0] in ".?!\u2026":
            return True
        return len(words) >= (_FIRST_WORDS if self._is_first else _LATER_WORDS)

"""Cutting an answer into clauses worth speaking while its tokens still come in, the first one short."""

import re
from itertools import islice

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts that put no space between words: Thai, Lao, Burmese, kana and Han."""
_CLOSING = "\"')\\]\u201d\u2019\u00bb\u300d\u300f\uff09*_"
_GAP = r"[^\S\n]{1,8}"
_END = ".?!\u2026\u061f\u0964"
_WIDE_END = "\u3002\uff01\uff1f\uff61"
_BREAK = re.compile(
    rf"(?P<line>\n)"
    rf"|(?<![{_WIDE_END}])(?P<wide>[{_WIDE_END}]++)[{_CLOSING}]*+(?=[^{_CLOSING}{_WIDE_END}])"
    rf"|(?P<widecomma>[\u3001\uff0c\uff1b\uff1a]+)(?=\S|\s)"
    rf"|(?<![{_END}])(?P<end>[{_END}]++)(?P<closed>[{_CLOSING}]*+){_GAP}(?=(?P<next>\S))"
    rf"|(?P<dash>{_GAP}[-\u2013]{_GAP}|(?:{_GAP})?\u2014(?:{_GAP})?)(?=\S)"
    rf"|(?P<comma>[,;:\u060c\u061b])[{_CLOSING}]*{_GAP}(?=\S)"
)
_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|[^\s{_UNSPACED}]+")
"""Two characters of a script without spaces weigh as much as a word."""
_OPEN_LINK = re.compile(r"\[[^\]\n]{0,120}(?:\](?:\([^)\s]*)?)?$")

_FIRST_WORDS = 3
_FIRST_CHARACTERS = 30
"""The first clause may end at a comma once it is as long as one of these: the caller is waiting."""
_LATER_WORDS = 14
"""Later ones end at a comma only when they are this long: a voice's melody needs the whole sentence."""
_MOST_WORDS = 40
"""No clause is longer, punctuated or not."""
_MOST_CHARACTERS = 800
"""The same for words that never end: the longest 40 of a language are shorter."""

_NEVER_LAST = frozenset(
    {
        "mr", "mrs", "ms", "mx", "dr", "prof", "st", "mt", "rev", "hon", "gen", "col", "capt", "lt", "sgt", "e.g",
        "i.e", "vs", "cf", "approx", "est", "tel", "dept", "z.b", "d.h", "bzw", "hr", "fr", "ca", "ggf", "evtl",
        "vgl", "inkl", "sog", "mme", "mlle", "p.ex", "av", "sra", "srta", "dra", "sig", "dott", "ing",
    }
)  # fmt: skip
"""Abbreviations that something always follows."""
_NUMBERED = frozenset(
    {
        "no", "nos", "nr", "n\u00b0", "art", "p", "pp", "fig", "ext", "vol", "ch", "sec", "abs", "s",
    }
)  # fmt: skip
"""Abbreviations only in front of a number: "No." alone is a whole answer."""
_LETTERS = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
_ORDINAL_DOT = frozenset(
    {
        "de", "da", "nb", "nn", "no", "fi", "cs", "sk", "pl", "hu", "et", "lv", "sl", "hr", "sr", "bs", "tr", "is",
        "fo",
    }
)  # fmt: skip
"""Languages that write "3." for "third"."""


class ClauseSplitter:
    """Feed tokens, get clauses without the space around them; call ``flush`` when the answer is complete."""

    def __init__(self, language: str = "en-US") -> None:
        """``language`` is a BCP 47 tag."""
        self._dotted_ordinals = language.lower().partition("-")[0] in _ORDINAL_DOT
        self._waiting = ""
        self._is_first = True

    def feed(self, token: str) -> list[str]:
        """The clauses that ``token`` completed."""
        self._waiting = (self._waiting + token).lstrip()
        clauses = []
        while (end := self._end()) is not None:
            if clause := self._take(end):
                clauses.append(clause)
        return clauses

    def flush(self) -> list[str]:
        """What is left, as at most one clause."""
        clause = self._take(len(self._waiting))
        return [clause] if clause else []

    def pause(self) -> list[str]:
        """No token has come for a while: what is left, if it ends like a sentence."""
        text = f"{self._waiting.rstrip()} A"  # as if another began
        ends = any(
            (found["end"] or found["wide"]) and text[found.end() :].strip() == "A" and self._ends_clause(found)
            for found in _BREAK.finditer(text)
        )
        return self.flush() if ends else []

    def _take(self, end: int) -> str:
        clause, self._waiting = self._waiting[:end].strip(), self._waiting[end:]
        if clause:
            self._is_first = False
        return clause

    def _end(self) -> int | None:
        most = self._end_by_length()
        for found in _BREAK.finditer(self._waiting, 0, most or len(self._waiting)):
            if found["line"] or self._ends_clause(found):
                return found.end()
        return most

    def _end_by_length(self) -> int | None:
        words = islice(_WORD.finditer(self._waiting, 0, _MOST_CHARACTERS), _MOST_WORDS, None)
        if one_more := next(words, None):
            return one_more.start()
        return _MOST_CHARACTERS if len(self._waiting) > _MOST_CHARACTERS else None

    def _ends_clause(self, found: re.Match[str]) -> bool:
        text = found.string
        before = text[: found.start()].strip()
        if not before or _OPEN_LINK.search(before):
            return False
        if found["wide"]:
            return True
        if found["end"]:
            return self._ends_sentence(before.split()[-1], before, found)
        if before[-1].isdigit() and text[found.end() : found.end() + 1].isdigit():
            return False  # "July 4, 2025", "2 - 3", or digits one by one
        words = len(_WORD.findall(before))
        if self._is_first:
            return words >= _FIRST_WORDS or len(before) >= _FIRST_CHARACTERS
        return words >= _LATER_WORDS

    def _ends_sentence(self, word: str, before: str, found: re.Match[str]) -> bool:
        follows: str = found["next"]
        if found["end"] != ".":
            # '"Really?" she asked', "well\u2026 maybe"
            return not (follows.islower() and (found["closed"] or found["end"][0] in ".\u2026"))
        word = word.lstrip("(\"'\u201c\u2018[*_")
        if follows.islower() or word.lower() in _NEVER_LAST:
            return False
        if follows.isdigit() and (word.lower() in _NUMBERED or _LETTERS.fullmatch(word)):
            return False
        if word.isdigit() and (self._dotted_ordinals or word == before):
            return False  # a date, or the number of a list's entry
        return not (len(word) == 1 and word.isalpha() and word != "I")

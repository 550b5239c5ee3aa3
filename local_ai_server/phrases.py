"""The little language of an intent's phrases: ``[optional]``, ``(one|other)``, ``{slot}``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from local_ai_server.errors import AgentError

Slots: TypeAlias = Mapping[str, Sequence[str]]

_TOKEN = re.compile(r"\s*(?:(?P<mark>[\[\]()|])|\{(?P<slot>\w+)\}|(?P<word>[^\s\[\](){}|]+))")
_CLOSING = {"[": "]", "(": ")"}
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Word:
    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of ``options``; none of them is also possible where ``optional``."""

    options: tuple["Phrase", ...]
    optional: bool


Phrase: TypeAlias = tuple[Word | Slot | Choice, ...]


def words_of(text: str) -> list[str]:
    """The words of ``text`` as recognizers spell them: lower case, no punctuation, straight apostrophes."""
    return _WORD.findall(text.lower().replace("\u2019", "'"))


def parse(source: str) -> Phrase:
    """Read one phrase. Raises AgentError naming the phrase."""
    source = source.strip()
    phrase, end = _sequence(source, 0, 0)
    if end != len(source):
        raise AgentError(f"the phrase {source!r} has a {source[end:].strip()[:1]!r} too many")
    if _may_be_silent(phrase):
        raise AgentError(f"the phrase {source!r} could be spoken by saying nothing")
    return phrase


def _may_be_silent(phrase: Phrase) -> bool:
    return all(
        isinstance(item, Choice) and (item.optional or any(map(_may_be_silent, item.options))) for item in phrase
    )


def _sequence(source: str, at: int, depth: int) -> tuple[Phrase, int]:
    if depth > _MAX_DEPTH:
        raise AgentError(f"the phrase {source[:40]!r} is nested too deeply")
    items: list[Word | Slot | Choice] = []
    while at < len(source):
        token = _TOKEN.match(source, at)
        if token is None:
            raise AgentError(f"the phrase {source!r} has a brace that is not a {{slot}}")
        mark = token["mark"]
        if mark in ("]", ")", "|"):
            break
        at = token.end()
        if mark:
            options, at = _options(source, at, _CLOSING[mark], depth + 1)
            items.append(Choice(options, optional=mark == "["))
        elif token["slot"]:
            items.append(Slot(token["slot"]))
        else:
            items.extend(_words(source, token["word"]))
    return tuple(items), at


def _options(source: str, at: int, closing: str, depth: int) -> tuple[tuple[Phrase, ...], int]:
    options = []
    while True:
        option, at = _sequence(source, at, depth)
        token = _TOKEN.match(source, at)
        if token is None or token["mark"] not in (closing, "|"):
            raise AgentError(f"the phrase {source!r} lacks a {closing!r}")
        if not option:
            raise AgentError(f"the phrase {source!r} has an empty choice")
        options.append(option)
        at = token.end()
        if token["mark"] == closing:
            return tuple(options), at


def _words(source: str, token: str) -> list[Word]:
    words = words_of(token)
    if not words:
        raise AgentError(f"the phrase {source!r} has {token!r}, which is not a word")
    return [Word(word) for word in words]


def slots_in(phrase: Phrase) -> Iterator[str]:
    """The names of the slots a phrase uses, in order."""
    for item in phrase:
        if isinstance(item, Slot):
            yield item.name
        elif isinstance(item, Choice):
            for option in item.options:
                yield from slots_in(option)


def variants(phrase: Phrase) -> Iterator[tuple[str, ...]]:
    """Every way to say a phrase; a slot stands as ``{name}``. Their number may be large."""
    if not phrase:
        yield ()
        return
    first, rest = phrase[0], phrase[1:]
    for head in _heads(first):
        for tail in variants(rest):
            yield head + tail


def _heads(item: Word | Slot | Choice) -> Iterator[tuple[str, ...]]:
    if isinstance(item, Word):
        yield (item.text,)
    elif isinstance(item, Slot):
        yield (f"{{{item.name}}}",)
    else:
        if item.optional:
            yield ()
        for option in item.options:
            yield from variants(option)


def jsgf(phrase: Phrase, slots: Slots) -> str:
    """The right-hand side of a JSGF rule for a phrase."""
    return " ".join(_jsgf(item, slots) for item in phrase)


def _jsgf(item: Word | Slot | Choice, slots: Slots) -> str:
    if isinstance(item, Word):
        return item.text
    if isinstance(item, Slot):
        return "(" + " | ".join(" ".join(words_of(value)) for value in slots[item.name]) + ")"
    inner = " | ".join(jsgf(option, slots) for option in item.options)
    return f"[{inner}]" if item.optional else f"({inner})"


class Matcher:
    """Recognizes the exact wordings of one phrase and the values of its slots."""

    def __init__(self, phrase: Phrase, slots: Slots) -> None:
        self._names = tuple(slots_in(phrase))
        self._pattern = re.compile("".join(_pattern(item, slots) for item in phrase))

    def match(self, words: Sequence[str]) -> dict[str, str] | None:
        """The slots' values, or None where ``words`` is not this phrase."""
        found = self._pattern.fullmatch("".join(f"{word} " for word in words))
        if found is None:
            return None
        return {name: value.strip() for name, value in zip(self._names, found.groups(), strict=True) if value}


def _pattern(item: Word | Slot | Choice, slots: Slots) -> str:
    if isinstance(item, Word):
        return re.escape(item.text) + " "
    if isinstance(item, Slot):
        return "((?:" + "|".join(re.escape(" ".join(words_of(value))) for value in slots[item.name]) + ") )"
    inner = "|".join("".join(_pattern(part, slots) for part in option) for option in item.options)
    return f"(?:{inner})" + ("?" if item.optional else "")

"""What callers say into the agent's own words without asking for an answer, by language."""

import re
from collections.abc import Mapping
from functools import lru_cache

from local_ai_server import phrases

BACKCHANNELS: Mapping[str, tuple[str, ...]] = {
    "en": ("mm hm", "mhm", "hm", "uh huh", "yeah", "yes", "okay", "right", "i see", "sure"),
}
"""I am listening, go on."""

HALTS: Mapping[str, tuple[str, ...]] = {
    "en": ("stop", "wait", "hold on", "excuse me", "hello", "sorry", "no"),
}
"""Be quiet, I want to say something."""


def spoken_in(asides: Mapping[str, tuple[str, ...]], language: str) -> tuple[str, ...]:
    """Those of a BCP 47 language (``en-US``); none where it is not known."""
    return asides.get(language.lower().partition("-")[0], ())


def is_backchannel(text: str, language: str) -> bool:
    """Whether ``text`` is nothing but backchannels, one or a row of them."""
    return _is_row_of(spoken_in(BACKCHANNELS, language), text)


def is_halt(text: str, language: str) -> bool:
    """Whether ``text`` is nothing but calls for the agent's silence, one or a row of them."""
    return _is_row_of(spoken_in(HALTS, language), text)


def _is_row_of(asides: tuple[str, ...], text: str) -> bool:
    words = phrases.words_of(text.replace("-", " "))
    return bool(asides) and _row_of(asides).fullmatch("".join(f"{word} " for word in words)) is not None


@lru_cache(maxsize=16)
def _row_of(asides: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("(?:(?:" + "|".join(map(re.escape, asides)) + ") )+")

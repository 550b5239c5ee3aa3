"""English number words as digits, so that what was said can be read like what was written."""

import re
import unicodedata
from collections.abc import Iterator

from ai_engine.text.english_numbers import number, ordinal

_NUMBERS = {number(str(value)): value for value in range(60) if "-" not in number(str(value))}
_ORDINALS = {ordinal(value): value for value in range(1, 32) if "-" not in ordinal(value)}
_TENS = (20, 30, 40, 50)
_HALF_DAY = re.compile(r"(?<![a-z])([ap])\.?\s?m\b\.?")
_POINT = re.compile(r"(?<=\d)\.(?=\d\d\b)")
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")


def plain_words(text: str) -> str:
    """In lower case, without punctuation, and with numbers in digits: ``Ten-thirty a.m.`` is ``10 30 am``, and ``the
    twenty-first`` is ``the 21th``."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("o'clock", "oclock")
    text = _HYPHEN.sub(" ", _POINT.sub(":", _HALF_DAY.sub(r" \1m ", text)))
    return " ".join(_digits(re.sub(r"[,.!?;]", " ", text).split()))


def _digits(words: list[str]) -> Iterator[str]:
    tens = 0
    for word in words:
        value, is_ordinal = _value(word)
        if tens and (value is None or not 0 < value < 10):
            yield str(tens)
            tens = 0
        if value in _TENS and not is_ordinal:
            tens = value
            continue
        if value is None:
            yield word
            continue
        yield f"{tens + value}{'th' if is_ordinal else ''}"
        tens = 0
    if tens:
        yield str(tens)


def _value(word: str) -> tuple[int | None, bool]:
    return (_ORDINALS[word], True) if word in _ORDINALS else (_NUMBERS.get(word), False)

"""English words of single numbers, ordinals, years and times of day."""

from num2words import num2words

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

_MOST_DIGITS = 15
"""What is longer, or starts with a zero, is a name rather than a quantity: it is said digit by digit."""
_LONG_NAME = 7
"""Likewise what is as long as this and not grouped by commas."""


def digits(text: str) -> str:
    """``"204"`` -> two zero four."""
    return " ".join(_words(int(digit)) for digit in text)


def number(text: str) -> str:
    """A whole number, grouped by commas or not."""
    plain = text.replace(",", "")
    is_long_name = len(plain) >= _LONG_NAME and "," not in text and not plain.endswith("000")
    if len(plain) > _MOST_DIGITS or is_long_name or (plain[0] == "0" and len(plain) > 1):
        return digits(plain)
    return _words(int(plain))


def amount(text: str) -> str:
    """A number with or without a decimal fraction."""
    whole, _, part = text.partition(".")
    return f"{number(whole)} point {digits(part)}" if part else number(whole)


def ordinal(value: int) -> str:
    """``3`` -> third."""
    return _tidy(num2words(value, to="ordinal"))


def year(value: int) -> str:
    """``1905`` -> nineteen oh-five."""
    return _tidy(num2words(value, to="year"))


def clock(hour: int, minute: int | None, half: str | None) -> str:
    """``half`` is the letter of a.m. or p.m."""
    if minute:
        said = f"{_words(hour or 12)} {'oh ' if minute < 10 else ''}{_words(minute)}"
    elif half or minute is None:
        said = _words(hour)
    elif hour:
        said = _words(hour) + (" hundred" if hour > 12 else " o'clock")
    else:
        said = "midnight"
    half = half or ("a" if hour == 0 and minute else None)
    return f"{said} {half.upper()}M" if half else said


def _words(value: int) -> str:
    return _tidy(num2words(value))


def _tidy(words: str) -> str:
    """The library's commas would be heard as pauses."""
    return words.replace(",", "")

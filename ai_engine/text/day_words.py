"""Days as people say them."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from ai_engine.text.english_numbers import MONTHS, ordinal, year
from ai_engine.text.number_words import plain_words

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_YEARS = range(1970, 2200)
_YEARS_AHEAD = 8
"""Until the next 29 February, at the longest."""

_WEEKDAY_NAME = r"(?:mon|tues?|wed|thu(?:rs?)?|fri|sat|sun|monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
_WEEKDAY = f"(?P<weekday>{_WEEKDAY_NAME})"
_MONTH = r"(?P<month>" + "|".join(f"{name.lower()}|{name[:3].lower()}" for name in MONTHS) + r"|sept)"
_NUMBER = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?: (?P<year>\d{4}|20 \d\d))?"
_ISO = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?", re.IGNORECASE)
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})(?:/(\d{4}))?")
_ASIDES = re.compile(r"\b(?:on|the|of|and|at)\b")
_IN = re.compile(r"(?:in (?P<n>an?|\d+) (?P<unit>day|week)s?|(?P<n2>an?|\d+) (?P<unit2>day|week)s? from (?:now|today))")
_NEXT_WEEK = re.compile(rf"next (?:week )?({_WEEKDAY_NAME})|({_WEEKDAY_NAME}) next week")
_THIS = re.compile(rf"(?:this |coming |this coming )?{_WEEKDAY}")
_DATED = (
    re.compile(rf"(?:{_WEEKDAY} )?{_MONTH} {_NUMBER}{_YEAR}"),
    re.compile(rf"(?:{_WEEKDAY} )?{_NUMBER} {_MONTH}{_YEAR}"),
)
_NUMBERED = re.compile(rf"(?:{_WEEKDAY} )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)")


def days_meant(text: str, today: date) -> Iterator[date]:
    """The days that ``text`` may mean, what is most likely meant first. Raises ValueError with a sentence."""
    if (found := _ISO.fullmatch(text)) is not None:
        yield _date(text, *map(int, found.groups()))
        return
    words = " ".join(_ASIDES.sub(" ", plain_words(text)).split())
    if words in _NEAR:
        yield today + _NEAR[words] * _DAY
    elif (found := _IN.fullmatch(words)) is not None:
        yield today + _distance(found["n"] or found["n2"], found["unit"] or found["unit2"])
    elif (found := _NEXT_WEEK.fullmatch(words)) is not None:
        yield today + _WEEK + (_weekday(found[1] or found[2]) - today.weekday()) * _DAY
    elif (found := _THIS.fullmatch(words)) is not None:
        first = today + (_weekday(found["weekday"]) - today.weekday()) % 7 * _DAY
        yield from (first, first + _WEEK)
    else:
        yield _dated(text, words, today)


_NEAR = {
    "today": 0,
    "tonight": 0,
    "tomorrow": 1,
    "day after tomorrow": 2,
    "week from tomorrow": 8,
    "a week from tomorrow": 8,
}


def _dated(text: str, words: str, today: date) -> date:
    for form in _DATED:
        if (found := form.fullmatch(words)) is not None:
            month = next(at for at, name in enumerate(MONTHS, 1) if name.lower().startswith(found["month"][:3]))
            of = int(found["year"].replace(" ", "")) if found["year"] else None
            return _checked(text, found["weekday"], _in_year(text, today, of, month, int(found["day"])))
    if (found := _NUMBERED.fullmatch(words)) is not None:
        return _checked(text, found["weekday"], _in_month(text, today, int(found["day"])))
    if (found := _SLASHED.fullmatch(words)) is not None:
        return _slashed(text, today, int(found[1]), int(found[2]), int(found[3]) if found[3] else None)
    raise ValueError(f"{text!r} is no day; say it like tomorrow, Tuesday, December first or 2026-12-01")


def _distance(number: str, unit: str) -> timedelta:
    count = 1 if number in ("a", "an") else int(number)
    return min(count, 3650) * (_DAY if unit == "day" else _WEEK)


def _in_year(text: str, today: date, of: int | None, month: int, day: int) -> date:
    """Without a year, the next such day."""
    if of:
        return _date(text, of, month, day)
    for ahead in range(_YEARS_AHEAD + 1):
        found = _known(today.year + ahead, month, day)
        if found is not None and found >= today:
            return found
    raise ValueError(f"{text!r}: there is no such day")


def _in_month(text: str, today: date, day: int) -> date:
    for ahead in range(12):
        months = today.year * 12 + today.month - 1 + ahead
        found = _known(months // 12, months % 12 + 1, day)
        if found is not None and found >= today:
            return found
    raise ValueError(f"{text!r}: there is no such day")


def _slashed(text: str, today: date, first: int, second: int, of: int | None) -> date:
    """As it is written in America; what may be meant as it is in Europe is not guessed."""
    if first <= 12 and second <= 12 and first != second:
        raise ValueError(f"{text!r} may be in {MONTHS[first - 1]} or in {MONTHS[second - 1]}; name the month")
    month, day = (second, first) if first > 12 else (first, second)
    return _in_year(text, today, of, month, day)


def _checked(text: str, weekday: str | None, found: date) -> date:
    if weekday and _weekday(weekday) != found.weekday():
        raise ValueError(
            f"{text!r}: {MONTHS[found.month - 1]} {found.day}, {found.year} is a {WEEKDAYS[found.weekday()]}"
        )
    return found


def _date(text: str, of: int, month: int, day: int) -> date:
    found = _known(of, month, day)
    if found is None:
        raise ValueError(f"{text!r}: there is no such day")
    return found


def _known(of: int, month: int, day: int) -> date | None:
    try:
        return date(of, month, day) if of in _YEARS else None
    except ValueError:
        return None


def _weekday(name: str) -> int:
    return next(at for at, weekday in enumerate(WEEKDAYS) if weekday.lower().startswith(name[:3]))


def spoken_day(day: date, today: date) -> str:
    """``today``, ``tomorrow``, a weekday within a week, else the date with it."""
    away = (day - today).days
    weekday = WEEKDAYS[day.weekday()]
    if away in (0, 1):
        return ("today", "tomorrow")[away]
    if 1 < away < 7:
        return weekday
    said = f"{weekday}, {MONTHS[day.month - 1]} {ordinal(day.day)},"
    return said if day.year == today.year else f"{said} {year(day.year)},"

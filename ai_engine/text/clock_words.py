"""Times of day as people say them."""

import re
from collections.abc import Mapping

from ai_engine.text.english_numbers import number
from ai_engine.text.number_words import plain_words

_NOON, _HALF_DAY, _DAY = 12 * 60, 12 * 60, 24 * 60
_MORNING_FROM = 8
"""What is earlier on the dial is meant after noon, unless somebody says otherwise."""

_ASIDE = re.compile(r"^(?:at|around|about|by|from|exactly)\s|\s(?:sharp|exactly|please|hours)$")
_PARTS: Mapping[str, str] = {"morning": "am", "afternoon": "pm", "evening": "pm", "night": "pm"}
_PART = re.compile(r"(?:(?:in the|this|at)\s)?\b(morning|afternoon|evening|night)$")
_HALF = re.compile(r"^(.*?)\s?\b([ap]m)$")
_WITH_ZERO = re.compile(r"0\d(?::?\d\d){0,2}")
_FORMS = (
    re.compile(r"(?P<h>\d{1,2})(?: oclock| hundred)?"),
    re.compile(r"(?P<h>\d{1,2})[: ](?P<m>\d{2})(?::00)?"),
    re.compile(r"(?P<h>\d{1,2}) (?:oh|o|0) (?P<m>\d)"),
    re.compile(r"(?P<h>\d{2})(?P<m>\d{2})"),
)
_DISTANCE = r"(?P<m>half|(?:a )?quarter|\d{1,2}(?: minutes?)?)"
_FROM_HOUR = re.compile(rf"{_DISTANCE} (?P<way>past|after|to|before|of|till?) (?P<h>\d{{1,2}})(?: oclock)?")
_BRITISH_HALF = re.compile(r"half (?P<h>\d{1,2})")


def part_of_day(text: str) -> tuple[str, str]:
    """``tomorrow afternoon`` is ``tomorrow``, and ``pm``; the latter is empty where nothing says so."""
    found = _PART.search(text)
    if found is None:
        return text, ""
    return text[: found.start()].strip(), _PARTS[found[1]]


def minutes_meant(text: str, part: str = "") -> tuple[int, ...]:
    """Minutes since midnight, what is most likely meant first. ``part`` (``am``, ``pm``) counts where ``text`` does not
    say. Midnight is at the end of a day. Raises ValueError with a sentence."""
    words, said = part_of_day(_without_asides(plain_words(text)))
    words = _without_asides(words)
    if words in ("noon", "midday", "12 noon"):
        return (_NOON,)
    if words in ("midnight", "12 midnight"):
        return (_DAY,)
    found = _HALF.fullmatch(words)
    if found is not None:
        words, said = found[1], found[2]
    hour, minutes = _on_dial(words)
    if minutes is None:
        raise ValueError(f"{text!r} is no time of day; say it like ten thirty, two p.m. or 14:30")
    if not 1 <= hour <= 12 or (_WITH_ZERO.fullmatch(words) and not said):
        return _of_a_whole_day(minutes, said, text)
    return _in_half(minutes % _HALF_DAY, said or part)


def _without_asides(words: str) -> str:
    while (shorter := _ASIDE.sub("", words)) != words:
        words = shorter
    return words


def _on_dial(words: str) -> tuple[int, int | None]:
    """The hour that is named, and the minutes since midnight, on a dial of twelve hours or of twenty-four."""
    for form in _FORMS:
        if (found := form.fullmatch(words)) is not None:
            return int(found["h"]), _minutes(int(found["h"]), int(found.groupdict().get("m") or 0))
    if (found := _BRITISH_HALF.fullmatch(words)) is not None:
        return int(found["h"]), _minutes(int(found["h"]), 30)
    if (found := _FROM_HOUR.fullmatch(words)) is not None:
        return int(found["h"]), _away(_minutes(int(found["h"]), 0), found["m"], found["way"])
    return 0, None


def _minutes(hour: int, minute: int) -> int | None:
    return hour * 60 + minute if hour < 24 and minute < 60 else None


def _away(hour: int | None, distance: str, way: str) -> int | None:
    words = {"half": 30, "quarter": 15, "a quarter": 15}
    minutes = words[distance] if distance in words else int(distance.split()[0])
    if hour is None or minutes > 59:
        return None
    return (hour + (minutes if way in ("past", "after") else -minutes)) % _DAY


def _of_a_whole_day(minutes: int, half: str, text: str) -> tuple[int, ...]:
    if half == "am" and minutes >= _NOON:
        raise ValueError(f"{text!r} is both before noon and after it")
    return (minutes,)


def _in_half(minutes: int, half: str) -> tuple[int, ...]:
    """``minutes`` since noon or midnight."""
    if half:
        return (minutes + (_HALF_DAY if half == "pm" else 0),)
    after_noon = minutes + _HALF_DAY
    return (minutes, after_noon) if minutes >= _MORNING_FROM * 60 else (after_noon, minutes)


def spoken_time(hour: int, minute: int) -> str:
    """As somebody at work says it: ``ten thirty``, ``two p.m.``; what is not said is the morning."""
    if (hour, minute) == (12, 0):
        return "noon"
    said = number(str(hour % 12 or 12))
    if minute:
        said += f" {'oh ' if minute < 10 else ''}{number(str(minute))}"
    if _MORNING_FROM <= hour < 12:
        return said
    return f"{said} {'p' if hour >= 12 else 'a'}.m."

"""Numbers, dates, money, units and shorthand of English text, as people say them."""

import re
from collections.abc import Callable, Mapping

from ai_engine.text.english_numbers import MONTHS, amount, clock, digits, number, ordinal, year

_N = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
"""A number as it is written in English."""
_TO = r"\s?[-\u2013\u2014]\s?"
_MONTH = r"(Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?|Aug(?:ust|\.)?|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"  # noqa: E501
_HALF_DAY = r"(?:\s?([AaPp])\.?\s?[Mm](?:\.(?!\s*$)|\b))"
_COINS: Mapping[str, tuple[str, str, str, str]] = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "\u20ac": ("euro", "euros", "cent", "cents"),
    "\u00a3": ("pound", "pounds", "penny", "pence"),
    "\u00a5": ("yen", "yen", "sen", "sen"),
    "\u20b9": ("rupee", "rupees", "paisa", "paise"),
    "USD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "CHF": ("franc", "francs", "centime", "centimes"),
}
_COIN = "|".join(map(re.escape, _COINS))
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion"}
_SCALE = r"(?:\s?(thousand|million|billion|trillion|k|K|M|mn|bn|B)\b)?"
_UNITS: Mapping[str, tuple[str, str]] = {
    "km/h": ("kilometer per hour", "kilometers per hour"), "mph": ("mile per hour", "miles per hour"),
    "km": ("kilometer", "kilometers"), "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"),
    "m\u00b2": ("square meter", "square meters"), "sqm": ("square meter", "square meters"),
    "sq ft": ("square foot", "square feet"), "ft": ("foot", "feet"), "yd": ("yard", "yards"), "mi": ("mile", "miles"),
    "m": ("meter", "meters"), "kg": ("kilogram", "kilograms"), "mg": ("milligram", "milligrams"),
    "g": ("gram", "grams"), "lbs": ("pound", "pounds"), "lb": ("pound", "pounds"), "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"), "l": ("liter", "liters"), "L": ("liter", "liters"),
    "kWh": ("kilowatt hour", "kilowatt hours"), "kW": ("kilowatt", "kilowatts"), "W": ("watt", "watts"),
    "kB": ("kilobyte", "kilobytes"), "KB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz"),
    "ms": ("millisecond", "milliseconds"), "secs": ("second", "seconds"), "sec": ("second", "seconds"),
    "mins": ("minute", "minutes"), "min": ("minute", "minutes"), "hrs": ("hour", "hours"), "hr": ("hour", "hours"),
    "h": ("hour", "hours"), "\u00b0C": ("degree Celsius", "degrees Celsius"),
    "\u00b0F": ("degree Fahrenheit", "degrees Fahrenheit"), "\u00b0": ("degree", "degrees"),
    "%": ("percent", "percent"),
}  # fmt: skip
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_FRACTIONS = {
    "1/2": "a half", "1/3": "a third", "2/3": "two thirds", "1/4": "a quarter", "3/4": "three quarters",
    "\u00bd": "a half", "\u2153": "a third", "\u2154": "two thirds", "\u00bc": "a quarter", "\u00be": "three quarters",
    "24/7": "twenty-four seven",
}  # fmt: skip
_DIGITWISE = r"(?i:code|pin|extension|ext\.?|zip|postcode|account|reference|confirmation|tracking|flight)"

_Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def _rule(pattern: str, say: Callable[[re.Match[str]], str]) -> _Rule:
    return re.compile(pattern), say


def _phone(found: re.Match[str]) -> str:
    plus = "plus " if found[0].lstrip("(").startswith("+") else ""
    return plus + ", ".join(digits(group) for group in re.findall(r"\d+", found[0]))


def _money(minus: str | None, coin: str, text: str, scale: str | None) -> str:
    one, many, cent, cents = _COINS[coin]
    sign = "minus " if minus else ""
    whole, _, part = text.replace(",", "").partition(".")
    if scale:
        return f"{sign}{amount(text)} {_SCALES.get(scale.lower(), scale)} {many}"
    if len(part) != 2:
        return f"{sign}{amount(text)} {one if whole == '1' and not part else many}"
    said = [f"{number(whole)} {one if int(whole) == 1 else many}"] if int(whole) or not int(part) else []
    if int(part):
        said.append(f"{number(str(int(part)))} {cent if int(part) == 1 else cents}")
    return sign + " and ".join(said)


def _time(hour: str, minute: str | None, half: str | None) -> str:
    return clock(int(hour), None if minute is None else int(minute), half)


def _date(month: int, day: int, of: str | None) -> str:
    return f"{MONTHS[month - 1]} {ordinal(day)}" + (f", {year(int(of))}" if of else "")


def _month_number(name: str) -> int:
    return next(i for i, month in enumerate(MONTHS, 1) if month.lower().startswith(name.rstrip(".").lower()[:3]))


def _measure(found: re.Match[str]) -> str:
    one, many = _UNITS[found[3]]
    minus = "minus " if found[1] else ""
    return f"{minus}{amount(found[2])} {one if found[2] == '1' else many}"


def _whole(found: re.Match[str]) -> str:
    text = found[2]
    minus = "minus " if found[1] else ""
    if re.fullmatch(r"(?:19|20)\d\d", text) and not minus:
        return year(int(text))
    return minus + amount(text)


_RULES: tuple[_Rule, ...] = (
    # dates
    _rule(r"\b(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b", lambda m: _date(int(m[2]), int(m[3]), m[1])),
    _rule(
        rf"\b{_MONTH}\s(0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?![\d:%]|[.,]\d|{_TO}\d)(?:,?\s(\d{{4}})\b)?",
        lambda m: _date(_month_number(m[1]), int(m[2]), m[3]),
    ),
    _rule(
        rf"\b(?:the\s)?(0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH}(?!\w)(?:,?\s(\d{{4}})\b)?",
        lambda m: (
            f"the {ordinal(int(m[1]))} of {MONTHS[_month_number(m[2]) - 1]}" + (f", {year(int(m[3]))}" if m[3] else "")
        ),
    ),
    _rule(r"\b((?:1[89]|20)\d0)s\b", lambda m: year(int(m[1])).removesuffix("y") + ("ies" if m[1][2] != "0" else "s")),
    _rule(
        r"(?<![\w/])(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])/((?:19|20)\d\d)(?![\w/])",
        lambda m: _date(int(m[1]), int(m[2]), m[3]),
    ),
    # times of day
    _rule(
        rf"\b([01]?\d|2[0-3])(?::([0-5]\d))?{_HALF_DAY}?{_TO}([01]?\d|2[0-3])(?::([0-5]\d))?{_HALF_DAY}",
        lambda m: f"{_time(m[1], m[2], m[3])} to {_time(m[4], m[5], m[6])}",
    ),
    _rule(
        rf"\b([01]?\d|2[0-3]):([0-5]\d){_TO}([01]?\d|2[0-3]):([0-5]\d)\b(?!:)",
        lambda m: f"{_time(m[1], m[2], None)} to {_time(m[3], m[4], None)}",
    ),
    _rule(rf"\b([01]?\d|2[0-3])(?::([0-5]\d))?{_HALF_DAY}", lambda m: _time(m[1], m[2], m[3])),
    _rule(r"\b([01]?\d|2[0-3]):([0-5]\d)\b(?!:)", lambda m: _time(m[1], m[2], None)),
    # telephone numbers
    _rule(r"\+\d[\d ()./-]{5,20}\d\b", _phone),
    _rule(r"(?<![\w.,])(?:1[-. ])?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}\b(?![-.,]?\d)", _phone),
    _rule(r"(?<![\w.,-])\d{3}-\d{4}\b(?![-.,]?\d)", _phone),
    _rule(
        rf"\b({_DIGITWISE}(?:\s(?:number|code|no\.?|is|#))*:?\s)#?(\d{{2,}})\b(?![.,:%]\d)",
        lambda m: m[1] + digits(m[2]),
    ),
    _rule(r"\b((?i:call|dial|press|calling|dialing)\s)(\d{3})\b(?![-.,:%]?\d)", lambda m: m[1] + digits(m[2])),
    # money
    _rule(
        rf"(-)?({_COIN})\s?({_N}){_TO}(?:{_COIN})?\s?({_N}){_SCALE}",
        lambda m: f"{amount(m[3])} to {_money(None, m[2], m[4], m[5])}",
    ),
    _rule(rf"(-)?({_COIN})\s?(\d+),(\d\d)(?!\d|,\d)", lambda m: _money(m[1], m[2], f"{m[3]}.{m[4]}", None)),
    _rule(rf"(-)?({_COIN})\s?({_N}){_SCALE}", lambda m: _money(m[1], m[2], m[3], m[4])),
    _rule(
        rf"(?<![\w.,])(-)?(\d+(?:[.,]\d\d)?|{_N})\s?({_COIN})(?!\w)",
        lambda m: _money(m[1], m[3], re.sub(r",(\d\d)$", r".\1", m[2]), None),
    ),
    # measures
    _rule(
        rf"(?<![\w.,])({_N})(?:\s?(?:{_UNIT}))?{_TO}({_N})\s?({_UNIT})(?!\w)",
        lambda m: f"{amount(m[1])} to {amount(m[2])} {_UNITS[m[3]][1]}",
    ),
    _rule(rf"(?<![\w.,])([-\u2212])?({_N})\s?({_UNIT})(?!\w)", _measure),
    # counts
    _rule(r"(?<!\w)(\d{1,9})(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1]))),
    _rule(
        r"(?<![\w/.,])(?:(\d+)\s)?(1/2|1/3|2/3|1/4|3/4)(?![\w/])",
        lambda m: (f"{number(m[1])} and " if m[1] else "") + _FRACTIONS[m[2]],
    ),
    _rule(
        r"(\d+)?\s?([\u00bd\u2153\u2154\u00bc\u00be])",
        lambda m: (f"{number(m[1])} and " if m[1] else " ") + _FRACTIONS[m[2]],
    ),
    _rule(r"(?<![\w/])24/7(?![\w/])", lambda m: _FRACTIONS[m[0]]),
    _rule(r"#(?=\d)", lambda m: "number "),
    _rule(r"\b[Nn]os?\.\s(?=\d)", lambda m: "number "),
    _rule(r"~\s?(?=\d)", lambda m: "about "),
    _rule(r"(?<![\w.])\d+(?:\.\d+){2,}(?![\w])", lambda m: " dot ".join(map(number, m[0].split(".")))),
    _rule(rf"(?<![\w.,])({_N})\s?[\u2013-]\s?({_N})(?![\w]|[.,-]\d)", lambda m: f"{amount(m[1])} to {amount(m[2])}"),
    _rule(rf"({_N})\s?[x\u00d7]\s?(?={_N}(?!\w))", lambda m: f"{amount(m[1])} by "),
    _rule(r"(?<=\d)\s?/\s?(?=\d)", lambda m: " slash "),
    _rule(r"(?<=\w)\s?/\s?(?=(?:second|minute|hour|day|night|week|month|year|person|each)\b)", lambda m: " per "),
    _rule(r"(?<=\w)\s[*\u00d7]\s(?=\d)", lambda m: " times "),
    _rule(r"(?<=[\w)])\s[+]\s(?=[\w(])", lambda m: " plus "),
    _rule(r"(?<=[\w)])\s?=\s?(?=[\w(])", lambda m: " equals "),
    _rule(rf"(?<![\w.])((?<!\d)[-\u2212])?({_N})(?![A-Za-z_])", _whole),
)


_DAY_FIRST = re.compile(r"(?<![\w/])(0?[1-9]|[12]\d|3[01])/(0?[1-9]|1[0-2])/((?:19|20)\d\d)(?![\w/])")


def say_numbers(text: str, *, day_first: bool = False) -> str:
    """``text`` with every number in words, but for those that are part of a name (``A4``).

    ``day_first``: 5/3/2024 is in March.
    """
    if day_first:
        text = _DAY_FIRST.sub(r"\2/\1/\3", text)
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return text

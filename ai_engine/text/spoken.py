"""What a voice is given to say, made of what a language model wrote."""

import re
from collections.abc import Mapping

from ai_engine.text.addresses import spell_addresses
from ai_engine.text.english import say_numbers
from ai_engine.text.markup import Markup

_SHORTHAND: Mapping[str, str] = {
    "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Dr.": "Doctor", "Prof.": "Professor", "e.g.": "for example",
    "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately", "Inc.": "Incorporated",
    "Ltd.": "Limited", "dept.": "department", "Dept.": "Department", "ext.": "extension", "Ext.": "extension",
    "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road", "Apt.": "Apartment", "Jr.": "Junior", "Sr.": "Senior",
    "w/": "with", "&": "and",
}  # fmt: skip
_SHORT = re.compile(r"(?<![\w.])(?:" + "|".join(map(re.escape, _SHORTHAND)) + r")(?!\w)(,(?=\s))?")
_SAINT = re.compile(r"\bSt\.\s(?=[A-Z])")
_STREET = re.compile(r"(?<=[A-Za-z]\s)St\.(?!\s[A-Z])")
_DOTTED = re.compile(r"\b(?:[A-Z]\.){2,}(?=$|[\s,;:!?)])")
_CAPITALS = re.compile(r"\b([A-Z]{2,6})(s)?\b(?!')")
_SPELLED = frozenset(
    {
        "AC", "AI", "API", "ATM", "CEO", "CFO", "CIA", "CIO", "CTO", "DIY", "ETA", "EU", "EUR", "FAQ", "FBI", "GPA",
        "GPU", "CPU", "IBAN", "ID", "IOU", "IP", "IRS", "ISO", "IT", "IVR", "OCR", "PA", "PO", "QA", "ROI", "SEO",
        "SUV", "UAE", "UI", "UK", "UN", "UPS", "URL", "US", "USA", "USB", "USD", "UTC", "UX", "VIP", "VOIP", "EST",
        "EDT", "IQ", "DOB", "AA", "UV", "OTP",
    }
)  # fmt: skip
_SAID_AS_WORDS = frozenset(
    {
        "AM", "PM", "OK", "MR", "MRS", "DR",
    }
)  # fmt: skip
_VOWELS = frozenset("AEIOUY")
_DANGLING = re.compile(r"[#*_`~^|<>{}\[\]\\=\u2022]+")
_SPACES = re.compile(r"\s+")
_HAS_WORD = re.compile(r"\w")


class Spoken:
    """Cleans the clauses of one answer, given in order."""

    def __init__(self, language: str = "en-US") -> None:
        """``language`` is a BCP 47 tag. Other languages than English leave numbers to the voice."""
        self._language = language
        self._markup = Markup()

    def clean(self, clause: str) -> str:
        """``clause`` as it should be read out; empty when there is nothing to say."""
        return say(self.plain(clause), self._language)

    def plain(self, clause: str) -> str:
        """``clause`` for a reader, without marks; each clause is given either here or to ``clean``."""
        return self._markup.plain(clause)


def say(plain: str, language: str) -> str:
    """Plain text as it should be read out."""
    text = spell_addresses(plain, language)
    name, _, region = language.lower().partition("-")
    if name == "en":
        text = _acronyms(say_numbers(_shorthand(text), day_first=region not in ("", "us")))
    text = _SPACES.sub(" ", _DANGLING.sub(" ", text)).strip()
    return text if _HAS_WORD.search(text) else ""


def _shorthand(text: str) -> str:
    text = _STREET.sub("Street", _SAINT.sub("Saint ", text))
    text = _SHORT.sub(lambda found: _SHORTHAND[found[0].rstrip(",")] + (found[1] or ""), text)
    return _DOTTED.sub(lambda found: found[0].replace(".", ""), text)


def _acronyms(text: str) -> str:
    return _CAPITALS.sub(_acronym, text)


def _acronym(found: re.Match[str]) -> str:
    word, plural = found[1], found[2] or ""
    if word in ("AM", "PM"):
        return f"{word[0]} {word[1]}{plural}"
    if word in _SAID_AS_WORDS:
        return found[0]
    if word in _SPELLED or not _VOWELS & set(word):
        return " ".join(word) + plural
    return word.capitalize() + plural  # NASA, or a word that was only meant to be loud

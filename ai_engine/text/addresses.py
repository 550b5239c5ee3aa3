"""Web and mail addresses, as people say them."""

import re
from collections.abc import Mapping

_SAID: Mapping[str, Mapping[str, str]] = {
    "en": {"@": "at", ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "+": "plus"},
    "de": {"@": "at", ".": "Punkt", "/": "Schr\u00e4gstrich", "-": "Minus", "_": "Unterstrich", "+": "Plus"},
    "fr": {"@": "arobase", ".": "point", "/": "barre oblique", "-": "tiret", "_": "tiret bas", "+": "plus"},
    "es": {"@": "arroba", ".": "punto", "/": "barra", "-": "guion", "_": "guion bajo", "+": "m\u00e1s"},
    "it": {"@": "chiocciola", ".": "punto", "/": "barra", "-": "trattino", "_": "trattino basso", "+": "pi\u00f9"},
    "pt": {"@": "arroba", ".": "ponto", "/": "barra", "-": "h\u00edfen", "_": "sublinhado", "+": "mais"},
    "nl": {"@": "apenstaartje", ".": "punt", "/": "schuine streep", "-": "streepje", "_": "laag streepje", "+": "plus"},
}
_HOST = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.){1,6}"
    r"(?:com|org|net|edu|gov|info|biz|app|dev|shop|cloud|online|site|int|mil|name|ai|io|[a-z]{2})"
)
_MAIL = re.compile(rf"(?<![\w.+-])(?:mailto:)?([A-Za-z0-9][A-Za-z0-9._+-]{{0,63}}@(?:{_HOST}|[A-Za-z0-9-]+))(?![\w@-])")
_WEB = re.compile(
    rf"(?<![\w@.-])(?:https?://(?P<schemed>[^\s/?#]+)|(?:www\.)?(?P<bare>{_HOST}))(?![\w@-])"
    r"(?P<path>(?:/[^\s?#]*)?)(?:[?#]\S*)?",
)
_TAIL = re.compile(r"[.,;:!?)\]}'\"\u201d\u2019]+$")
_NAME = re.compile(r"([@./_:+-])")


def spell_addresses(text: str, language: str) -> str:
    """``text`` with its addresses in words; a language that has none here keeps them, but for ``https://``.

    The query of an address is left out: nobody says it.
    """
    said = _SAID.get(language.lower().partition("-")[0])
    text = _MAIL.sub(lambda found: _say(found[1], said), text)
    return _WEB.sub(lambda found: _web(found, said), text)


def _web(found: re.Match[str], said: Mapping[str, str] | None) -> str:
    whole = found[0]
    if "/" not in whole and re.search(r"\.\w\.?$|^\w\.\w{1,2}$", whole):
        return whole  # "e.g", "p.m": an abbreviation
    tail = found_tail[0] if (found_tail := _TAIL.search(whole)) else ""
    host = (found["schemed"] or found["bare"]).removeprefix("www.")
    address = _TAIL.sub("", f"{host}{found['path']}").rstrip("/")
    return f"{_say(address, said)}{tail}"


def _say(address: str, said: Mapping[str, str] | None) -> str:
    if said is None:
        return address
    return " ".join(
        "".join(f" {said.get(part, part)} " if len(part) == 1 else part for part in _parts(address)).split()
    )


def _parts(address: str) -> list[str]:
    return [part for part in _NAME.split(address) if part]

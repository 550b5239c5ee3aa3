"""Texts with ``{places}`` to be filled in and ``${SECRETS}`` by reference."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_PIECE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}|\{([A-Za-z_]\w*)\}", re.ASCII)

Encode = Callable[[str], str]


def places(template: Any) -> Iterator[str]:
    """The names of its places; ``template`` is plain data, and all texts in it count."""
    return (place for text in _texts(template) for _, place in _PIECE.findall(text) if place)


def secrets(template: Any) -> Iterator[str]:
    """The environment variables it takes secrets from, likewise."""
    return (secret for text in _texts(template) for secret, _ in _PIECE.findall(text) if secret)


def fill(template: str, values: Mapping[str, Any], keys: Mapping[str, str], encode: Encode = str) -> str:
    """The text with every place and every secret put through ``encode``; a place without a value is empty."""

    def piece(found: re.Match[str]) -> str:
        secret, place = found.groups()
        return encode(keys[secret] if secret else as_text(values.get(place)))

    return _PIECE.sub(piece, template)


def fill_known(text: str, values: Mapping[str, str]) -> str:
    """The text with the places that ``values`` knows filled in, and everything else as it is."""
    return _PIECE.sub(lambda found: values.get(found[2], found[0]) if found[2] else found[0], text)


def fill_data(template: Any, values: Mapping[str, Any], keys: Mapping[str, str]) -> Any:
    """Plain data with its texts filled in. A text that is one place becomes the value itself, number or list; without
    a value, its key is left out."""
    if isinstance(template, str):
        place = lone_place(template)
        return fill(template, values, keys) if place is None else values.get(place)
    if isinstance(template, Mapping):
        return {key: fill_data(part, values, keys) for key, part in template.items() if not is_void(part, values)}
    if isinstance(template, list | tuple):
        return [fill_data(part, values, keys) for part in template]
    return template


def is_void(template: Any, values: Mapping[str, Any]) -> bool:
    """Whether it is one place, and that has no value."""
    place = lone_place(template) if isinstance(template, str) else None
    return place is not None and values.get(place) is None


def lone_place(template: str) -> str | None:
    """The name, where the text is one place and nothing else."""
    found = _PIECE.fullmatch(template)
    return found[2] if found else None


def as_text(value: Any) -> str:
    """How a value is written in the middle of a text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping):
        for part in template.values():
            yield from _texts(part)
    elif isinstance(template, list | tuple):
        for part in template:
            yield from _texts(part)

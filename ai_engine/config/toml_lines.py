"""A TOML file as plain data that remembers on which line everything stands."""

import re
import tomllib
from collections.abc import Iterator

from ai_engine.config.model import Place
from ai_engine.config.yaml_lines import Document
from ai_engine.errors import ConfigError

_AT = re.compile(r"^(.*) \(at (?:line (\d+), column \d+|end of document)\)$", re.DOTALL)
_TEXT = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
"""A text in quotes, of each of the four kinds."""
_COMMENT = re.compile(r"#[^\n]*")


def read(text: str, name: str) -> Document:
    """Parse ``text``; ``name`` is how error messages call the file. Raises ConfigError when it is no TOML."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.match(str(error))
        why, line = (found[1], found[2] or text.count("\n") + 1) if found else (str(error), 1)
        raise ConfigError(f"{name}:{line}: this is not TOML: {why}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}:1: this is not TOML: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"{name}:1: {error}") from error
    return Document(data, dict(_lines(text)))


def _lines(text: str) -> Iterator[tuple[Place, int]]:
    """Every table and key with its line, from 1. ``text`` is known to be TOML."""
    seen: set[Place] = set()
    counts: dict[Place, int] = {}
    table: Place = ()
    for line, statement in _statements(text):
        if statement.startswith("["):
            keys = _keys(statement.strip("[]"))
            if statement.startswith("[["):
                array = _inside(keys, counts, ())
                array = array[:-1] if array[:-1] in counts else array
                counts[array] = counts.get(array, -1) + 1
            place = table = _inside(keys, counts, ())
        else:
            place = _inside(_keys(statement), counts, table)
        for length in range(1, len(place) + 1):
            if place[:length] not in seen:
                seen.add(place[:length])
                yield place[:length], line


def _inside(keys: tuple[str, ...], counts: dict[Place, int], table: Place) -> Place:
    """The place that ``keys`` lead to from ``table``: in the latest table of each array."""
    place = table
    for key in keys:
        place = (*place, key)
        if place in counts:
            place = (*place, counts[place])
    return place


def _keys(written: str) -> tuple[str, ...]:
    """``a."b.c"`` as its keys."""
    keys: list[str] = []
    value = tomllib.loads(f"{written} = 0")
    while isinstance(value, dict):
        [(key, value)] = value.items()
        keys.append(key)
    return tuple(keys)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The line of each statement, and what it begins with: a header in its brackets, or a key."""
    at, line = 0, 1
    while at < len(text):
        if text[at].isspace():
            line += text[at] == "\n"
            at += 1
        elif text[at] == "#":
            at = _past(_COMMENT, text, at)
        else:
            header = text[at] == "["
            begin, end = at, _find(text, at + 1, "\n#") if header else _find(text, at, "=")
            yield line, text[begin:end].strip()
            at = end if header else _end_of_value(text, end + 1)
            line += text.count("\n", begin, at)


def _end_of_value(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        char = text[at]
        if char in "\"'":
            at = _past(_TEXT, text, at)
            continue
        if char == "#":
            at = _past(_COMMENT, text, at)
            continue
        if char == "\n" and depth == 0:
            break
        depth += (char in "[{") - (char in "]}")
        at += 1
    return at


def _find(text: str, at: int, ends: str) -> int:
    """The next of ``ends`` outside quotes, or the end."""
    while at < len(text) and text[at] not in ends:
        at = _past(_TEXT, text, at) if text[at] in "\"'" else at + 1
    return at


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at + 1

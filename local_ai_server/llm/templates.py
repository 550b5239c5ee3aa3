"""Texts with ``{places}`` that are filled from plain data by dotted path: ``{day}``, ``{alternatives.0.spoken}``."""

import re
from collections.abc import Mapping
from typing import Any

from local_ai_server.intent import Pairs, Scalar

_PLACE = re.compile(r"(?P<space>\s*)\{(?P<path>\w[\w-]*(?:\.[\w-]+)*)\}")


def at(path: str, data: Any) -> Any:
    """The part of plain data that a dotted path leads to; None where it leads nowhere."""
    for step in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data


def fill(text: str, scope: Mapping[str, Any]) -> str:
    """``text`` with each place replaced by its value; one without leaves no trace."""

    def value(found: re.Match[str]) -> str:
        value = at(found["path"], scope)
        return "" if value is None or value == "" else f"{found['space']}{value}"

    return _PLACE.sub(value, text).strip()


def fill_arguments(arguments: Pairs, scope: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a tool; one that is a single place becomes the value itself, and is left out without one."""
    filled = {name: _filled(value, scope) for name, value in arguments}
    return {name: value for name, value in filled.items() if value is not None}


def is_same(value: Any, wanted: Scalar) -> bool:
    """Equal as JSON has it, where 1 is not true."""
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def _filled(value: Scalar, scope: Mapping[str, Any]) -> Any:
    if not isinstance(value, str):
        return value
    lone = _PLACE.fullmatch(value)
    return fill(value, scope) if lone is None else at(lone["path"], scope)

"""The ``.env`` file: one ``NAME=value`` per line, as docker compose reads it."""

import re
from dataclasses import dataclass, field

_LINE = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*+
        (?: "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>[^']*)' | (?P<bare>(?!["']).*?) )
        \s*(?:(?<=\s)\#.*)?""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Variable:
    """One line's value and its number, from 1."""

    value: str = field(repr=False)
    line: int


def parse(text: str) -> tuple[dict[str, Variable], list[int]]:
    """The variables, and the numbers of the lines that are none. The last of two equal names counts."""
    variables: dict[str, Variable] = {}
    broken: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            broken.append(number)
        else:
            variables[match["name"]] = Variable(_value(match), number)
    return variables, broken


def _value(match: re.Match[str]) -> str:
    if (quoted := match["double"]) is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), quoted)
    return match["single"] if match["single"] is not None else match["bare"]

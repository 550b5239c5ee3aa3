"""A YAML file as plain data that remembers on which line everything stands."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from ai_engine.errors import ConfigError

Place = tuple[str | int, ...]
"""Where a value stands: the keys and list positions that lead to it."""


class _Scalars(yaml.SafeLoader):
    """YAML 1.2 scalars: a caller may say a bare ``yes`` or ``no``, and ``12:30`` is no number in base 60."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern in {
    "null": r"~|null|",
    "bool": r"true|false",
    "int": r"[-+]?(0|[1-9][0-9]*)",
    "float": r"[-+]?(0|[1-9][0-9]*)?\.[0-9]+([eE][-+]?[0-9]+)?",
}.items():
    _Scalars.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), None)


@dataclass
class Document:
    """``data`` is made of dict, list, str, int, float, bool and None."""

    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    """The line, from 1, of every key and list item."""
    problems: list[tuple[Place, int, str]] = field(default_factory=list)
    """Where (keys and line) the text is no plain data, and why."""

    def line(self, place: Place) -> int:
        """The line of ``place``, or of the nearest key around it."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 1)


def scalar(text: str) -> Any:
    """``text`` as the file would understand it if it stood there without quotes."""
    loader = _Scalars("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return loader.construct_object(yaml.ScalarNode(tag, text))


def read(text: str, name: str) -> Document:
    """Parse ``text``; ``name`` is how error messages call the file. Raises ConfigError when it is no YAML."""
    document = Document()
    try:
        loader = _Scalars(text)
        root = loader.get_single_node()
        if root is not None:
            document.data = _Reader(loader, document).value(root, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = "a text that begins with [ or {, or contains ': ', needs quotes"
        raise ConfigError(f"{name}:{line}: this is not YAML: {error.problem} ({hint})") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{name}:{line}: this is not YAML: the character {chr(error.character)!r}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}:1: this is not YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{name}:1: nested too deeply") from error
    return document


class _Reader:
    def __init__(self, loader: _Scalars, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._inside: list[yaml.Node] = []

    def value(self, node: yaml.Node, place: Place) -> Any:
        self._document.lines.setdefault(place, node.start_mark.line + 1)
        if node in self._inside:
            self._complain(place, node, "contains itself")
            return None
        self._inside.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, place)
        finally:
            self._inside.pop()

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(place, key_node, "a key must be one word")
                continue
            key = key_node.value
            inside = (*place, key)
            if key in found:
                first = self._document.lines[inside]
                self._complain(inside, key_node, f"written twice (first in line {first})")
                continue
            self._document.lines[inside] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, inside)
        return found

    def _scalar(self, node: yaml.Node, place: Place) -> Any:
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._complain(place, node, f"the tag {node.tag} is not for this file")
            return None

    def _complain(self, place: Place, node: yaml.Node, why: str) -> None:
        self._document.problems.append((place, node.start_mark.line + 1, why))

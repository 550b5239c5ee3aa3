"""A section of the file that stands in a JSON file of its own, in camel case."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.alias_generators import to_camel, to_snake

from ai_engine.config.model import Place
from ai_engine.config.overrides import Origin
from ai_engine.config.yaml_lines import Document, read
from ai_engine.errors import ConfigError


@dataclass
class JsonSection:
    """What it says, with keys as in the YAML."""

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[Place, Origin] = field(default_factory=dict)
    """Where each value stands."""
    problems: list[tuple[Origin, str]] = field(default_factory=list)

    def merge_into(self, section: dict[str, Any]) -> None:
        """Write it over the sections within ``section``, key by key; what is deeper is replaced as a whole."""
        [(root, _)] = [(place, origin) for place, origin in self.origins.items() if not origin.name]
        del self.origins[root]
        for key, value in self.data.items():
            if isinstance(value, dict) and isinstance(section.get(key), dict):
                section[key] |= value
                # What stands in neither is missing in the file that is for all.
                del self.origins[(*root, key)]
            else:
                section[key] = value


def read_section(path: Path, place: Place, model: type[BaseModel]) -> JsonSection:
    """Raises ConfigError when ``path`` holds no JSON object. ``place`` is that of the section in the YAML."""
    document = _read(path)
    section = JsonSection()
    section.problems = [
        (Origin(f"{path}:{line}", where, line, to_camel), why) for where, line, why in document.problems
    ]
    section.data = _Translator(path, document, section).object(document.data, model, place, ())
    return section


def _read(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
        data = json.loads(text, parse_constant=_no_number)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: this is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: this is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f'{path}:1: must be an object, like {{"telephony": {{…}}}}')
    # JSON is YAML, but for tabs between its words; within a text there are none.
    document = read(text.replace("\t", " "), str(path))
    document.data = data
    return document


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


@dataclass
class _Translator:
    path: Path
    document: Document
    section: JsonSection

    def object(self, data: dict[str, Any], kind: Any, place: Place, written: Place) -> dict[str, Any]:
        """``data`` with the keys that ``kind`` knows in snake case; ``written`` is its place in the JSON."""
        self._remember(place, written)
        found: dict[str, Any] = {}
        for key, value in data.items():
            name, inner = _known(key, kind)
            here = (*written, key)
            if name in found:
                self.section.problems.append((self._origin(here), "written twice, in both spellings"))
            elif value == "" and NoneType in get_args(inner):
                continue  # as an empty variable counts as not set
            else:
                found[name] = self._value(value, inner, (*place, name), here)
        return found

    def _value(self, value: Any, kind: Any, place: Place, written: Place) -> Any:
        if isinstance(value, dict):
            return self.object(value, kind, place, written)
        self._remember(place, written)
        if isinstance(value, list):
            inner = next(iter(get_args(kind)), None)
            return [self._value(item, inner, (*place, at), (*written, at)) for at, item in enumerate(value)]
        return value

    def _remember(self, place: Place, written: Place) -> None:
        self.section.origins[place] = self._origin(written)

    def _origin(self, written: Place) -> Origin:
        line = self.document.line(written)
        return Origin(f"{self.path}:{line}", written, line, to_camel)


def _known(key: str, kind: Any) -> tuple[str, Any]:
    """The name of ``key`` in an object of that kind, and what is expected there."""
    kind = next((one for one in get_args(kind) if one is not NoneType), kind) if NoneType in get_args(kind) else kind
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        name = key if key in kind.model_fields else to_snake(key)
        return (name, kind.model_fields[name].annotation) if name in kind.model_fields else (key, None)
    return key, get_args(kind)[-1] if get_origin(kind) is Mapping else None

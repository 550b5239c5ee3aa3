"""Changes single values of an agent's file, and keeps its comments and its order."""

import re
from collections.abc import Mapping, MutableMapping
from io import StringIO
from typing import Any

import tomlkit
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import LiteralScalarString
from tomlkit.exceptions import TOMLKitError

from ai_engine.config import yaml_lines
from ai_engine.errors import ConfigError

_WIDE = 4096
_CONVO_WORDS = {"greeting": "greeting_message", "language": "language"}
"""Keys of a YAML file that are asked for with a convo.toml, too."""


def edited(suffix: str, text: str, sets: Mapping[str, str]) -> str:
    """``text`` with the values of the dotted keys of ``sets``; `null` takes a key away. Raises ConfigError."""
    try:
        values = {key: _value(key, value) for key, value in sets.items()}
        return _toml(text, values) if suffix == ".toml" else _yaml(text, values)
    except (YAMLError, TOMLKitError, RecursionError, ValueError) as error:
        raise ConfigError(f"the file cannot be changed: {error}") from error


def _yaml(text: str, values: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _WIDE
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(text) or CommentedMap()
    for key, value in values.items():
        _put(document, key, _dressed(value), CommentedMap)
    written = StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _dressed(value: Any) -> Any:
    """As people write it: a list in brackets, a long text as lines."""
    if isinstance(value, list):
        items = CommentedSeq(value)
        items.fa.set_flow_style()
        return items
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value


def _toml(text: str, values: Mapping[str, Any]) -> str:
    document = tomlkit.parse(text)
    for key, value in values.items():
        _put(document, _convo_key(document, key), value, tomlkit.table)
    return tomlkit.dumps(document)


def _convo_key(document: Mapping[str, Any], key: str) -> str:
    if key not in _CONVO_WORDS:
        return key
    agent, atem = document.get("agent", {}), document.get("atem", {})
    hears = "mllm" in agent and ("llm" not in agent or atem.get("pipeline") == "mllm")
    table = "mllm" if hears else "asr" if key == "language" else "llm"
    return f"agent.{table}.{_CONVO_WORDS[key]}"


def _put(document: MutableMapping[str, Any], dotted: str, value: Any, make: Any) -> None:
    *around, last = _keys(dotted)
    inside: Any = document
    for depth, key in enumerate(around, 1):
        if isinstance(inside, MutableMapping) and key not in inside:
            inside[key] = make()
        inside = _step(inside, key, ".".join(around[:depth]))
    if not isinstance(inside, MutableMapping):
        at = _index(inside, last, dotted)
        if value is None:
            del inside[at]
        else:
            inside[at] = value
    elif value is None:
        inside.pop(last, None)
    else:
        inside[last] = value


def _keys(dotted: str) -> list[str]:
    """`a."b.c".d` as its keys."""
    keys = [quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|([^."]+)', dotted)]
    if not keys:
        raise ConfigError(f"{dotted!r} is no key: write KEY=VALUE, and dots between keys")
    return keys


def _step(inside: Any, key: str, place: str) -> Any:
    return inside[key] if isinstance(inside, MutableMapping) else inside[_index(inside, key, place)]


def _index(inside: Any, key: str, place: str) -> int:
    if isinstance(inside, list) and key.isdecimal() and int(key) < len(inside):
        return int(key)
    raise ConfigError(f"{place}: there is nothing of that name to be changed")


def _value(key: str, text: str) -> Any:
    """As the file would understand it if it stood there: a text needs no quotes, `[…]` is a list, `{…}` a section."""
    if text[:1] in ("[", "{", '"', "'"):
        try:
            document = yaml_lines.read(text, key)
        except ConfigError:
            return text
        return text if document.problems else document.data
    return text if text == "" else yaml_lines.scalar(text)

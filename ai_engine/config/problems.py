"""What is wrong with a file of settings, in sentences that name file, line and key."""

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ai_engine.config.model import Place
from ai_engine.config.overrides import Origin
from ai_engine.config.yaml_lines import Document

_SECRET_WORDS = ("password", "secret", "token", "api_key", "username")
_SECRET_KEYS = {"key", "salt"}
_SECRET_SECTIONS = {"headers", "env"}

Model = TypeVar("Model", bound=BaseModel)


def check(
    model: type[Model], data: Any, problems: "Problems", secrets_go: Callable[[Place], str] = lambda _: ""
) -> Model | None:
    """``data`` as a ``model``; None where it is none, and ``problems`` say why."""
    try:
        # By way of JSON, so that strict types still take a list where a tuple is kept.
        text = json.dumps(data, default=str)
    except (RecursionError, ValueError):
        problems.at((), "nested too deeply, or a number with too many digits")
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = without_tags(detail["loc"], data)
            known = problems.spelled(place, known_fields(model, place, data))
            problems.at(place, sentence(detail, known, secrets_go(place)))
        return None


class Problems:
    """Collects sentences; says of each place whether the file or the environment put the value there."""

    def __init__(self, path: Path, document: Document, origins: Mapping[Place, Origin]) -> None:
        self._path = path
        self._document = document
        self._origins = origins
        self._found: list[tuple[tuple[int, int], str]] = []
        """With their order: the environment, the lines of the file, those of another file."""

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        return "\n".join(text for _, text in sorted(self._found, key=lambda found: found[0]))

    def add(self, text: str) -> None:
        self._found.append(((0, 0), text))

    def at(self, place: Place, why: str) -> None:
        if (found := self._origin(place)) is None:
            self.at_line(self._document.line(place), place, why)
        else:
            self.at_origin(*found, why)

    def at_origin(self, origin: Origin, below: Place, why: str) -> None:
        name = dotted(origin.called(below))
        order = (2, origin.line) if origin.line else (0, 0)
        self._found.append((order, f"{origin.where}: {name}: {why}" if name else f"{origin.where}: {why}"))

    def spelled(self, place: Place, keys: tuple[str, ...]) -> tuple[str, ...]:
        """``keys`` as they are written where the value of ``place`` stands."""
        found = self._origin(place)
        return keys if found is None else tuple(map(found[0].spell, keys))

    def _origin(self, place: Place) -> tuple[Origin, Place] | None:
        """Of the value, or of the nearest one around it, and the rest of the way."""
        for length in range(len(place), 0, -1):
            if (origin := self._origins.get(place[:length])) is not None:
                return origin, place[length:]
        return None

    def at_line(self, line: int, place: Place, why: str) -> None:
        where = f"{dotted(place)}: " if place else ""
        self._found.append(((1, line), f"{self._path}:{line}: {where}{why}"))


def without_tags(place: Place, data: Any) -> Place:
    """pydantic names, among the keys that lead to a value, the type it took a section to be of."""
    kept: list[str | int] = []
    for index, key in enumerate(place):
        tagged = isinstance(data, dict) and key not in data and data.get("type", kept[-1] if kept else None) == key
        if tagged and index + 1 < len(place):
            continue
        kept.append(key)
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            data = None
    return tuple(kept)


def dotted(place: Place) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).lstrip(".")


def sentence(detail: ErrorDetails, known: tuple[str, ...], secrets_go: str = "") -> str:
    """pydantic's complaint in the words of somebody who edits a file.

    ``known`` are the keys that could stand there; ``secrets_go`` says where secrets belong that do not belong there.
    """
    match detail["type"]:
        case "extra_forbidden":
            return _unknown(str(detail["loc"][-1]), known, secrets_go)
        case "missing":
            return "must be set"
        case "json_invalid":  # its input is the whole file, with what is secret there
            return f"this cannot be taken: {detail['ctx']['error']}"
        case "string_type" if isinstance(detail["input"], int | float) and not _is_secret(detail["loc"]):
            return f'must be text; put it in quotes: "{json.dumps(detail["input"])}"'
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case "union_tag_not_found":
            return "needs a `type`, since its name is none"
        case "union_tag_invalid":
            return f"there is no type {detail['ctx']['tag']!r} (known here: {detail['ctx']['expected_tags']})"
        case "model_type" | "dict_type" | "mapping_type":
            return "must be a section with keys of its own"
    text = detail["msg"].replace("Input should", "must").replace("String should", "must")
    if isinstance(detail["input"], str | int | float) and not _is_secret(detail["loc"], detail["input"]):
        text += f", not {json.dumps(detail['input'])}"
    return text


def _is_secret(place: Place, value: object = "") -> bool:
    """Whether a value must not be shown: what is called so, and a URL with a password in it."""
    name = str(place[-1]).lower() if place else ""
    named = name in _SECRET_KEYS or any(word in name for word in _SECRET_WORDS)
    return (
        named or not _SECRET_SECTIONS.isdisjoint(place) or (isinstance(value, str) and "://" in value and "@" in value)
    )


def _unknown(key: str, fields: tuple[str, ...], secrets_go: str) -> str:
    known = sorted(fields)
    if secrets_go and any(word in key.lower() for word in _SECRET_WORDS):
        return f"secrets do not belong in this file; {secrets_go}, and take this line away"
    if close := get_close_matches(key, known, n=1):
        return f"unknown key (did you mean {close[0]}?)"
    return f"unknown key (known here: {', '.join(known)})"


def known_fields(root: type[BaseModel], place: Place, data: Any) -> tuple[str, ...]:
    """The keys that ``root`` knows beside the last one of ``place``, found by walking down its annotations."""
    model: Any = root
    for key in place[:-1]:
        data = data.get(key) if isinstance(data, dict) else None
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(key))
            model = None if field is None else field.annotation
        else:  # Mapping[str, Section]
            model = get_args(model)[-1] if get_args(model) else None
        model = _section_of(model, (data or {}).get("type", key) if isinstance(data, dict) else key)
    return tuple(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else ()


def _section_of(annotation: Any, type_name: object) -> Any:
    """Among sections told apart by their ``type``, the one of that name; ``X`` of ``X | None``."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    sections = [kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    tagged = [
        kind for kind in sections if "type" in kind.model_fields and kind.model_fields["type"].default == type_name
    ]
    return next(iter(tagged or sections), None)

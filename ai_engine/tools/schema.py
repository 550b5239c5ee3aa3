"""Whether a JSON Schema can describe a tool's arguments."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012


def refusal(schema: Mapping[str, Any]) -> str | None:
    """Why it cannot, as the end of a sentence; None when it can. Nothing is fetched."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"is no JSON Schema: {_at(error)}{error.message}"
    if schema.get("type") != "object":
        return "does not describe an object"
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(dict(schema)))
    for reference in _references(schema):
        try:
            if not reference.startswith("#"):
                return f"refers to {reference!r} outside itself"
            resolver.lookup(reference)
        except Unresolvable:
            return f"refers to {reference!r}, which is not there"
    try:
        Draft202012Validator(dict(schema), registry=Registry()).is_valid({})
    except RecursionError:
        return "refers to itself without end"
    return None


def _at(error: SchemaError) -> str:
    place = ".".join(map(str, error.absolute_path))
    return f"{place}: " if place else ""


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, part in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(part, str):
                yield part
            else:
                yield from _references(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _references(part)

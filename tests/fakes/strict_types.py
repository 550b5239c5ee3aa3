"""A vendor SDK's own types, held to the letter.

pydantic reads an SDK's types kindly: it takes keys they do not have, and looks into an ``Iterable`` only when somebody
walks through it. Here the first is an error and the second a list.
"""

from typing import Any

from pydantic import TypeAdapter
from pydantic_core import CoreSchema, SchemaValidator


def strictly(kind: Any) -> SchemaValidator:
    """Of ``kind``, a TypedDict or model; its ``validate_python(value, strict=True)`` raises ValidationError."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    adapter.rebuild(force=True)  # the SDK's models are built when first used
    return SchemaValidator(_held_to_the_letter(adapter.core_schema))


def _held_to_the_letter(schema: Any) -> CoreSchema | Any:
    if isinstance(schema, list | tuple):
        return type(schema)(_held_to_the_letter(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "model":
        # Without its class, whose own validator would be used instead as soon as it is built.
        schema = {**schema["schema"], **({"ref": schema["ref"]} if "ref" in schema else {})}
    strict = {
        key: part if key in ("metadata", "serialization") else _held_to_the_letter(part) for key, part in schema.items()
    }
    if strict.get("type") == "generator":
        strict["type"] = "list"
    if strict.get("type") in ("typed-dict", "model-fields"):
        strict["extra_behavior"] = "forbid"
    return strict

"""Whether a message is what the vendor's SDK says it is, more strictly than the SDK itself asks."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError


def faults_of(model: type[BaseModel], message: Mapping[str, Any]) -> list[str]:
    """What is wrong with ``message`` as a ``model``; nothing of what it holds is repeated, since it may be a secret.

    The SDK's types let pass unknown fields, a missing ``type`` and any value for a choice; the vendor does not.
    """
    try:
        read = model.model_validate(message, strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
    return list(_faults(read, ""))


def choices(annotation: Any) -> tuple[Any, ...]:
    """What an open enumeration of the SDK lists (``Union[Literal[...], Any]``); nothing when it is none."""
    parts = get_args(annotation)
    if Any not in parts:
        return ()
    listed = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    return (*listed, None) if listed and type(None) in parts else tuple(listed)


def _faults(read: BaseModel, where: str) -> Iterator[str]:
    fields = type(read).model_fields
    for name in read.model_extra or ():
        yield f"{where}{name}: no such field"
    if "type" in fields and "type" not in read.model_fields_set:
        yield f"{where}type: missing"
    for name in read.model_fields_set & fields.keys():
        value = getattr(read, name)
        listed = choices(fields[name].annotation)
        if listed and value not in listed:
            yield f"{where}{name}: not one of the choices"
        yield from _faults_within(value, f"{where}{name}.")


def _faults_within(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from _faults(value, where)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _faults_within(one, f"{where}{number}.")

"""Whether a part of an agent's definition is what it should be; each check raises AgentError naming the field."""

from local_ai_server import phrases
from local_ai_server.errors import AgentError


def an_object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise AgentError(f"{where} must be an object")
    return value


def only_fields(given: dict[str, object], fields: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in fields:
            raise AgentError(f"{where} has the unknown field {key!r}")


def a_text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise AgentError(f"{where} must be text")
    return value


def spoken_texts(value: object, where: str) -> tuple[str, ...]:
    """A list of texts, each with a word in it."""
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise AgentError(f"{where} must be a list of texts, and not empty")
    for item in value:
        if not phrases.words_of(item):
            raise AgentError(f"{where} has {item!r}, in which there is no word")
    return tuple(value)

"""What a caller talks to: the agent's definition, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from local_ai_server import phrases
from local_ai_server.errors import AgentError

ACTIONS = ("hangup", "transfer")
_TEXTS = ("name", "language", "voice", "greeting", "prompt", "fallback", "nudge", "goodbye")
_FIELDS = (*_TEXTS, "intents", "slots", "fallback_limit")
_INTENT_FIELDS = ("phrases", "answer", "action")


@dataclass(frozen=True, slots=True)
class Intent:
    """Something a caller may want, how it is said, and what the agent says and does about it."""

    name: str
    phrases: tuple[str, ...]
    answer: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent. Hashable, so that what is built from it can be cached by it."""

    name: str
    language: str = "en-US"
    voice: str = ""
    """``slt``, ``espeak:VOICE`` …; empty: chosen by the language."""
    greeting: str = ""
    prompt: str = ""
    intents: tuple[Intent, ...] = ()
    slots: tuple[tuple[str, tuple[str, ...]], ...] = ()
    fallback: str = ""
    fallback_limit: int = 3
    nudge: str = ""
    goodbye: str = "I cannot hear you. Goodbye."
    """Said instead of the last ``nudge``, before the caller is given up."""
    slot_words: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slot_words", MappingProxyType(dict(self.slots)))

    def __reduce__(self) -> tuple[Any, ...]:
        # mapping proxies do not pickle, and everything else makes the object anew
        texts = (self.name, self.language, self.voice, self.greeting, self.prompt)
        rest = (self.fallback, self.fallback_limit, self.nudge, self.goodbye)
        return (Agent, (*texts, self.intents, self.slots, *rest))


def read_agent(value: object) -> Agent:
    """The agent in a ``start`` message. Raises AgentError with a sentence naming the field."""
    given = _object(value, "agent")
    _known(given, _FIELDS, "agent")
    texts = {key: _text(given[key], f"agent.{key}") for key in _TEXTS if key in given}
    if not texts.get("name"):
        raise AgentError("agent.name is missing")
    slots = tuple(
        (name, _texts(words, f"agent.slots.{name}"))
        for name, words in _object(given.get("slots", {}), "agent.slots").items()
    )
    intents = tuple(
        _intent(name, intent, dict(slots))
        for name, intent in _object(given.get("intents", {}), "agent.intents").items()
    )
    limit = given.get("fallback_limit", 3)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise AgentError("agent.fallback_limit must be a whole number of at least 1")
    return Agent(**texts, intents=intents, slots=slots, fallback_limit=limit)


def _intent(name: str, value: object, slots: phrases.Slots) -> Intent:
    where = f"agent.intents.{name}"
    given = _object(value, where)
    _known(given, _INTENT_FIELDS, where)
    said = _texts(given.get("phrases"), f"{where}.phrases")
    for phrase in said:
        for slot in phrases.slots_in(phrases.parse(phrase)):
            if slot not in slots:
                raise AgentError(f"{where}: the phrase {phrase!r} uses the unknown slot {slot!r}")
    action = given.get("action")
    if action not in (None, *ACTIONS):
        raise AgentError(f"{where}.action must be null or one of {', '.join(ACTIONS)}")
    return Intent(name, said, _text(given.get("answer", ""), f"{where}.answer"), action)


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise AgentError(f"{where} must be an object")
    return value


def _known(given: dict[str, object], fields: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in fields:
            raise AgentError(f"{where} has the unknown field {key!r}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise AgentError(f"{where} must be text")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise AgentError(f"{where} must be a list of texts, and not empty")
    for item in value:
        if not phrases.words_of(item):
            raise AgentError(f"{where} has {item!r}, in which there is no word")
    return tuple(value)

"""What a caller talks to: the agent's definition, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from local_ai_server.checks import a_text, an_object, only_fields, spoken_texts
from local_ai_server.errors import AgentError
from local_ai_server.intent import Intent, read_intent

_TEXTS = ("name", "language", "voice", "greeting", "prompt", "fallback", "nudge", "goodbye")
_FIELDS = (*_TEXTS, "intents", "slots", "fallback_limit")


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
    given = an_object(value, "agent")
    only_fields(given, _FIELDS, "agent")
    texts = {key: a_text(given[key], f"agent.{key}") for key in _TEXTS if key in given}
    if not texts.get("name"):
        raise AgentError("agent.name is missing")
    slots = tuple(
        (name, spoken_texts(words, f"agent.slots.{name}"))
        for name, words in an_object(given.get("slots", {}), "agent.slots").items()
    )
    intents = tuple(
        read_intent(name, intent, dict(slots))
        for name, intent in an_object(given.get("intents", {}), "agent.intents").items()
    )
    limit = given.get("fallback_limit", 3)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise AgentError("agent.fallback_limit must be a whole number of at least 1")
    return Agent(**texts, intents=intents, slots=slots, fallback_limit=limit)

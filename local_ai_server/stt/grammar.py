"""A JSGF grammar of everything an agent's intents understand."""

from collections.abc import Iterable
from functools import lru_cache

from local_ai_server import phrases
from local_ai_server.agent import Agent


@lru_cache(maxsize=64)
def grammar_of(agent: Agent) -> str:
    """The agent's grammar, or ``""`` where it has no intents."""
    rules = [
        f"( {phrases.jsgf(phrases.parse(phrase), agent.slot_words)} )"
        for intent in agent.intents
        for phrase in intent.phrases
    ]
    return "#JSGF V1.0;\ngrammar agent;\npublic <turn> = " + " | ".join(rules) + ";\n" if rules else ""


def vocabulary_of(agent: Agent) -> set[str]:
    """Every word a recognizer must know to hear this agent's phrases."""
    return set(_words(agent))


def _words(agent: Agent) -> Iterable[str]:
    for intent in agent.intents:
        for phrase in intent.phrases:
            for word in phrases.jsgf(phrases.parse(phrase), agent.slot_words).split():
                yield from phrases.words_of(word)

"""A JSGF grammar of everything an agent's intents understand."""

from collections.abc import Iterable
from functools import lru_cache

from local_ai_server import asides, phrases
from local_ai_server.agent import Agent

DECOYS = (
    "the old sailor washed his boots",
    "eleven yellow buttons jumped",
    "a thousand birds were singing above the village",
    "she cooked fish with butter and garlic",
    "my uncle bought another tractor",
    "they measured the length of the bridge",
    "nobody knew why the engine failed",
    "green apples taste sour",
    "his voice was rough and deep",
    "the judge gave them a choice",
    "put both cushions under the chair",
    "winter brought heavy snow",
    "children chase their shadow",
    "we enjoyed the music very much",
    "fourteen ships arrived before noon",
    "measure the usual pressure",
    "the youngest boy threw it into the pool",
    "good food should look beautiful",
    "garage doors often squeak",
    "it would be nice to have more time",
)
"""Sentences nobody is expected to say, with every sound of English in them.

A decoder can only choose among what its grammar holds, and scores a sound relative to the best it is looking for. With
few phrases everything sounds like one of them; next to these, other speech either is a decoy or scores visibly worse.
"""


@lru_cache(maxsize=64)
def grammar_of(agent: Agent) -> str:
    """The agent's phrases and the decoys as one grammar; ``""`` where it has no intents."""
    return _grammar(_rules(agent))


@lru_cache(maxsize=64)
def brief_grammar_of(agent: Agent) -> str:
    """The same and what its language has of asides; ``""`` where there is neither."""
    said = (*asides.spoken_in(asides.HALTS, agent.language), *asides.spoken_in(asides.BACKCHANNELS, agent.language))
    return _grammar([*_rules(agent), *(f"( {aside} )" for aside in said)])


def _rules(agent: Agent) -> list[str]:
    return [
        f"( {phrases.jsgf(phrases.parse(phrase), agent.slot_words)} )"
        for intent in agent.intents
        for phrase in intent.phrases
    ]


def _grammar(rules: list[str]) -> str:
    if not rules:
        return ""
    decoys = " | ".join(f"( {decoy} )" for decoy in DECOYS)
    return f"#JSGF V1.0;\ngrammar agent;\npublic <turn> = <other> | {' | '.join(rules)};\n<other> = {decoys};\n"


def vocabulary_of(agent: Agent) -> set[str]:
    """Every word a recognizer must know to hear this agent's phrases."""
    return set(_words(agent))


def _words(agent: Agent) -> Iterable[str]:
    for intent in agent.intents:
        for phrase in intent.phrases:
            for word in phrases.jsgf(phrases.parse(phrase), agent.slot_words).split():
                yield from phrases.words_of(word)

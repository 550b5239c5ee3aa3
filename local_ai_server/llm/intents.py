"""A small deterministic dialog: it knows the agent's intents and nothing else.

It is no language model. It finds the intent whose phrase was said, word for word or nearly, and gives that intent's
written answer. It remembers nothing of the conversation and makes nothing up.
"""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice

from local_ai_server import phrases
from local_ai_server.agent import Agent, Intent
from local_ai_server.llm.base import Act, Piece, Verdict
from local_ai_server.tools import OWN, Tools

_LEAST_LIKENESS = 0.5
_STRANGE_WORD = 0.5
"""What a word no intent uses counts against a match; a word only one intent uses counts 1."""
_MAX_VARIANTS = 256


class Understanding:
    """One agent's intents, ready to be matched."""

    def __init__(self, agent: Agent) -> None:
        self._slots = agent.slot_words
        self._matchers: list[tuple[Intent, phrases.Matcher]] = []
        self._wordings: list[tuple[Intent, frozenset[str]]] = []
        for intent in agent.intents:
            for phrase in map(phrases.parse, intent.phrases):
                self._matchers.append((intent, phrases.Matcher(phrase, agent.slot_words)))
                wordings = islice(phrases.variants(phrase), _MAX_VARIANTS)
                self._wordings += [(intent, frozenset(words)) for words in wordings]
        users = Counter(word for intent in agent.intents for word in self._words_of(intent))
        self._weights = {word: 1 / count for word, count in users.items()}

    def find(self, text: str) -> tuple[Intent, dict[str, str]] | None:
        """The intent of ``text`` and its slots' values: an exact wording first, else the likest one."""
        return self.find_exactly(text) or self._likest(phrases.words_of(text))

    def find_exactly(self, text: str) -> tuple[Intent, dict[str, str]] | None:
        """As ``find``, but only what is worded like one of the phrases."""
        words = phrases.words_of(text)
        for intent, matcher in self._matchers:
            values = matcher.match(words)
            if values is not None:
                return intent, values
        return None

    def _likest(self, words: list[str]) -> tuple[Intent, dict[str, str]] | None:
        values, rest = self._take_slots(words)
        said = frozenset(rest) | {f"{{{name}}}" for name in values}
        scores: dict[str, tuple[float, Intent]] = {}
        for intent, wording in self._wordings:
            score = self._likeness(said, wording)
            if score > scores.get(intent.name, (0.0, intent))[0]:
                scores[intent.name] = (score, intent)
        best = sorted(scores.values(), key=lambda scored: scored[0], reverse=True)[:2]
        if not best or best[0][0] < _LEAST_LIKENESS or (len(best) == 2 and best[0][0] == best[1][0]):
            return None
        return best[0][1], values

    def _likeness(self, said: frozenset[str], wording: frozenset[str]) -> float:
        """Dice's coefficient, 0..1, with telling words weighing more."""
        return 2 * self._weight(said & wording) / (self._weight(said) + self._weight(wording))

    def _weight(self, words: frozenset[str]) -> float:
        return sum(self._weights.get(word, _STRANGE_WORD) for word in words)

    def _take_slots(self, words: list[str]) -> tuple[dict[str, str], list[str]]:
        line, values = f" {' '.join(words)} ", {}
        for name, options in self._slots.items():
            for value in options:
                spoken = f" {' '.join(phrases.words_of(value))} "
                if name not in values and spoken in line:
                    values[name] = spoken.strip()
                    line = line.replace(spoken, " ", 1)
        return values, line.split()

    def _words_of(self, intent: Intent) -> frozenset[str]:
        return frozenset().union(*(words for owner, words in self._wordings if owner is intent))


_remembered = lru_cache(maxsize=64)(Understanding)


def _understanding_of(agent: Agent) -> Understanding:
    """It does not depend on the prompt, which may be another one for each answer."""
    return _remembered(replace(agent, prompt=""))


class Intents:
    """Answers from the agent's definition, a word at a time."""

    async def start(self) -> None:
        """It knows nothing but agents."""

    async def prepare(self, agent: Agent) -> None:
        _understanding_of(agent)

    async def answer(
        self, agent: Agent, record: tuple[tuple[str, str], ...], tools: Tools = OWN
    ) -> AsyncGenerator[Piece, None]:
        """An intent's action is asked for whatever ``tools`` there are: the agent was written for it."""
        said = record[-1][1] if record and record[-1][0] == "caller" else ""
        found = _understanding_of(agent).find(said)
        if found is None:
            yield Verdict.NOT_UNDERSTOOD
            return
        intent, values = found
        for token in tokens_of(fill(intent.answer, values)):
            yield token
        if intent.action:
            yield Act(intent.action)

    def understands(self, agent: Agent, text: str, *, exactly: bool) -> bool:
        understanding = _understanding_of(agent)
        return (understanding.find_exactly(text) if exactly else understanding.find(text)) is not None

    async def close(self) -> None:
        _remembered.cache_clear()


def fill(answer: str, values: Mapping[str, str]) -> str:
    """``answer`` with each ``{slot}`` replaced by its value; a slot that was not heard leaves no trace."""

    def value(found: re.Match[str]) -> str:
        return found["space"] + values[found["slot"]] if found["slot"] in values else ""

    return re.sub(r"(?P<space>\s*)\{(?P<slot>\w+)\}", value, answer).strip()


def tokens_of(text: str) -> list[str]:
    """``text`` word by word; joined again they are ``text``."""
    return re.findall(r"\s*\S+(?:\s+$)?", text)

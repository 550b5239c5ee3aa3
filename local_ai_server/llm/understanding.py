"""Which of an agent's intents a caller's words are."""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import TypeAlias

from local_ai_server import phrases
from local_ai_server.agent import Agent
from local_ai_server.intent import Intent

_LEAST_LIKENESS = 0.5
_STRANGE_WORD = 0.5
"""What a word no intent uses counts against a match; a word only one intent uses counts 1."""
_MAX_VARIANTS = 256

Rank: TypeAlias = Callable[[Intent], int | None]
"""Which of two intents that are said alike is meant, the higher one; None: not this one, as things stand."""
Found: TypeAlias = tuple[Intent, dict[str, str]] | None
"""The intent and its slots' values."""


def alike(intent: Intent) -> int | None:
    """Every intent may be meant, as far as its needs do not say otherwise."""
    return None if intent.needs else 0


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

    def find(self, text: str, rank: Rank = alike) -> Found:
        """What ``text`` means: an exact wording first, else the likest one."""
        return self.find_exactly(text, rank) or self._likest(phrases.words_of(text), rank)

    def find_exactly(self, text: str, rank: Rank = alike) -> Found:
        """As ``find``, but only what is worded like one of the phrases."""
        words = phrases.words_of(text)
        best: Found = None
        best_rank = -1
        for intent, matcher in self._matchers:
            ranked = rank(intent)
            if ranked is None or (best is not None and ranked <= best_rank):
                continue
            values = matcher.match(words)
            if values is not None:
                best, best_rank = (intent, values), ranked
        return best

    def _likest(self, words: list[str], rank: Rank) -> Found:
        values, rest = self._take_slots(words)
        said = frozenset(rest) | {f"{{{name}}}" for name in values}
        scores: dict[str, tuple[float, int, Intent]] = {}
        for intent, wording in self._wordings:
            ranked = rank(intent)
            if ranked is None:
                continue
            score = self._likeness(said, wording)
            if score > scores.get(intent.name, (0.0, 0, intent))[0]:
                scores[intent.name] = (score, ranked, intent)
        best = sorted(scores.values(), key=lambda scored: scored[:2], reverse=True)[:2]
        if not best or best[0][0] < _LEAST_LIKENESS or (len(best) == 2 and best[0][:2] == best[1][:2]):
            return None
        return best[0][2], values

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

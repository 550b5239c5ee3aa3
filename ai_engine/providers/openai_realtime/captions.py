"""When the words of a reply are due, which the provider sends ahead of their sound."""

import re

_SENTENCE = re.compile(r"""(?<![.!?…])[.!?…]++["')\]]*+\s+|[^\W\d][.!?]+$|[。！？]+""")
_FIRST_GUESS = 0.016
"""Characters a voice speaks in a millisecond: about 160 words in a minute."""


class Pace:
    """How fast the voice of a session speaks: as in its replies so far."""

    def __init__(self) -> None:
        self._characters = 0
        self._sound_ms = 0.0

    def learn(self, characters: int, sound_ms: float) -> None:
        """A reply was made to its end."""
        if characters and sound_ms:
            self._characters += characters
            self._sound_ms += sound_ms

    def ms(self, characters: int) -> float:
        """How long it takes to say so much."""
        rate = self._characters / self._sound_ms if self._sound_ms else _FIRST_GUESS
        return characters / rate


class Captions:
    """The words of one reply, let out when the sound has come to the end of those before them.

    Sound that was announced with too many words would make the transcript of an interrupted reply claim more than
    the caller heard.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting = ""
        self._announced = 0
        """Characters."""
        self._sound_ms = 0.0

    def said(self, words: str) -> None:
        """More words, in pieces of any size; one is whole when a blank follows, or the end of a sentence."""
        self._waiting += words

    def before(self, ms: float) -> str | None:
        """What to announce before ``ms`` more of sound; None when it belongs to what was announced last."""
        first = not self._sound_ms
        is_due = first or self._pace.ms(self._announced) <= self._sound_ms
        self._sound_ms += ms
        words = self._take() if is_due else ""
        return words if words or first else None

    def rest(self) -> str:
        """The words that are left when the sound is over."""
        words, self._waiting = self._waiting, ""
        self._announced += len(words)
        return words.strip()

    def over(self) -> None:
        """The reply was made to its end: the pace is learned."""
        self._pace.learn(self._announced, self._sound_ms)

    def _take(self) -> str:
        """A sentence, or else the words that are whole."""
        sentence = _SENTENCE.search(self._waiting)
        end = sentence.end() if sentence else self._waiting.rfind(" ") + 1
        words, self._waiting = self._waiting[:end], self._waiting[end:]
        self._announced += len(words)
        return words.strip()

"""Sentences of the engine's that the provider is to say, and may refuse to while it hears somebody speak."""

import asyncio
from collections.abc import Callable

from ai_engine.providers.deepgram_agent.wire import Message, agent_says


class Injection:
    """One sentence at a time. Refused, it is said once more when nobody speaks, unless somebody has said something."""

    def __init__(self, send: Callable[[Message], None], wait_seconds: float) -> None:
        """``wait_seconds``: how long it may take the provider to find that the caller is done."""
        self._send = send
        self._wait_seconds = wait_seconds
        self._sentence = ""
        """What was said last, while it may still be refused for the first time or wait to be said again."""
        self._waits = False
        self._timer: asyncio.TimerHandle | None = None

    def say(self, sentence: str) -> None:
        self.forget()
        self._sentence = sentence
        self._send(agent_says(sentence, "default"))

    def refused(self, *, wait: bool) -> None:
        """``wait``: the provider speaks, and ``again`` follows when it is done."""
        if not self._sentence:
            return
        self._waits = True
        if not wait:
            self._timer = asyncio.get_running_loop().call_later(self._wait_seconds, self.again)

    def hold(self) -> None:
        """The caller may have begun to speak: ``again`` or ``forget`` follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def again(self) -> None:
        """Nobody speaks, whatever the provider hears: now it must not refuse."""
        if self._waits:
            sentence = self._sentence
            self.forget()
            self._send(agent_says(sentence, "interrupt"))

    def forget(self) -> None:
        """Something else was said."""
        self.hold()
        self._sentence, self._waits = "", False

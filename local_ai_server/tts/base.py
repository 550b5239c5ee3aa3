"""What a text-to-speech backend does; it lives in a worker process and is called by one thread."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

Emit: TypeAlias = Callable[[bytes], bool]
"""Takes PCM16 mono as soon as it is made; False means: nobody listens any more, stop."""


class TextToSpeech(Protocol):
    """A voice engine. Voices are named ``voice`` or ``engine:voice``; the engine's own part is passed in."""

    def prepare(self, voice: str) -> int:
        """Load ``voice`` and say its rate in Hz. Raises AgentError where there is no such voice."""
        ...

    def speak(self, voice: str, text: str, emit: Emit) -> None:
        """Synthesize one clause, emitting it piece by piece."""
        ...

    def close(self) -> None: ...

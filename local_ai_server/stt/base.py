"""What a speech-to-text backend does; it lives in a worker process and is called by one thread."""

from dataclasses import dataclass
from typing import Protocol

from local_ai_server.agent import Agent


@dataclass(frozen=True, slots=True)
class Transcript:
    """``text`` is empty where speech was not understood; ``confidence`` is 0..1."""

    text: str
    confidence: float


class SpeechToText(Protocol):
    """Hears one endpointed turn at a time."""

    input_rate: int
    """Hz of the PCM16 mono it wants."""

    def prepare(self, agent: Agent) -> None:
        """Build whatever ``agent`` needs, so that its first turn is fast. Raises AgentError."""
        ...

    def transcribe(self, agent: Agent, pcm: bytes, *, brief: bool = False) -> Transcript:
        """The words of a whole turn, or of its beginning.

        ``brief``: it is a short sound, and may be an aside (``asides.py``), a cough or a noise (an empty text) as well.
        """
        ...

    def close(self) -> None: ...

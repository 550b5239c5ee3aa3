"""Where a language model of somebody else's is reached."""

from dataclasses import dataclass, field

from local_ai_server.llm.completion import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server."""

    url: str = ""
    """Its root, ``http://127.0.0.1:11434/v1``."""
    model: str = ""
    key: str = field(default="", repr=False)
    """Sent as a bearer token; empty: none is."""
    patience_seconds: float = PATIENCE_SECONDS

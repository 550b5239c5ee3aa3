"""What servers answer, as data an agent may see."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

Result = Mapping[str, Any]

MOST_BYTES = 64 * 1024
"""No answer may be longer: it is parsed on the loop of the calls, and read by a model."""
_MOST_TEXT = 2000


def failed(error: str) -> Result:
    return {"ok": False, "error": error}


def cut(text: str) -> str:
    """As much of a text as is worth reading to a caller."""
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} …"


class Censor:
    """Strikes secrets out of what is told to agents, logs and transcripts: servers echo what they are sent."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({form for secret in secrets if secret for form in (secret, quote(secret, safe=""))})

    def text(self, text: str) -> str:
        """Without secrets, and without what UTF-8 cannot carry."""
        for secret in reversed(self._secrets):
            text = text.replace(secret, "***")
        return text.encode("utf-8", "replace").decode()

    def data(self, data: Any) -> Any:
        """The same for all texts in plain data."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            return {self.text(str(key)): self.data(part) for key, part in data.items()}
        if isinstance(data, list | tuple):
            return [self.data(part) for part in data]
        return data

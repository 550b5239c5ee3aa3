"""Any server that speaks OpenAI's speech endpoint."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.ports import Clause
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.settings import HttpUrl, KeyName, Section

_RATE = 24000
"""Hz of ``response_format: pcm``."""

_CHUNK_BYTES = 4800
"""100 ms: what is waiting is passed on in pieces of at most this."""

_AHEAD_SECONDS = 30.0
"""With so much sound in hand the next clause waits: an answer as long as that is seldom heard to its end."""


class OpenAISpeechSettings(Section):
    """A voice behind OpenAI's `/audio/speech`."""

    type: Literal["openai"] = "openai"
    """Which kind of voice this is."""
    url: HttpUrl = "https://api.openai.com/v1"
    """Where `/audio/speech` is."""
    key: KeyName | None = "OPENAI_API_KEY"
    """The variable in `.env` that holds the key; null for a server that wants none."""
    model: str = "gpt-4o-mini-tts"
    """As the server names it."""
    voice: str = "marin"
    """As the server names it."""
    instructions: str | None = None
    """How it should sound, for models that take it: `Speak calmly.`"""
    speed: float | None = None
    """0.25 to 4; null leaves it to the server."""


class OpenAISpeech:
    """Implements ``Speaker``: a request for each clause, its sound passed on as it comes."""

    name = "openai"

    def __init__(self, settings: OpenAISpeechSettings, fitting: Fitting) -> None:
        self.output_format = AudioFormat(_RATE)
        self._settings = settings
        self._http = fitting.http
        self._headers = {"Authorization": f"Bearer {fitting.keys[settings.key]}"} if settings.key else {}

    async def start(self, briefing: Briefing) -> None:
        """Nothing: each clause is a request of its own."""

    async def close(self) -> None:
        """The connections are shared by all calls."""

    async def speak(self, clauses: AsyncIterator[str]) -> AsyncGenerator[Clause | bytes, None]:
        url = f"{self._settings.url.rstrip('/')}/audio/speech"
        clock = asyncio.get_running_loop().time
        sound_until = 0.0
        async for clause in clauses:
            await asyncio.sleep(sound_until - _AHEAD_SECONDS - clock())
            yield Clause(clause)
            async with self._http.post(self.name, url, self._body(clause), self._headers) as response:
                if (kind := response.content_type).startswith("text/") or kind == "application/json":
                    raise ProviderError(f"{self.name} sent {kind} where sound was due")
                odd = b""
                async for data in response.content.iter_chunked(_CHUNK_BYTES):
                    pcm = odd + data
                    whole = len(pcm) & ~1
                    odd = pcm[whole:]
                    if whole:
                        sound_until = max(clock(), sound_until) + self.output_format.ms(whole) / 1000
                        yield pcm[:whole]

    def _body(self, text: str) -> dict[str, Any]:
        settings = self._settings
        body: dict[str, Any] = {
            "model": settings.model,
            "input": text,
            "voice": settings.voice,
            "response_format": "pcm",
        }
        if settings.instructions is not None:
            body["instructions"] = settings.instructions
        if settings.speed is not None:
            body["speed"] = settings.speed
        return body

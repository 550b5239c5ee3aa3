"""The voice of ``local_ai_server``."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal

from ai_engine.audio.format import SLIN16, AudioFormat
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.local_session import LocalSession, Sound
from ai_engine.providers.pipeline.ports import Clause
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.settings import Section, WebSocketUrl


class LocalSpeakerSettings(Section):
    """The text to speech of the `local_ai_server` program."""

    type: Literal["local"] = "local"
    """Which kind of voice this is."""
    url: WebSocketUrl | None = None
    """Its WebSocket address; absent: as `providers.local.url`."""


class LocalSpeaker:
    """Implements ``Speaker``: each clause is a reply of its own, numbered as they are asked for."""

    name = "local"

    def __init__(self, settings: LocalSpeakerSettings, fitting: Fitting) -> None:
        self._session = LocalSession(settings.url or fitting.local_url, fitting)
        self.output_format = SLIN16
        self._said = 0
        """Clauses so far."""

    async def start(self, briefing: Briefing) -> None:
        ready = await self._session.start("tts", briefing)
        try:
            self.output_format = AudioFormat(int(ready["output_rate"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError(f"local_ai_server has no sound we can use: {error!r}") from error

    async def close(self) -> None:
        await self._session.close()

    async def speak(self, clauses: AsyncIterator[str]) -> AsyncGenerator[Clause | bytes, None]:
        continues = False
        async for clause in clauses:
            if not clause.strip():
                continue
            self._said += 1
            self._session.send("say", text=clause, **({"continues": True} if continues else {}))
            continues = True
            reply, is_over = self._said, False
            try:
                while not is_over:
                    said = await self._session.next()
                    if isinstance(said, Sound) and said.reply == reply:
                        yield said.pcm
                    elif isinstance(said, Sound) or said.reply != reply:
                        continue
                    elif said.type == "clause":
                        yield Clause(str(said.fields.get("text", "")))
                    elif said.type == "reply_end":
                        is_over = True
                        if said.fields.get("cancelled"):
                            raise ProviderError("local_ai_server could not say it")
            finally:
                if not is_over:
                    self._session.refuse(reply)

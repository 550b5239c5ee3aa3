"""Where the outside reaches our HTTP server, by its own address or through a tunnel."""

import asyncio
from collections.abc import Callable

import structlog

from ai_engine.dispatch.tunnel import Tunnel, TunnelError, open_tunnel
from ai_engine.jobs.ports import Urls
from ai_engine.jobs.settings import CallAgentSettings

log = structlog.get_logger(__name__)


class Doorstep:
    """On the office's event loop."""

    def __init__(self, settings: CallAgentSettings, port: Callable[[], int]) -> None:
        """``port`` of our server, once it listens."""
        self._settings = settings
        self._port = port
        self._tunnel: Tunnel | None = None
        self._opening = asyncio.Lock()

    @property
    def known(self) -> Urls:
        """As far as it is known now."""
        public = self._settings.server.public_base_url or (self._tunnel.url if self._tunnel else "")
        return Urls(f"http://127.0.0.1:{self._port()}", public.rstrip("/"))

    async def urls(self) -> Urls:
        """Open a tunnel where the network needs one and there is none. Raises TunnelError, which is a CannotCall."""
        if self._settings.telephony.provider != "twilio" or self.known.public:
            return self.known
        async with self._opening:
            if self._tunnel is None:
                self._tunnel = await open_tunnel(self._settings.tunnel, self._port())
                log.info("tunnel opened", url=self.known.public)
        if self._tunnel is not None and not self._tunnel.url:
            raise TunnelError("the tunnel is being opened again")
        return self.known

    async def open(self) -> None:
        """Begin with the tunnel now, so that the first call need not wait for it; failing is told, and tried again."""
        try:
            await self.urls()
        except TunnelError as error:
            log.error("there is no way from outside, calls will fail", reason=str(error))

    async def close(self) -> None:
        if self._tunnel is not None:
            await self._tunnel.close()
            self._tunnel = None

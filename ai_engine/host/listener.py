"""Uvicorn on an event loop that is somebody else's."""

import asyncio
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEADER_SECONDS = 10.0
_GOODBYE_SECONDS = 1
"""What goes on after so long at the end is cut off."""


class Listener:
    """Started and stopped once."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, *, most_connections: int, most_message_bytes: int = 0
    ) -> None:
        """Port 0 takes a free one; see ``port`` after ``start``. ``most_message_bytes`` are those of a WebSocket's
        message; without them none is opened."""
        self.port = port
        self._host = host
        self._sockets: list[socket.socket] = []
        self._ticking: asyncio.Task[None] | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_Http,
                ws="websockets-sansio" if most_message_bytes else "none",
                ws_max_size=most_message_bytes,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                # Whom to believe about that is decided where it is used; a peer is a peer.
                proxy_headers=False,
                server_header=False,
                limit_concurrency=most_connections,
                timeout_graceful_shutdown=_GOODBYE_SECONDS,
            )
        )

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._sockets = await _bound(self._host, self.port)
        self.port = self._sockets[0].getsockname()[1]
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=self._sockets)
        self._ticking = asyncio.create_task(self._server.main_loop(), name="listener")

    async def stop(self) -> None:
        """May be called without ``start``, and again."""
        if self._ticking is None:
            return
        ticking, self._ticking = self._ticking, None
        ticking.cancel()  # all it does is to keep the date
        await self._server.shutdown(sockets=self._sockets)


class _Http(H11Protocol):
    """It does not wait for ever for the headers of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._wait_for_headers()

    def on_response_complete(self) -> None:
        self._wait_for_headers()
        super().on_response_complete()

    def _wait_for_headers(self) -> None:
        self.loop.call_later(_HEADER_SECONDS, self._hang_up, self.scope)

    def _hang_up(self, before: object) -> None:
        """Unless a request has come since."""
        if self.scope is before:
            self.transport.close()


async def _bound(host: str, port: int) -> list[socket.socket]:
    """One socket for each address of ``host``, all at one port."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            line = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(line)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            line.bind((address[0], port or address[1], *address[2:]))
            port = line.getsockname()[1]
            line.listen()
            line.setblocking(False)
    except OSError:
        for line in sockets:
            line.close()
        raise
    return sockets

"""How aioari's requests travel to Asterisk: one origin, Basic auth, bounded time, one kind of error."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aioswagger11.http_client import AsynchronousHttpClient
from yarl import URL

from ai_engine.errors import AsteriskError

_CONNECT_SECONDS = 2.0
_CLOSE_SECONDS = 1.0
"""How long a closing event socket waits for Asterisk to say goodbye too."""

_IDLE_SECONDS = 5.0
"""Asterisk drops an idle HTTP connection after 15 s; ours goes first, so that no request meets a closing one."""


@dataclass(frozen=True, slots=True)
class AriSettings:
    """Where Asterisk is, and as whom we talk to it. Times in seconds."""

    url: str = "http://127.0.0.1:8088"
    """``http`` or ``https``; a path in it is kept, with or without a final ``/ari``."""
    username: str = ""
    password: str = field(default="", repr=False)
    app: str = "asterisk-ai-voice-agent"
    """The name dialplan gives to ``Stasis()``. Each engine needs its own."""
    request_seconds: float = 5.0
    heartbeat_seconds: float = 10.0
    """The event socket is pinged this often; a link that does not answer is replaced."""

    def __post_init__(self) -> None:
        url = URL(self.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("the ARI url must look like http://host:8088")
        if url.user or url.password or url.query_string:
            raise ValueError("the ARI url must not carry a user, a password or a query")


class AriTransport(AsynchronousHttpClient):  # type: ignore[misc]
    """Made inside a running loop. Every failure is an AsteriskError whose text has no query string."""

    def __init__(self, settings: AriSettings) -> None:
        # The base class would open a session of its own, without timeouts and with the password in every URL.
        self._base = settings.url.rstrip("/").removesuffix("/ari")
        self._heartbeat = settings.heartbeat_seconds
        self.session = aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth(settings.username, settings.password, "utf-8")},
            timeout=aiohttp.ClientTimeout(total=settings.request_seconds, connect=_CONNECT_SECONDS),
            connector=aiohttp.TCPConnector(keepalive_timeout=_IDLE_SECONDS),
        )

    async def close(self) -> None:
        await self.session.close()

    async def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """``url`` is a path below our origin. The response has been read to its end."""
        self._require_open()
        try:
            async with self.session.request(
                method,
                self._locate(url),
                params=_query(params),
                data=data,
                headers=headers,
                allow_redirects=False,
            ) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AsteriskError(f"{method} {url}: {_describe(error)}") from error
        if response.status >= 300:
            raise AsteriskError(f"{method} {url}: {response.status} {await _reason(response)}", response.status)
        return response

    async def ws_connect(self, url: str, params: Mapping[str, Any] | None = None) -> aiohttp.ClientWebSocketResponse:
        """``url`` is a path below our origin."""
        self._require_open()
        try:
            return await self.session.ws_connect(
                self._locate(url),
                params=_query(params),
                heartbeat=self._heartbeat,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise AsteriskError(f"event socket {url}: {error.status} {error.message}", error.status) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AsteriskError(f"event socket {url}: {_describe(error)}") from error

    def _require_open(self) -> None:
        if self.session.closed:
            raise AsteriskError("the connection to Asterisk was closed by the engine")

    def _locate(self, path: str) -> URL:
        # aioswagger11 quotes path parameters as if they stood in a query: its "+" is a space.
        return URL(self._base + path.replace("+", "%20"), encoded=True)


def _query(params: Mapping[str, Any] | None) -> dict[str, str]:
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in (params or {}).items()
    }


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"  # aiohttp's own text has the whole URL
    return str(error) or type(error).__name__


async def _reason(response: aiohttp.ClientResponse) -> str:
    """ARI explains itself in a ``message``, or an ``error``; what is not ARI's has only the HTTP reason."""
    try:
        answer = json.loads(await response.text(errors="replace"))
    except ValueError:
        answer = None
    message = (answer.get("message") or answer.get("error")) if isinstance(answer, dict) else None
    return str(message or response.reason)

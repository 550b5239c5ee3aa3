"""HTTP to providers and tools: connections shared by all calls, since the next call should not shake hands again."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from ai_engine.errors import ProviderError
from ai_engine.remote.vendor import complaint

_CONNECT_SECONDS = 3.0
_KEPT_SECONDS = 60.0
"""An idle connection is kept for the next call."""

_MOST_OF_A_REFUSAL = 4096
_MOST_OF_A_LINE = 1024 * 1024


class SharedHttp:
    """Connections by host, opened at the first use; ``close`` comes after the last call."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """To be used in the call loop only."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),  # what one caller was given is not for the next
                trust_env=True,
            )
        return self._session

    async def close(self) -> None:
        """May be called more than once."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def post(
        self, provider: str, url: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a JSON request, once it is known to be good. Raises ProviderError, also out of the block."""
        try:
            async with self.session().post(url, json=body, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    said = await response.content.read(_MOST_OF_A_REFUSAL)
                    reason = _without_key(complaint(said), headers)
                    raise ProviderError(
                        f"{provider} refused the request: {response.status}{reason}", status=response.status
                    )
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:  # or a key that is no header's value
            raise ProviderError(f"{provider} cannot be reached: {type(error).__name__}") from None


async def server_sent(provider: str, response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of an event stream, up to ``[DONE]``. Raises ProviderError when it ends before."""
    waiting = bytearray()
    async for data in response.content.iter_any():
        waiting += data
        while (end := waiting.find(b"\n")) >= 0:
            line = bytes(waiting[:end]).strip()
            del waiting[: end + 1]
            if not line.startswith(b"data:"):
                continue
            text = line.removeprefix(b"data:").strip()
            if text == b"[DONE]":
                return
            yield _object(provider, text)
        if len(waiting) > _MOST_OF_A_LINE:
            break
    raise ProviderError(f"{provider} broke off in the middle of its answer")


def _without_key(text: str, headers: Mapping[str, str]) -> str:
    """Vendors repeat it in what they complain about."""
    key = headers.get("Authorization", "").rpartition(" ")[2]
    return text.replace(key, "(key)") if key else text


def _object(provider: str, text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ProviderError(f"{provider} sent something that is no JSON object")
    if said.get("error"):
        raise ProviderError(f"{provider} failed{complaint(json.dumps(said))}")
    return said

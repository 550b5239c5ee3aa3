"""Speaks HTTP with an engine, and says what is wrong where that is no engine."""

from collections.abc import AsyncGenerator
from typing import Any, TypeVar, get_args

import httpx
from pydantic import TypeAdapter, ValidationError

from ai_engine.web.problems import URN, Kind, Problem

T = TypeVar("T")

_SILENCE_SECONDS = 30.0
"""A stream says an empty line every ten seconds."""
_LONGEST_LINE = 1_000_000
_LAST_PORT = 65535


class EngineUnreachable(Problem):
    """Nobody answers, or somebody who is no engine; ``str()`` says what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "unreachable", detail)


class EngineConnection:
    """What the clients of our own API share. All of it raises Problem, of which EngineUnreachable is one."""

    def __init__(self, url: str, token: str, timeout_seconds: float) -> None:
        """``url`` like http://127.0.0.1:4545; ``close`` it."""
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        # As bytes: whatever was typed for a token is refused by the engine, not by a codec.
        headers = {b"Authorization": f"Bearer {token}".encode("utf-8", "surrogateescape")} if token else {}
        # The environment, with its proxies, is not ours to read.
        self._http = httpx.AsyncClient(headers=headers, timeout=timeout_seconds, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The body of the answer; ``options`` as httpx has them."""
        self._check_url()
        try:
            response = await self._http.request(method, self.url + path, **options)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        return self._body(response)

    async def lines(self, path: str, **options: Any) -> AsyncGenerator[str, None]:
        """The lines of an answer that may never end, as they come; the empty ones are left out."""
        self._check_url()
        timeout = httpx.Timeout(self._timeout_seconds, read=_SILENCE_SECONDS)
        try:
            async with self._http.stream("GET", self.url + path, timeout=timeout, **options) as response:
                if not response.is_success:
                    await response.aread()
                    self._body(response)
                rest = ""
                async for text in response.aiter_text():
                    *whole, rest = (rest + text).split("\n")
                    for line in filter(None, whole):
                        yield line
                    if len(rest) > _LONGEST_LINE:
                        raise self.no_engine()
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def read(self, shape: "TypeAdapter[T]", body: object) -> T:
        try:
            return shape.validate_python(body)
        except ValidationError as error:
            raise self.of_another_version() from error

    def read_line(self, shape: "TypeAdapter[T]", line: str) -> T:
        """The same for JSON text."""
        try:
            return shape.validate_json(line)
        except ValidationError as error:
            raise self.of_another_version() from error

    def of_another_version(self) -> EngineUnreachable:
        return EngineUnreachable(f"the engine at {self.url} is of another version than this program")

    def no_engine(self) -> EngineUnreachable:
        return EngineUnreachable(f"what answers at {self.url} is no engine; name another with --url")

    def _check_url(self) -> None:
        """Raises EngineUnreachable for what no connection could be made to."""
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise self._unreachable(error) from error
        if url.scheme not in ("http", "https") or not url.host or (url.port or 1) > _LAST_PORT:
            raise EngineUnreachable(f"no engine answers at {self.url or 'no URL'}: write it like http://127.0.0.1:4545")

    def _body(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self.no_engine()
        if response.is_success:
            return body
        raise self._problem(response.status_code, body)

    def _problem(self, status: int, body: dict[str, Any]) -> Problem:
        kind = str(body.get("type")).removeprefix(URN)
        for known in get_args(Kind):
            if kind == known:
                return Problem(status, known, str(body.get("detail")), errors=body.get("errors") or ())
        return self.no_engine()

    def _unreachable(self, error: Exception) -> EngineUnreachable:
        why = str(error) or type(error).__name__
        return EngineUnreachable(
            f"no engine answers at {self.url} ({why}); start one with 'python -m ai_engine', or name it with --url"
        )

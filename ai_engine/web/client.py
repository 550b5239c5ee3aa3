"""Asks an engine for calls, over its HTTP API."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar, get_args
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest
from ai_engine.web.problems import URN, Kind, Problem

T = TypeVar("T")

_RECORDS = TypeAdapter(tuple[CallRecord, ...])
_ENTRIES = TypeAdapter(tuple[TimelineEntry, ...])
_NOT_FOUND = 404
"""No such call; or an id that cannot be one, and leads nowhere."""


class EngineUnreachable(Problem):
    """Nobody answers, or somebody who is no engine; ``str()`` says what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "unreachable", detail)


class EngineClient:
    """Does what a ``CallDesk`` does for those who ask; all of it raises Problem, of which EngineUnreachable is one."""

    def __init__(self, url: str, token: str = "", *, timeout_seconds: float = 30.0) -> None:
        """``url`` like http://127.0.0.1:4545. To be used in ``async with``."""
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # The environment, with its proxies, is not ours to read.
        self._http = httpx.AsyncClient(headers=headers, timeout=timeout_seconds, trust_env=False)

    async def __aenter__(self) -> "EngineClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def call_agent(self, request: CallRequest) -> CallRecord:
        """With an idempotency key it may be asked again when nobody answered."""
        return await self._record("POST", "/calls", json=request.as_json())

    async def status(self, call_id: str) -> CallRecord | None:
        """None when there is no such call."""
        return await self._record_if_any("GET", _place(call_id))

    async def calls(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        """The newest first."""
        params = {"limit": str(limit)} | ({"status": status} if status else {})
        body = await self._ask("GET", "/calls", params=params)
        return self._read(_RECORDS, body.get("calls"))

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]:
        """None at all where there is no such call."""
        try:
            body = await self._ask("GET", f"{_place(call_id)}/timeline")
        except Problem as problem:
            if problem.status == _NOT_FOUND:
                return ()
            raise
        return self._read(_ENTRIES, body.get("entries"))

    async def cancel(self, call_id: str) -> CallRecord | None:
        """None when there is no such call."""
        return await self._record_if_any("POST", f"{_place(call_id)}/cancel")

    async def check(self) -> None:
        """Whether an engine answers, and takes our token. Raises Problem."""
        if (await self._ask("GET", "/health")).get("ok") is not True:
            raise self._no_engine()

    async def _record_if_any(self, method: str, path: str) -> CallRecord | None:
        try:
            return await self._record(method, path)
        except Problem as problem:
            if problem.status == _NOT_FOUND:
                return None
            raise

    async def _record(self, method: str, path: str, **options: Any) -> CallRecord:
        return self._read(TypeAdapter(CallRecord), await self._ask(method, path, **options))

    async def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = await self._http.request(method, self.url + path, **options)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise EngineUnreachable(
                f"no engine answers at {self.url} ({why}); start one with 'python -m ai_engine', or name it with --url"
            ) from error
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self._no_engine()
        if response.is_success:
            return body
        raise self._problem(response.status_code, body)

    def _problem(self, status: int, body: dict[str, Any]) -> Problem:
        kind = str(body.get("type")).removeprefix(URN)
        for known in get_args(Kind):
            if kind == known:
                return Problem(status, known, str(body.get("detail")), errors=body.get("errors") or ())
        return self._no_engine()

    def _read(self, shape: "TypeAdapter[T]", body: object) -> T:
        try:
            return shape.validate_python(body)
        except ValidationError as error:
            raise EngineUnreachable(f"the engine at {self.url} is of another version than this program") from error

    def _no_engine(self) -> EngineUnreachable:
        return EngineUnreachable(f"what answers at {self.url} is no engine; name another with --url")


def _place(call_id: str) -> str:
    return f"/calls/{quote(call_id, safe='')}"

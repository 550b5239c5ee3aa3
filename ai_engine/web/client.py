"""Asks an engine for calls, over its HTTP API."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

from pydantic import TypeAdapter

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest
from ai_engine.web.connection import EngineConnection, EngineUnreachable
from ai_engine.web.problems import Problem

_RECORDS = TypeAdapter(tuple[CallRecord, ...])
_ENTRIES = TypeAdapter(tuple[TimelineEntry, ...])
_NOT_FOUND = 404
"""No such call; or an id that cannot be one, and leads nowhere."""


class EngineClient:
    """Does what a ``CallDesk`` does for those who ask; all of it raises Problem, of which EngineUnreachable is one."""

    def __init__(self, url: str, token: str = "", *, timeout_seconds: float = 30.0) -> None:
        """``url`` like http://127.0.0.1:4545. To be used in ``async with``."""
        self._engine = EngineConnection(url, token, timeout_seconds)
        self.url = self._engine.url

    async def __aenter__(self) -> "EngineClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._engine.close()

    async def call_agent(self, request: CallRequest) -> CallRecord:
        """With an idempotency key it may be asked again when nobody answered."""
        return await self._record("POST", "/calls", json=request.as_json())

    async def status(self, call_id: str) -> CallRecord | None:
        """None when there is no such call."""
        return await self._record_if_any("GET", _place(call_id))

    async def calls(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        """The newest first."""
        params = {"limit": str(limit)} | ({"status": status} if status else {})
        body = await self._engine.ask("GET", "/calls", params=params)
        return self._engine.read(_RECORDS, body.get("calls"))

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]:
        """None at all where there is no such call."""
        try:
            body = await self._engine.ask("GET", f"{_place(call_id)}/timeline")
        except Problem as problem:
            if problem.status == _NOT_FOUND:
                return ()
            raise
        return self._engine.read(_ENTRIES, body.get("entries"))

    async def cancel(self, call_id: str) -> CallRecord | None:
        """None when there is no such call."""
        return await self._record_if_any("POST", f"{_place(call_id)}/cancel")

    async def check(self) -> None:
        """Whether an engine answers, and takes our token. Raises Problem."""
        if (await self._engine.ask("GET", "/health")).get("ok") is not True:
            raise self._engine.no_engine()

    async def _record_if_any(self, method: str, path: str) -> CallRecord | None:
        try:
            return await self._record(method, path)
        except Problem as problem:
            if problem.status == _NOT_FOUND:
                return None
            raise

    async def _record(self, method: str, path: str, **options: Any) -> CallRecord:
        return self._engine.read(TypeAdapter(CallRecord), await self._engine.ask(method, path, **options))


def _place(call_id: str) -> str:
    return f"/calls/{quote(call_id, safe='')}"


__all__ = ["EngineClient", "EngineUnreachable"]

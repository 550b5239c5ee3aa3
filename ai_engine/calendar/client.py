"""A calendar bridge of somebody else's, over HTTP."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from ai_engine.jobs.ports import CalendarUnreachable

log = structlog.get_logger(__name__)

_OURS: Mapping[str, tuple[str, ...]] = {"check-slot": ("hold", "workingHours"), "create-event": ("holdKey",)}
"""What the contract does not have; our own bridge knows it, and others may."""

_NOT_ABOUT_TIME = (401, 403, 407, 408, 425, 429)
"""The bridge says nothing of the appointment: whoever asks again later may be answered."""

_MOST_BYTES = 4 * 1024 * 1024
_MOST_OF_AN_ERROR = 300


class _Slot(BaseModel):
    start: str
    end: str


class _Conflict(_Slot):
    summary: str | None = None


class _SlotsFound(BaseModel):
    slots: list[_Slot]


class _SlotChecked(BaseModel):
    conflicts: list[_Conflict] | None = None
    alternatives: list[_Slot] | None = None
    heldUntil: str | None = None


class _EventCreated(BaseModel):
    eventId: str | None = None
    calendarId: str | None = None
    start: str | None = None
    end: str | None = None
    timezone: str | None = None


_SHAPES: Mapping[str, type[BaseModel]] = {
    "find-slots": _SlotsFound,
    "check-slot": _SlotChecked,
    "create-event": _EventCreated,
}
"""Of answers that are ``ok``; there may be more in them."""


class BridgeClient:
    """A ``Calendar``, for one event loop; opened and closed once."""

    def __init__(self, base_url: str, token: str = "", timeout_seconds: float = 4.0) -> None:
        """A request with all its answer takes ``timeout_seconds`` at most."""
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._client: httpx.AsyncClient | None = None
        self._knows_ours = True
        self._error = ""
        self.counters = {"asked": 0, "failed": 0}

    async def open(self) -> None:
        """Nothing is sent yet."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=self._timeout_seconds)

    async def close(self) -> None:
        """May be called though it was never opened, and again."""
        if self._client is not None:
            await self._client.aclose()

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """As ``Calendar`` has it."""
        self.counters["asked"] += 1
        try:
            answer = await self._ask(operation, body)
        except CalendarUnreachable as error:
            self.counters["failed"] += 1
            self._error = str(error)
            raise
        self._error = ""
        return answer

    def health(self) -> dict[str, Any]:
        """Plain data; from any thread. Says how the last request went."""
        return {"ok": not self._error, **self.counters, **({"error": self._error} if self._error else {})}

    async def _ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        ours = [name for name in _OURS.get(operation, ()) if body.get(name) is not None]
        plain = {name: value for name, value in body.items() if name not in ours}
        if not self._knows_ours:
            return self._read(operation, *await self._post(operation, plain))
        status, text = await self._post(operation, body)
        if ours and status in (400, 422):
            # A bridge that refuses what it does not know; or it refuses the rest, too.
            without = await self._post(operation, plain)
            if without[0] not in (400, 422):
                self._knows_ours = False
                log.warning("the calendar bridge has no holds, nor hours in checks", bridge=self._place)
            status, text = without
        return self._read(operation, status, text)

    async def _post(self, operation: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._exchange(f"{self._base_url}/calendar/{operation}", body)
        except (TimeoutError, httpx.TimeoutException):
            raise self._unreachable(f"does not answer within {self._timeout_seconds:g} s") from None
        except httpx.HTTPError as error:
            raise self._unreachable(f"cannot be reached: {type(error).__name__}") from error

    async def _exchange(self, url: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
        assert self._client is not None, "open it first"
        async with self._client.stream("POST", url, json=body) as response:
            text = bytearray()
            async for piece in response.aiter_bytes():
                text += piece
                if len(text) > _MOST_BYTES:
                    raise self._unreachable(f"answers with more than {_MOST_BYTES} bytes")
            return response.status_code, bytes(text)

    def _read(self, operation: str, status: int, text: bytes) -> Mapping[str, Any]:
        """What a bridge says of the appointment, be it that it refuses; all else raises CalendarUnreachable."""
        answer = self._parsed(status, text)
        error = answer.get("error")
        said = f": {error[:_MOST_OF_AN_ERROR]}" if isinstance(error, str) else ""
        is_refusal = answer.get("ok") is False and bool(said) and 400 <= status < 500
        if status in _NOT_ABOUT_TIME or not (is_refusal or 200 <= status < 300):
            raise self._unreachable(f"answers {status}{said}")
        if answer.get("ok") is True:
            self._check_shape(operation, answer)
        elif answer.get("ok") is not False:
            raise self._unreachable(f"answers {operation} with a wrong ok")
        return answer

    def _parsed(self, status: int, text: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            raise self._unreachable(f"answers {status}, and not in JSON") from None
        if not isinstance(answer, dict):
            raise self._unreachable(f"answers {status}, and not with a JSON object")
        return answer

    def _check_shape(self, operation: str, answer: dict[str, Any]) -> None:
        try:
            if operation in _SHAPES:
                _SHAPES[operation].model_validate(answer)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise self._unreachable(f"answers {operation} with a wrong {place}") from None

    def _unreachable(self, what: str) -> CalendarUnreachable:
        return CalendarUnreachable(f"the calendar bridge at {self._place} {what}")

    @property
    def _place(self) -> str:
        return urlsplit(self._base_url).netloc

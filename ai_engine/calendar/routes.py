"""The calendar bridge over HTTP."""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ai_engine.calendar.refusals import Refused
from ai_engine.jobs.ports import CalendarUnreachable

log = structlog.get_logger(__name__)

_MOST_BYTES = 256 * 1024
_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Answering(Protocol):
    """What ``EmbeddedCalendar`` does for this door."""

    async def answer(self, operation: str, body: Mapping[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]: ...

    async def feed(self, calendar_id: str) -> bytes: ...


def calendar_router(calendar: Answering, token: str = "") -> APIRouter:
    """``POST /calendar/OPERATION`` and ``GET /calendar/ID.ics``, for those who have ``token``; without one, for this
    machine only."""
    router = APIRouter()

    @router.post("/calendar/{operation}")
    async def carry_out(operation: str, request: Request) -> Response:
        try:
            _admit(request, token)
            status, answer = await calendar.answer(operation, await _body(request))
        except Refused as refused:
            return _refusal(refused)
        except CalendarUnreachable as error:
            return _refusal(Refused(str(error), HTTPStatus.SERVICE_UNAVAILABLE))
        return JSONResponse(answer, status)

    @router.get("/calendar/{calendar_id:path}.ics")
    async def feed(calendar_id: str, request: Request) -> Response:
        try:
            _admit(request, token, basic=True)
            return Response(await calendar.feed(calendar_id), media_type="text/calendar; charset=utf-8")
        except Refused as refused:
            return _refusal(refused)
        except CalendarUnreachable as error:
            return _refusal(Refused(str(error), HTTPStatus.SERVICE_UNAVAILABLE))

    return router


def _refusal(refused: Refused) -> JSONResponse:
    headers = {}
    if refused.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="calendar", Basic realm="calendar"'
    return JSONResponse(refused.as_json(), refused.status, headers)


def _admit(request: Request, token: str, *, basic: bool = False) -> None:
    """Raises Refused. ``basic``: the token may come as a password, which is all that calendar programs can send."""
    if not token:
        if reason := _not_local(request):
            raise Refused(f"{reason}; without CALENDAR_TOKEN only this machine is answered", HTTPStatus.FORBIDDEN)
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic" and basic:
        given = _password(given)
    elif scheme.lower() != "bearer":
        given = ""
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        log.warning("a request for the calendar is turned away", path=request.url.path)
        raise Refused("send the token of this calendar: 'Authorization: Bearer …'", HTTPStatus.UNAUTHORIZED)


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _not_local(request: Request) -> str:
    """Why a request may not be one of our own machine's; a browser there may be sent to us by any page."""
    if not _is_loopback(request.client.host if request.client else ""):
        return "the request comes from another machine"
    if any(name in request.headers for name in _FORWARDING):
        return "the request comes through a proxy"
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if name != "localhost" and not _is_loopback(name):
        return "the request is for another name than this machine's"
    if origin is not None and urlsplit(origin).netloc != host:
        return "the request is sent by a page of somebody else's"
    return ""


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


async def _body(request: Request) -> Mapping[str, Any]:
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > _MOST_BYTES:
            raise Refused(f"a body has {_MOST_BYTES} bytes at most", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        body = json.loads(bytes(raw))
    except (ValueError, RecursionError):
        raise Refused("the body is no JSON", HTTPStatus.BAD_REQUEST) from None
    if not isinstance(body, dict):
        raise Refused("the body must be a JSON object", HTTPStatus.BAD_REQUEST)
    return body

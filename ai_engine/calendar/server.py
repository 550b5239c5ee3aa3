"""A port of its own for the calendar bridge."""

import asyncio
import signal

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.calendar.routes import calendar_router
from ai_engine.host.listener import Listener
from ai_engine.jobs.settings import CalendarSettings

log = structlog.get_logger(__name__)

USUAL_PORT = 9100
_MOST_CONNECTIONS = 64


class CalendarServer:
    """Serves a calendar that somebody else opens and closes; started and stopped once, on the calendar's event loop."""

    def __init__(self, calendar: EmbeddedCalendar, settings: CalendarSettings) -> None:
        """Without ``settings.port`` it is the usual one; 0 takes a free one, see ``port`` after ``start``."""
        port = USUAL_PORT if settings.port is None else settings.port
        app = _app(calendar, settings.token.get_secret_value())
        self._listener = Listener(app, settings.host, port, most_connections=_MOST_CONNECTIONS)
        self._host = settings.host

    @property
    def port(self) -> int:
        return self._listener.port

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        await self._listener.start()
        log.info("the calendar bridge listens", host=self._host, port=self.port)

    async def stop(self) -> None:
        """May be called without ``start``, and again."""
        await self._listener.stop()


async def serve(calendar: EmbeddedCalendar, settings: CalendarSettings) -> None:
    """The bridge alone, until SIGINT or SIGTERM; opens and closes ``calendar``. Raises OSError: the port is taken."""
    told = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, told.set)
    server = CalendarServer(calendar, settings)
    await calendar.open()
    try:
        await server.start()
        await told.wait()
    finally:
        await server.stop()
        await calendar.close()


def _app(calendar: EmbeddedCalendar, token: str) -> FastAPI:
    app = FastAPI(title="Offhook calendar bridge", openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(calendar_router(calendar, token))
    app.add_api_route("/health", _health)
    app.add_exception_handler(HTTPException, _as_refusal)
    return app


async def _health() -> dict[str, bool]:
    return {"ok": True}


async def _as_refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"ok": False, "error": error.detail}, error.status_code, error.headers)

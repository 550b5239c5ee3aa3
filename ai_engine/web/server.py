"""The HTTP server: API, MCP, and what the telephone networks call, at one port."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.routing import Route

from ai_engine.host.listener import Listener
from ai_engine.jobs.ports import CallDesk, RouteContext
from ai_engine.jobs.settings import Server
from ai_engine.web.api import api_router
from ai_engine.web.doorkeeper import Doorkeeper
from ai_engine.web.gate import Gate
from ai_engine.web.mcp_door import McpDoor
from ai_engine.web.mcp_server import mcp_server
from ai_engine.web.problems import Problem, invalid
from ai_engine.web.studio_api import Studio, studio_router

log = structlog.get_logger(__name__)

_SPARE_CONNECTIONS = 128
"""Beside those of media streams."""

_ABOUT = """Ask for phone calls, and see what becomes of them. Bodies are JSON in camel case; what is refused is told as
`application/problem+json`. The same calls can be placed over MCP, at `/mcp`."""


class Served(Protocol):
    """Somebody with routes of their own: a telephone network, or the pages of rooms."""

    def register_routes(self, router: APIRouter, context: RouteContext) -> None:
        """As ``Telephony.register_routes``."""
        ...


class WebServer:
    """Runs on the event loop of the office; started and stopped once."""

    def __init__(
        self,
        settings: Server,
        tokens: Sequence[SecretStr],
        desk: CallDesk,
        telephony: Sequence[Served],
        context: RouteContext,
        snapshot: Callable[[], Mapping[str, Any]],
        *,
        version: str = "",
        studio: Studio | None = None,
        penance_seconds: float = 1.0,
    ) -> None:
        """All routes are there before it listens. ``snapshot`` is plain data for `/health`; it may block, and is called
        from another thread. Without ``studio`` there is nothing below `/studio`. An answer to a wrong token takes
        ``penance_seconds``."""
        self._snapshot = snapshot
        self._doorkeeper = Doorkeeper(
            tokens,
            settings.trusted_proxies,
            run_token=studio.token if studio is not None else None,
            penance_seconds=penance_seconds,
        )
        self._mcp = McpDoor(mcp_server(desk, version), self._doorkeeper)
        app = self._app(version)
        app.include_router(api_router(desk, self._doorkeeper))
        if studio is not None:
            app.include_router(studio_router(studio.switchboard, self._doorkeeper))
        app.router.routes.append(Route("/mcp", self._mcp, methods=["POST"]))
        app.include_router(_of_networks(telephony, context), include_in_schema=False)
        self._gate = Gate(app, settings.body_bytes)
        self._listener = Listener(
            self._gate,
            settings.host,
            settings.port,
            most_connections=settings.streams + settings.pending_streams + _SPARE_CONNECTIONS,
            most_message_bytes=settings.body_bytes,
        )

    @property
    def port(self) -> int:
        """Where it listens, once it does."""
        return self._listener.port

    @property
    def turned_away(self) -> Mapping[str, int]:
        """Requests that were not looked at, by reason."""
        return {**self._doorkeeper.turned_away, **self._gate.turned_away}

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        await self._mcp.start()
        try:
            await self._listener.start()
        except OSError:
            await self._mcp.stop()
            raise

    async def stop(self) -> None:
        """Cut everybody off, in about a second. May be called without ``start``."""
        self._doorkeeper.close()
        await self._listener.stop()
        await self._mcp.stop()

    def _app(self, version: str) -> FastAPI:
        app = FastAPI(
            title="Offhook call agent",
            version=version or "0",
            description=_ABOUT,
            # They load their scripts from elsewhere.
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )
        app.get("/health", tags=["health"], response_model=dict[str, Any])(self._health)
        app.add_exception_handler(Problem, _as_problem)
        app.add_exception_handler(RequestValidationError, _as_invalid)
        app.add_exception_handler(HTTPException, _as_http)
        app.add_exception_handler(Exception, _as_failure)
        return app

    async def _health(self, request: Request) -> Response:
        """Say whether the engine serves calls.

        Those who may ask for calls are told more: counters of calls, and of requests that were turned away.
        """
        if not await self._doorkeeper.knows(request.scope):
            return JSONResponse({"ok": True})
        more = await asyncio.to_thread(self._snapshot)
        return JSONResponse({"ok": True, **more, "turned_away": self.turned_away})


def _of_networks(telephony: Sequence[Served], context: RouteContext) -> APIRouter:
    router = APIRouter()
    for network in telephony:
        network.register_routes(router, context)
    return router


async def _as_problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()


async def _as_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()
    if any(one["type"] == "json_invalid" for one in wrong):
        return Problem(400, "bad-request", f"The body is no JSON: {wrong[0]['ctx']['error']}.").response()
    return invalid(wrong).response()


async def _as_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # What the libraries say by themselves; a route of ours, or of a network, has its own words.
    ours = {
        "There was an error parsing the body": "The body is no JSON that can be read.",
        "Not Found": f"There is nothing at {request.url.path[:200]!r}; /openapi.json says what there is.",
        "Method Not Allowed": f"{request.url.path[:200]!r} takes {(error.headers or {}).get('Allow')} only.",
    }
    detail = ours.get(error.detail, error.detail)
    return Problem(error.status_code, "bad-request", detail, headers=error.headers).response()


async def _as_failure(_: Request, error: Exception) -> Response:
    # Uvicorn logs the rest.
    return Problem(500, "failed", f"This is our fault ({type(error).__name__}); the engine's log says more.").response()

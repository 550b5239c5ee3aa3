"""Tells over HTTP whether the engine lives, is ready, and how it is."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

_NEEDED = ("ari", "audiosocket")
"""Without these no call can be taken."""


class Heartbeat:
    """Beaten by the call loop, read by anybody."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._last

    async def run(self, interval_seconds: float = 0.5) -> None:
        """Beat for as long as the loop turns."""
        while True:
            self._last = time.monotonic()
            await asyncio.sleep(interval_seconds)


class HealthServer:
    """``GET /live``, ``/ready`` and ``/health``; runs in the office, so that a stuck call loop is noticed.

    Both callables are called from other threads and return plain data with at least
    ``{"ari": {"up": bool}, "audiosocket": {"up": bool}}``; one that is down may say why in ``error``. ``ready`` has
    no more than that and returns at once; ``snapshot`` may block, and only ``/health`` waits for it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        snapshot: Callable[[], Mapping[str, Any]],
        ready: Callable[[], Mapping[str, Any]],
        heartbeat: Heartbeat,
        *,
        version: str = "",
        stuck_seconds: float = 5.0,
    ) -> None:
        """Port 0 takes a free one; see ``port`` after ``start``."""
        self.port = port
        self._host = host
        self._snapshot = snapshot
        self._is_ready = ready
        self._heartbeat = heartbeat
        self._version = version
        self._stuck_seconds = stuck_seconds
        self._began = time.monotonic()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/health", self._health),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError:
            await self.stop()
            raise
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        trouble = self._stuck()
        return _answer({"live": not trouble, "reasons": trouble}, well=not trouble)

    async def _ready(self, _: web.Request) -> web.Response:
        trouble = self._stuck() + _missing(self._is_ready())
        return _answer({"ready": not trouble, "reasons": trouble}, well=not trouble)

    async def _health(self, _: web.Request) -> web.Response:
        # A snapshot looks at directories, which may hang; the office must go on answering the other two.
        state = await asyncio.to_thread(self._snapshot)
        trouble = self._stuck() + _missing(state)
        own = {
            "status": "degraded" if trouble else "ok",
            "reasons": trouble,
            "version": self._version,
            "uptime_seconds": round(time.monotonic() - self._began, 1),
            "call_loop": {"heartbeat_age_seconds": round(self._heartbeat.age, 2)},
        }
        return _answer({**own, **state}, well=not trouble)

    def _stuck(self) -> list[str]:
        age = self._heartbeat.age
        return [f"the call loop has not turned for {age:.0f} s"] if age > self._stuck_seconds else []


def _missing(state: Mapping[str, Any]) -> list[str]:
    down = [name for name in _NEEDED if not state.get(name, {}).get("up")]
    return [f"{name}: {state.get(name, {}).get('error') or 'down'}" for name in down]


def _answer(body: Mapping[str, Any], *, well: bool) -> web.Response:
    return web.json_response(body, status=200 if well else 503, dumps=_dumps)


def _dumps(body: object) -> str:
    return json.dumps(body, indent=2, default=str) + "\n"

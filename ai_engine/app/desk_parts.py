"""The parts that the settings choose: a telephone network, and a calendar."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ai_engine.ari.dialer import Dialer
from ai_engine.calendar.client import BridgeClient
from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.calendar.server import CalendarServer
from ai_engine.errors import ConfigError
from ai_engine.jobs.ports import CallDesk, Telephony
from ai_engine.jobs.settings import CallAgentSettings, Trunk
from ai_engine.telephony.asterisk import AsteriskTelephony
from ai_engine.telephony.mock import MockTelephony, TranscriptFeed
from ai_engine.telephony.streams import StreamDoor
from ai_engine.telephony.twilio import TwilioTelephony

_LOCAL_TIME = Path("/etc/localtime")


def make_telephony(
    settings: CallAgentSettings,
    dialer: Dialer,
    door: StreamDoor,
    feed: TranscriptFeed,
    desk: Callable[[], CallDesk],
    call_loop: asyncio.AbstractEventLoop,
    trunks: Callable[[], Mapping[str, Trunk]],
) -> Telephony:
    """The network of `telephony.provider`; every other name was refused with the settings. ``trunks`` are those of
    now."""
    match settings.telephony.provider:
        case "asterisk":
            return AsteriskTelephony(settings.asterisk, dialer, call_loop, trunks)
        case "twilio":
            return TwilioTelephony(settings.twilio, settings.server, door)
        case "mock":
            return MockTelephony(settings.server, door, desk, feed)


def own_zone() -> str:
    """The time zone of this machine, by its IANA name; UTC where nobody has set one."""
    _, found, name = str(_LOCAL_TIME.resolve()).partition("zoneinfo/")
    return name if found else "UTC"


class CalendarPart:
    """The calendar of the settings, opened and closed once, on the office's event loop."""

    def __init__(self, settings: CallAgentSettings, zone: str, clock: Callable[[], float]) -> None:
        """``zone`` is this machine's, ``clock`` epoch seconds. Raises ConfigError when it cannot be had."""
        calendar = settings.calendar
        self._calendar: EmbeddedCalendar | BridgeClient
        self._server: CalendarServer | None = None
        if calendar.base_url is not None:
            token = calendar.token.get_secret_value()
            self._calendar = BridgeClient(calendar.base_url, token, calendar.timeout_seconds)
            return
        self._calendar = EmbeddedCalendar(calendar, clock, own_zone=zone, hours=settings.defaults.working_hours)
        if calendar.port is not None:
            self._server = CalendarServer(self._calendar, calendar)

    async def open(self) -> None:
        """Raises ConfigError when the port is taken."""
        await self._calendar.open()
        if self._server is not None:
            try:
                await self._server.start()
            except OSError as error:
                raise ConfigError(f"call_agent.calendar.port: {self._server.port}: {error}") from error

    async def close(self) -> None:
        """May be called though it was never opened."""
        if self._server is not None:
            await self._server.stop()
        await self._calendar.close()

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """As ``Calendar`` has it."""
        return await self._calendar.ask(operation, body)

    def health(self) -> Mapping[str, Any]:
        """Plain data; from any thread."""
        return {"embedded": isinstance(self._calendar, EmbeddedCalendar), **self._calendar.health()}

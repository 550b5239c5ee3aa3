"""An engine as far as calling people over Asterisk goes: the real ones of app, dialer and telephony, with a store that
is a list and agents who only note that they were called.

    async with Exchange(ari_settings, Trunk(dial="PJSIP/{number}@trunk")) as exchange:
        attempt = new_attempt()
        await exchange.call(attempt)                       # prepare, start and watch, as the dispatch does
        await exchange.over()                              # the Progress with which it ended
        control = await exchange.agent()                   # the call that an agent got
"""

import asyncio
from typing import Self
from uuid import uuid4

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.jobs.dialing import OUTBOUND_PREFIX
from ai_engine.jobs.ports import Assignment, Attempt, RouteContext, Urls
from ai_engine.jobs.settings import AsteriskTelephony as Settings
from ai_engine.jobs.settings import Trunk
from ai_engine.jobs.status import Progress, Status
from ai_engine.telephony.asterisk import AsteriskTelephony
from tests.waiting import until

URLS = Urls("http://127.0.0.1:4545")
NUMBER = "+4930123456"


class Exchange:
    """One life of the engine; leaving it is the crash, for nothing is hung up."""

    def __init__(self, ari: AriSettings, trunk: Trunk, *, answering_machine: bool = False) -> None:
        self.calls: asyncio.Queue[AriCallControl] = asyncio.Queue()
        self.reports: list[Progress] = []
        self.notes: list[str] = []
        self.app = AriApp(ari, self.calls.put_nowait)
        self._settings = Settings(trunks={"main": trunk}, answering_machine=answering_machine)
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.telephony = AsteriskTelephony(self._settings, self.app.dialer, loop)
        context = RouteContext(lambda: URLS, lambda _: None, self._report, self._note)
        self.telephony.register_routes(None, context)  # type: ignore[arg-type]
        self._running = asyncio.create_task(self.app.run())
        await until(lambda: self.app.connected)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.app.close()
        assert self._running is not None
        await self._running
        await self.telephony.close()

    async def call(self, attempt: Attempt) -> str:
        """Returns the id of its channel."""
        provider_call_id = await self.telephony.prepare_call(attempt)
        started = await self.telephony.start_call(attempt, URLS, again=False)
        assert started.provider_call_id == provider_call_id == channel_id(attempt)
        await self.telephony.watch_call(attempt, provider_call_id)
        return provider_call_id

    async def over(self, seconds: float = 10.0) -> Progress:
        await until(lambda: any(news.status.over for news in self.reports), seconds)
        assert self.reports[-1].status.over
        return self.reports[-1]

    async def agent(self, seconds: float = 5.0) -> AriCallControl:
        async with asyncio.timeout(seconds):
            return await self.calls.get()

    async def noted(self, kind: str) -> None:
        await until(lambda: kind in self.notes)

    @property
    def statuses(self) -> list[Status]:
        return [news.status for news in self.reports]

    def _report(self, call_id: str, number: int, news: Progress) -> None:
        self.reports.append(news)

    def _note(self, call_id: str, kind: str, text: str) -> None:
        self.notes.append(kind)


def channel_id(attempt: Attempt) -> str:
    return f"{OUTBOUND_PREFIX}{attempt.key}"


def new_attempt(
    to: str = NUMBER, *, number: int = 1, ring_seconds: float = 5.0, message: str = "", trunk: str = "main"
) -> Attempt:
    """Of a call of its own."""
    call_id = str(uuid4())
    assignment = Assignment(call_id, number, "reception", message=message)
    return Attempt(call_id, number, to, "secret", assignment, trunk=trunk, ring_seconds=ring_seconds)

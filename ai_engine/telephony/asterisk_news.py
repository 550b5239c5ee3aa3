"""The news of one attempt on their way from Asterisk to the store: in order, and until it has them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from ai_engine.jobs.dialing import Answered, DialNews, EarlyMedia, Ended, Ringing
from ai_engine.jobs.ports import Attempt, RouteContext
from ai_engine.jobs.status import Progress, Status
from ai_engine.telephony.asterisk_causes import progress_of

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.5, 30.0


class NewsRelay:
    """Made on the office's event loop, where ``run`` carries what ``tell`` is given."""

    def __init__(self, attempt: Attempt, channel_id: str, context: RouteContext, counters: dict[str, int]) -> None:
        self._attempt = attempt
        self._channel_id = channel_id
        self._context = context
        self._counters = counters
        self._office = asyncio.get_running_loop()
        self._news: asyncio.Queue[DialNews] = asyncio.Queue()

    def tell(self, news: DialNews) -> None:
        """From any thread; returns at once."""
        with suppress(RuntimeError):  # the office has closed: the next engine finds out by itself
            self._office.call_soon_threadsafe(self._news.put_nowait, news)

    async def run(self) -> None:
        """Until the end of the attempt is in the store."""
        while True:
            news = await self._news.get()
            await self._keep(self._entry(news))
            if isinstance(news, Ended):
                return

    def _entry(self, news: DialNews) -> Callable[[], None]:
        match news:
            case Ringing():
                return self._note("ringing", "")
            case EarlyMedia():
                return self._note("early_media", "there is sound though nobody has answered; it is not listened to")
            case Answered(answered_by):
                self._counters["answered"] += 1
                return self._report(Progress(Status.IN_PROGRESS, answered_by=answered_by))
            case Ended():
                self._counters["ended"] += 1
                return self._report(progress_of(news))

    def _note(self, kind: str, text: str) -> Callable[[], None]:
        self._counters[kind] += 1
        return partial(self._context.note, self._attempt.call_id, kind, text)

    def _report(self, progress: Progress) -> Callable[[], None]:
        told = replace(progress, provider_call_id=self._channel_id)
        return partial(self._context.report, self._attempt.call_id, self._attempt.number, told)

    async def _keep(self, entry: Callable[[], None]) -> None:
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                return await asyncio.to_thread(entry)
            except Exception:  # noqa: BLE001 - the edge: a store that is away for a while must not lose the end of a call
                self._counters["store_failures"] += 1
                log.exception("news of a call could not be kept, trying again", call=self._attempt.call_id)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_RETRY_SECONDS)

"""The ways out, each of them a queue in which calls wait for a line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dbos import DBOS

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.settings import CallAgentSettings, Trunk

Trunks = Callable[[], Mapping[str, Trunk]]
"""The trunks of this moment, by name; the first is used where a request names none. From any thread, at once."""

_PREFIX = "offhook"
_MINUTE_SECONDS = 60.0
_POLL_SECONDS, _POLL_SECONDS_OF_EACH = 0.2, 0.1
"""How often a queue is looked at: seldom where there are many, since the calls share the processor."""


@dataclass(frozen=True, slots=True)
class _Line:
    calls: int
    a_minute: int | None
    poll_seconds: float


class Lines:
    """On the office's event loop, as long as DBOS runs."""

    def __init__(self, settings: CallAgentSettings, provider: str, trunks: Trunks) -> None:
        """``provider`` is the id of the telephone network."""
        self._settings = settings
        self._provider = provider
        self._trunks = trunks
        self._made: dict[str, _Line] = {}
        """Queues as we have registered them."""
        self._seen: Mapping[str, Trunk] | None = None

    def trunk_of(self, record: CallRecord | None) -> str:
        """The way out a call takes, be it there or not; empty where there is but one, or none."""
        if self._provider != "asterisk":
            return ""
        wanted = record.request.trunk if record is not None else None
        return next(iter(self._trunks()), "") if wanted is None else wanted

    async def queue_of(self, trunk: str) -> str:
        """Its queue, which is looked after from now on. That of a trunk that is gone is, too: whoever waits there has
        to be told."""
        name = queue_name(self._provider, trunk)
        await self._register(name, self._line(trunk))
        return name

    async def renew(self) -> bool:
        """Have a queue for each way out of this moment; whether there are others than the last time."""
        trunks = dict(self._trunks()) if self._provider == "asterisk" else {}
        changed, self._seen = trunks != self._seen, trunks
        for trunk in trunks or ("",):
            await self.queue_of(trunk)
        return changed

    async def forget_old(self) -> None:
        """Queues of trunks that are gone are looked at no more. Only where nothing waits in any queue, nor will before
        it has asked for its own."""
        for queue in await DBOS.list_queues_async():
            if queue.name.startswith(f"{_PREFIX}.") and queue.name not in self._made:
                await DBOS.delete_queue_async(queue.name)

    def _line(self, trunk: str) -> _Line:
        settings, calls, a_minute = self._settings, 1, None
        if self._provider == "twilio":
            calls, a_minute = settings.twilio.calls, settings.twilio.calls_per_minute
        elif self._provider == "mock":
            calls = settings.mock.calls
        elif (known := self._trunks().get(trunk)) is not None:
            calls, a_minute = known.calls, known.calls_per_minute
        many = len(self._trunks()) if self._provider == "asterisk" else 1
        return _Line(calls, a_minute, max(_POLL_SECONDS, _POLL_SECONDS_OF_EACH * many))

    async def _register(self, name: str, line: _Line) -> None:
        if self._made.get(name) == line:
            return
        await DBOS.register_queue_async(
            name,
            global_concurrency=line.calls,
            limiter=None if line.a_minute is None else {"limit": line.a_minute, "period": _MINUTE_SECONDS},
            polling_interval_sec=line.poll_seconds,
            on_conflict="always_update",
        )
        self._made[name] = line


def queue_name(provider: str, trunk: str) -> str:
    """Of the queue in which attempts wait for one of its lines."""
    return f"{_PREFIX}.{provider}.{trunk}" if trunk else f"{_PREFIX}.{provider}"

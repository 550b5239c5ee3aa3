"""Tells a hook, where there is one, what a call came to."""

import json
from typing import Any

import aiohttp
import structlog

from ai_engine.jobs.record import CallRecord, ScheduledEvent
from ai_engine.jobs.settings import Notify
from ai_engine.jobs.status import Status
from ai_engine.jobs.times import zone
from ai_engine.remote.vendor import complaint

log = structlog.get_logger(__name__)

_SECONDS = 10.0
_CONNECT_SECONDS = 3.0
_MOST_OF_A_REFUSAL = 4096


class NotifyFailed(Exception):
    """The hook could not be reached, or did not take it; to be tried again. ``str()`` says why, without secrets."""


class Notifier:
    """On the office's event loop."""

    def __init__(self, settings: Notify, *, seconds: float = _SECONDS) -> None:
        """``seconds`` is how long a request may take."""
        self._settings = settings
        self._timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, _CONNECT_SECONDS))

    async def notify(self, record: CallRecord) -> bool:
        """False when nobody wants to be told: nothing was sent. Raises NotifyFailed."""
        url, token = self._settings.hooks_url, self._settings.hooks_token.get_secret_value()
        if not url or not token:
            return False
        try:
            await self._post(f"{url.rstrip('/')}/agent", token, self._body(record))
        except NotifyFailed as error:
            log.warning("nobody was told of a call", call_id=record.id, reason=str(error))
            raise
        return True

    def _body(self, record: CallRecord) -> dict[str, Any]:
        # A receiver that does not let itself be told which session to use refuses the key, so that it is left out.
        session = {"sessionKey": self._settings.session_key} if self._settings.session_key else {}
        return {"message": message_for(record), "name": "CallAgent", **session, "wakeMode": "now", "deliver": True}

    async def _post(self, url: str, token: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            async with (
                aiohttp.ClientSession(timeout=self._timeout, trust_env=True) as http,
                # The token is for this server, and not for the one it may send us to.
                http.post(url, data=json.dumps(body).encode(), headers=headers, allow_redirects=False) as response,
            ):
                if not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP
                    why = complaint(await response.content.read(_MOST_OF_A_REFUSAL)).replace(token, "(token)")
                    raise NotifyFailed(f"the hook refused it: {response.status}{why}")
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            ValueError,
        ) as error:  # or a token that is no header's value
            raise NotifyFailed(f"the hook cannot be reached: {type(error).__name__}") from None


def message_for(record: CallRecord) -> str:
    """What a person, or another agent, is told of a call that is settled."""
    who = record.request.callee_name or record.request.to
    if record.scheduled_event is not None:
        return _appointment(who, record.scheduled_event)
    if (report := record.report) is not None:
        steps = f" Next steps: {'; '.join(report.next_steps)}." if report.next_steps else ""
        return f"Called {who} ({report.outcome}): {report.summary}{steps}"
    return f"{_nothing_of_it(who, record)}{f' (goal: {record.request.goal})' if record.request.goal else ''}"


def _nothing_of_it(who: str, record: CallRecord) -> str:
    if record.outcome == "message_left":
        return f"An answering machine answered at {who}; a message was left"
    if record.outcome == "talked":
        return f"Spoke with {who}"
    if record.status is Status.COMPLETED:
        return f"Spoke with {who}, but nothing came of it"
    why = f", {record.last_error}" if record.last_error else ""
    times = {0: "never dialled", 1: "dialled once"}.get(record.attempt, f"dialled {record.attempt} times")
    return f"Could not reach {who}: {record.status.replace('_', ' ')}{why}; {times}"


def _appointment(who: str, event: ScheduledEvent) -> str:
    """In the words of the clock of that place."""
    start, end = (moment.astimezone(zone(event.timezone)) for moment in (event.start, event.end))
    until = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%A, %d %B %Y, %H:%M}"
    title = f": {event.summary}" if event.summary else ""
    return f"Appointment with {who} on {start:%A, %d %B %Y, %H:%M} – {until} ({event.timezone}){title}"

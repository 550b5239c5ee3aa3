"""A hook is told of calls, exactly so, or somebody tries again."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs

from ai_engine.dispatch.notify import Notifier, NotifyFailed, message_for
from ai_engine.jobs.record import CallRecord, ScheduledEvent
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.settings import Notify
from ai_engine.jobs.status import Status

TOKEN = "hook-token-4711"
NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


def record(**changes: Any) -> CallRecord:
    request = CallRequest(to="+14155550123", goal="a haircut", duration_minutes=30, callee_name="Salon Ann")
    return CallRecord(
        id="c1", request=request, status=Status.COMPLETED, attempt=1, created_at=NOW, updated_at=NOW
    ).model_copy(update=changes)


def event(start: str, end: str, summary: str | None = "Haircut") -> ScheduledEvent:
    return ScheduledEvent(
        event_id="e1",
        calendar_id="primary",
        start=datetime.fromisoformat(start),
        end=datetime.fromisoformat(end),
        timezone="Europe/Berlin",
        summary=summary,
    )


SCHEDULED = record(outcome="scheduled", scheduled_event=event("2026-10-06T08:00:00Z", "2026-10-06T08:30:00Z"))
TOLD = "Appointment with Salon Ann on Tuesday, 06 October 2026, 10:00 – 10:30 (Europe/Berlin): Haircut"


@dataclass
class Hook:
    """A server that answers ``status`` and remembers what it was told."""

    status: int = 200
    answer: str = "{}"
    location: str = ""
    silent: bool = False
    url: str = ""
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, dict(request.headers), await request.read()))
        if self.silent:
            await asyncio.Event().wait()
        headers = {"Location": self.location} if self.location else None
        return web.Response(status=self.status, text=self.answer, headers=headers)


@asynccontextmanager
async def hooked(**answers: Any) -> AsyncIterator[Hook]:
    hook = Hook(**answers)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hook.take)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
        yield hook
    finally:
        await runner.cleanup()


def notify(url: str | None, token: str = TOKEN, **more: Any) -> Notify:
    return Notify(hooks_url=url, hooks_token=SecretStr(token), **more)


async def test_the_hook_is_told_exactly_so() -> None:
    async with hooked() as hook:
        assert await Notifier(notify(hook.url + "/", session_key="main")).notify(SCHEDULED) is True
    [(path, headers, body)] = hook.seen
    assert path == "/hooks/agent"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "message": TOLD,
        "name": "CallAgent",
        "sessionKey": "main",
        "wakeMode": "now",
        "deliver": True,
    }


async def test_no_session_key_is_sent_that_nobody_configured() -> None:
    async with hooked(status=202) as hook:
        assert await Notifier(notify(hook.url)).notify(SCHEDULED)
    assert set(json.loads(hook.seen[0][2])) == {"message", "name", "wakeMode", "deliver"}


async def test_without_url_or_token_nothing_is_sent() -> None:
    async with hooked() as hook:
        assert await Notifier(notify(hook.url, token="")).notify(SCHEDULED) is False
        assert await Notifier(notify(None)).notify(SCHEDULED) is False
        assert hook.seen == []


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 500, 503])
async def test_a_refusal_is_logged_and_raised_without_the_token(status: int) -> None:
    async with hooked(status=status, answer=json.dumps({"error": f"bad {TOKEN}"})) as hook:
        with capture_logs() as logs, pytest.raises(NotifyFailed, match=rf"^the hook refused it: {status}: bad "):
            await Notifier(notify(hook.url)).notify(SCHEDULED)
        assert len(hook.seen) == 1, "trying again is for the workflow"
    [line] = logs
    assert (line["log_level"], line["call_id"]) == ("warning", "c1")
    assert TOKEN not in str(line)


async def test_the_token_does_not_follow_a_redirect() -> None:
    async with hooked() as elsewhere, hooked(status=307, location=elsewhere.url) as hook:
        with pytest.raises(NotifyFailed):
            await Notifier(notify(hook.url)).notify(SCHEDULED)
        assert elsewhere.seen == []


async def test_a_hook_that_does_not_answer_is_given_up() -> None:
    async with hooked(silent=True) as hook:
        with pytest.raises(NotifyFailed, match="cannot be reached: .*Timeout"):
            await Notifier(notify(hook.url), seconds=0.1).notify(SCHEDULED)
        assert len(hook.seen) == 1


async def test_a_hook_that_is_not_there() -> None:
    async with hooked() as hook:
        url = hook.url
    with pytest.raises(NotifyFailed, match="cannot be reached: ClientConnectorError"):
        await Notifier(notify(url)).notify(SCHEDULED)


async def test_a_token_that_is_no_header() -> None:
    async with hooked() as hook:
        with pytest.raises(NotifyFailed) as caught:
            await Notifier(notify(hook.url, token="a\r\nX-Evil: b")).notify(SCHEDULED)
        assert "Evil" not in str(caught.value)
        assert hook.seen == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (SCHEDULED, TOLD),
        (
            record(scheduled_event=event("2026-10-06T21:30:00Z", "2026-10-06T22:30:00Z", None)),
            "Appointment with Salon Ann on Tuesday, 06 October 2026, 23:30 – "
            "Wednesday, 07 October 2026, 00:30 (Europe/Berlin)",
        ),
        (
            record(
                outcome="reported",
                report=Report(summary="They open at nine.", outcome="success", next_steps=("go there", "pay")),
            ),
            "Called Salon Ann (success): They open at nine. Next steps: go there; pay.",
        ),
        (record(outcome="not_scheduled"), "Spoke with Salon Ann, but nothing came of it (goal: a haircut)"),
        (
            record(outcome="message_left"),
            "An answering machine answered at Salon Ann; a message was left (goal: a haircut)",
        ),
        (
            record(status=Status.NO_ANSWER, attempt=3, last_error="480 Temporarily Unavailable"),
            "Could not reach Salon Ann: no answer, 480 Temporarily Unavailable; dialled 3 times (goal: a haircut)",
        ),
        (
            record(status=Status.FAILED, request=CallRequest(to="+1 415 555 0123", prompt="Ask.")),
            "Could not reach +14155550123: failed; dialled once",
        ),
        (
            record(status=Status.FAILED, attempt=0),
            "Could not reach Salon Ann: failed; never dialled (goal: a haircut)",
        ),
    ],
)
def test_what_is_told(given: CallRecord, message: str) -> None:
    assert message_for(given) == message

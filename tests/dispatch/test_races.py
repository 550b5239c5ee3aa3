"""What happens at the same time: somebody cancels, books or answers while the desk does something else."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ai_engine.dispatch.bell import Bell
from ai_engine.dispatch.carrier import Carrier
from ai_engine.dispatch.database import Database
from ai_engine.dispatch.lines import Lines
from ai_engine.dispatch.permission import Permission
from ai_engine.dispatch.rows import Standing
from ai_engine.dispatch.store import Store
from ai_engine.host.sqlite import sqlite_url
from ai_engine.jobs.ports import Assignment, Attempt, Started, Urls
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.status import Status
from tests.dispatch.test_calls_carried_through import answered, booking, hang_up
from tests.fakes.desks import BOOK, FAST, PaperCalendar, open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork

LATER: Mapping[str, Any] = {"retry": {"initial_delay_ms": 600_000}}
"""Nobody is dialled again in a test."""


class SlowNetwork(ToyNetwork):
    """Has dialled, and does not say so before ``go``."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.go = asyncio.Event(), asyncio.Event()

    async def start_call(self, attempt: Attempt, urls: Urls, *, again: bool) -> Started:
        started = await super().start_call(attempt, urls, again=again)
        self.there.set()
        await self.go.wait()
        return started


# -- canceled ----------------------------------------------------------------------------------------------


async def test_settled_means_hung_up(tmp_path: Path) -> None:
    class SlowToHangUp(ToyNetwork):
        async def end_call(self, attempt: Attempt, provider_call_id: str) -> None:
            await asyncio.sleep(0.3)
            await super().end_call(attempt, provider_call_id)

    async with open_desk(tmp_path, network=SlowToHangUp([[ANSWERED]])) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await desk.dispatch.cancel(talking.id)
        await desk.settled(talking.id)
        assert desk.network.ended[:1] == [f"{talking.id}-1"]


async def test_nobody_is_called_to_put_right_what_is_canceled(tmp_path: Path) -> None:
    """The conversation is over, so that its status stays; but the promise of it is not kept any more."""
    calendar = PaperCalendar()
    calendar.answers = [{"ok": False, "error": "somebody was faster"}]
    async with open_desk(tmp_path, LATER, ToyNetwork([[ANSWERED]]), calendar) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await desk.dispatch.book(talking.id, booking(talking.id))
        await hang_up(desk, talking)
        await desk.until(talking.id, lambda record: record.next_attempt_at is not None)
        await desk.dispatch.cancel(talking.id)
        record = await desk.settled(talking.id)
        assert (record.status, record.attempt) == (Status.COMPLETED, 1)


async def test_a_canceled_call_waits_for_no_line(tmp_path: Path) -> None:
    """Its place in the queue is given up, or it would use up one of the dials a minute."""
    async with open_desk(tmp_path, {"mock": {"calls": 1}}, ToyNetwork([[ANSWERED], [ANSWERED]])) as desk:
        first = await answered(desk, (await desk.call()).id)
        second, third = await desk.call(to="+15550101"), await desk.call(to="+15550102")
        await desk.dispatch.cancel(second.id)
        await desk.settled(second.id)
        await hang_up(desk, first)
        await answered(desk, third.id)
        assert desk.network.dialed == [f"{first.id}-1", f"{third.id}-1"]


async def test_two_cancel_at_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]])) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await asyncio.gather(*(desk.dispatch.cancel(talking.id) for _ in range(5)))
        assert (await desk.settled(talking.id)).status is Status.CANCELED
        assert (await desk.kinds(talking.id)).count("canceled") == 1


# -- asked for twice -----------------------------------------------------------------------------------------


async def test_two_ask_with_one_key_at_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        asked = await asyncio.gather(*(desk.call(idempotencyKey="one") for _ in range(8)))
        assert len({record.id for record in asked}) == 1
        await desk.until(asked[0].id, lambda record: record.user_hint is not None)
        assert len(desk.network.dialed) == 1
        assert len(await desk.dispatch.calls()) == 1


async def test_whoever_calls_back_and_says_it_all_is_not_dialled_again(tmp_path: Path) -> None:
    async with open_desk(tmp_path, LATER, ToyNetwork([[BUSY], [ANSWERED, DONE]])) as desk:
        free = {"goal": None, "durationMinutes": None, "prompt": "Ask whether the parcel has arrived."}
        waiting = await desk.until((await desk.call(**free)).id, lambda record: record.next_attempt_at is not None)
        await desk.dispatch.report_call(waiting.id, Report(summary="It has.", outcome="success"))
        record = await desk.settled(waiting.id)
        assert (record.status, record.outcome, record.attempt) == (Status.BUSY, "reported", 1)
        over = await desk.settled((await desk.call(**free)).id)
        assert over.outcome == "not_scheduled"
        await desk.dispatch.report_call(over.id, Report(summary="It came late."))
        late = await desk.dispatch.status(over.id)
        assert late is not None
        assert late.outcome == "reported"


async def test_nobody_is_told_twice_of_an_appointment_made_as_the_call_ends(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]] * 10)) as desk:
        for n in range(10):
            talking = await answered(desk, (await desk.call(to=f"+1555010{n}")).id)
            await asyncio.gather(hang_up(desk, talking), desk.dispatch.book(talking.id, booking(talking.id)))
            record = await desk.settled(talking.id)
            await desk.until(record.id, lambda _, n=n: len(desk.told) > n)
        await asyncio.sleep(0.3)
        assert len(desk.told) == 10


# -- news --------------------------------------------------------------------------------------------------


async def test_an_end_that_is_told_between_two_looks_is_not_overlooked(tmp_path: Path) -> None:
    """A record of before it and an attempt of after it would say that nobody need be dialled again."""

    class Overtaken(Store):
        """The news comes just after its reader has read."""

        def call(self, call_id: str) -> CallRecord | None:
            return self._then_news(call_id, super().call(call_id))

        def standing(self, call_id: str, number: int | None = None) -> Standing | None:
            return self._then_news(call_id, super().standing(call_id, number))

        def _then_news(self, call_id: str, read: Any) -> Any:
            if self.progress(call_id, 1, BUSY):
                bell.ring(call_id)
            return read

    settings = CallAgentSettings.model_validate_json(json.dumps(FAST))
    database, bell, network = Database(sqlite_url(tmp_path / "calls.sqlite")), Bell(), ToyNetwork()
    store = Overtaken(database, time.time)
    carrier = Carrier(
        settings,
        network,
        store,
        bell,
        Permission(settings, tuple, dict),
        Lines(settings, "mock", dict),
        PaperCalendar(),
        notify=_nobody,
        urls=_nowhere,
        assign=_nothing,
        clock=time.time,
        chance=lambda: 0.5,
    )
    try:
        store.add_call("one", CallRequest.model_validate(BOOK), "mock")
        store.queue_attempt("one", 1)
        assert store.begin_attempt("one", 1, 20, 3600.0) == 0.0
        async with asyncio.timeout(10):
            assert await carrier.until_done("one", 1), "nobody dials again"
    finally:
        database.close()


async def _nobody(_: CallRecord) -> bool | None:
    return None


async def _nowhere() -> Urls:
    raise AssertionError("nobody dials")


def _nothing(_: CallRecord, __: str) -> Assignment:
    raise AssertionError("nobody dials")


async def test_news_that_comes_before_the_dial_is_written_down(tmp_path: Path) -> None:
    """Twilio may tell of an answer sooner than it answers the request to dial."""
    network = SlowNetwork()
    async with open_desk(tmp_path, network=network) as desk:
        asking = asyncio.create_task(desk.call())
        await network.there.wait()
        [known] = await desk.dispatch.calls()
        for news in (ANSWERED, DONE):
            await asyncio.to_thread(desk.dispatch.report, known.id, 1, news)
        network.go.set()
        record = await desk.settled((await asking).id)
        assert (record.status, record.attempt, record.provider_call_id) == (Status.COMPLETED, 1, f"toy-{known.id}-1")


async def test_an_end_that_was_only_just_kept_before_the_crash(tmp_path: Path) -> None:
    """The store has it, and nobody was woken: the next engine sees it at once, not when the call is overdue."""
    network = ToyNetwork([[ANSWERED]])
    async with open_desk(tmp_path, network=network) as desk:
        talking = await answered(desk, (await desk.call()).id)
    network.scripts = [[]]
    desk.store.progress(talking.id, 1, DONE)
    async with open_desk(tmp_path, network=network) as desk:
        assert (await desk.until(talking.id, lambda record: record.settled, 10)).status is Status.COMPLETED


# -- defects -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"ok": True, "eventId": "e", "start": "soon", "end": "later", "timezone": "Europe/Berlin"},
        {"ok": True, "eventId": "e", "start": ["x"], "end": 3.5, "timezone": {"name": "Europe/Berlin"}},
    ],
)
async def test_a_calendar_that_talks_nonsense_does_not_keep_a_call_open(tmp_path: Path, answer: Any) -> None:
    calendar = PaperCalendar()
    calendar.answers = [answer]
    async with open_desk(tmp_path, {"retry": {"max_attempts": 1}}, ToyNetwork([[ANSWERED]]), calendar) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await desk.dispatch.book(talking.id, booking(talking.id))
        await hang_up(desk, talking)
        assert (await desk.settled(talking.id)).outcome == "not_scheduled"


async def test_a_calendar_with_a_defect_does_not_keep_a_call_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(PaperCalendar):
        async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
            raise ZeroDivisionError("ours")

    monkeypatch.setattr("ai_engine.dispatch.workflows._FIRST_RETRY_SECONDS", 0.01)
    settings = {"retry": {"max_attempts": 1}}
    async with open_desk(tmp_path, settings, ToyNetwork([[ANSWERED]]), Broken()) as desk:
        talking = await answered(desk, (await desk.call()).id)
        answer = await desk.dispatch.book(talking.id, booking(talking.id))
        assert answer["ok"] is False
        assert "ZeroDivisionError" in answer["error"]
        await hang_up(desk, talking)
        record = await desk.settled(talking.id)
        assert record.last_error is not None
        assert "the calendar refused it" in record.last_error


async def test_a_defect_in_deciding_about_a_redial_ends_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> float:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("ai_engine.dispatch.workflows._FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("ai_engine.dispatch.carrier.delay_seconds", broken)
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY]])) as desk:
        record = await desk.settled((await desk.call()).id)
        assert record.last_error == "a defect of the engine: ZeroDivisionError: ours"


async def test_a_call_that_was_kept_but_not_begun_is_begun(tmp_path: Path) -> None:
    """The engine was killed in between; or the same request comes again."""
    async with open_desk(tmp_path) as desk:
        request = CallRequest.model_validate({**BOOK, "idempotencyKey": "one"})
        desk.store.add_call("kept", request, "mock")
        assert (await desk.call(idempotencyKey="one")).id == "kept"
        await desk.until("kept", lambda record: record.attempt == 1)

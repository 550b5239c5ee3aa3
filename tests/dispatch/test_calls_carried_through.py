"""A call from the request to its end, on the real workflows."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ai_engine.jobs.ports import CannotCall, RequestRefused
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import Report
from ai_engine.jobs.status import Progress, Status
from tests.fakes.desks import Desk, PaperCalendar, open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork

NO_ANSWER = Progress(Status.NO_ANSWER, reason="480 Temporarily Unavailable")
SLOT = {"calendarId": "primary", "start": "2026-12-01T10:00:00+01:00", "end": "2026-12-01T10:30:00+01:00"}


def booking(call_id: str) -> dict[str, Any]:
    key = f"{call_id}:2026-12-01T09:00:00Z"
    return {**SLOT, "timezone": "Europe/Berlin", "title": "Visit", "idempotencyKey": key}


async def answered(desk: Desk, call_id: str) -> CallRecord:
    return await desk.until(call_id, lambda record: record.status is Status.IN_PROGRESS)


async def hang_up(desk: Desk, record: CallRecord) -> None:
    await asyncio.to_thread(desk.dispatch.report, record.id, record.attempt, DONE)


async def test_busy_the_first_time_answered_the_second(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED, DONE]])) as desk:
        asked = await desk.call()
        record = await desk.settled(asked.id)
        assert (record.status, record.attempt, record.outcome) == (Status.COMPLETED, 2, "not_scheduled")
        assert desk.network.dialed == [f"{record.id}-1", f"{record.id}-2"]
        told = ["queued", "dialing", "busy", "retry", "dialing", "answered", "ended", "settled"]
        assert await desk.kinds(record.id) == told
        assert desk.told == []


async def test_every_status_that_may_be_dialled_again_is(tmp_path: Path) -> None:
    """And ``no-answer`` in the settings is the ``no_answer`` of a record."""
    failed = Progress(Status.FAILED, reason="503")
    settings = {"retry": {"initial_delay_ms": 10, "max_attempts": 4, "retry_statuses": ["busy", "no-answer", "failed"]}}
    async with open_desk(tmp_path, settings, ToyNetwork([[NO_ANSWER], [failed], [BUSY], [NO_ANSWER]])) as desk:
        record = await desk.settled((await desk.call()).id)
        assert (record.status, record.attempt, record.last_error) == (Status.NO_ANSWER, 4, NO_ANSWER.reason)
        assert record.outcome is None


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        ([Progress(Status.FAILED, reason="404 Not Found", retryable=False)], Status.FAILED, "404 Not Found"),
        (CannotCall("no such trunk", retryable=False), Status.FAILED, "no such trunk"),
        ([Progress(Status.CANCELED, reason="by the carrier")], Status.CANCELED, "by the carrier"),
    ],
)
async def test_what_dialling_again_cannot_help(tmp_path: Path, script: Any, status: Status, error: str) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([script])) as desk:
        record = await desk.settled((await desk.call()).id)
        assert (record.status, record.attempt, record.last_error) == (status, 1, error)


async def test_a_network_that_cannot_call_now_is_tried_again(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([CannotCall("no connection"), [ANSWERED, DONE]])) as desk:
        record = await desk.settled((await desk.call()).id)
        assert (record.status, record.attempt) == (Status.COMPLETED, 2)


async def test_late_news_changes_nothing(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[BUSY], [ANSWERED]])) as desk:
        record = await answered(desk, (await desk.call()).id)
        for late in (BUSY, DONE):
            await asyncio.to_thread(desk.dispatch.report, record.id, 1, late)
        stranger = Progress(Status.COMPLETED, provider_call_id="another call")
        await asyncio.to_thread(desk.dispatch.report, record.id, 2, stranger)
        first = Progress(Status.COMPLETED, sequence=4)
        await asyncio.to_thread(desk.dispatch.report, record.id, 2, Progress(Status.IN_PROGRESS, sequence=5))
        await asyncio.to_thread(desk.dispatch.report, record.id, 2, first)
        assert (await desk.dispatch.status(record.id)).status is Status.IN_PROGRESS  # type: ignore[union-attr]
        assert desk.dispatch.counters["late_news"] == 5
        await hang_up(desk, record)
        await desk.settled(record.id)
        await asyncio.to_thread(desk.dispatch.report, record.id, 2, BUSY)
        assert (await desk.dispatch.status(record.id)).status is Status.COMPLETED  # type: ignore[union-attr]


# -- canceled ----------------------------------------------------------------------------------------------


async def test_canceled_while_it_rings(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        asked = await desk.call()
        await desk.until(asked.id, lambda record: record.user_hint is not None)
        canceled = await desk.dispatch.cancel(asked.id)
        assert canceled is not None
        assert canceled.status is Status.CANCELED
        record = await desk.settled(asked.id)
        assert (record.status, record.attempt) == (Status.CANCELED, 1)
        assert desk.network.ended == [f"{asked.id}-1"]


async def test_canceled_before_it_is_dialled_again(tmp_path: Path) -> None:
    async with open_desk(tmp_path, {"retry": {"initial_delay_ms": 600_000}}, ToyNetwork([[BUSY]])) as desk:
        waiting = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
        await desk.dispatch.cancel(waiting.id)
        record = await desk.settled(waiting.id)
        assert (record.status, record.attempt, record.next_attempt_at) == (Status.CANCELED, 1, None)


async def test_booked_by_a_callback_before_it_is_dialled_again(tmp_path: Path) -> None:
    """It is settled, and told of, at once: nobody is called about what is settled with them."""
    async with open_desk(tmp_path, {"retry": {"initial_delay_ms": 600_000}}, ToyNetwork([[NO_ANSWER]])) as desk:
        waiting = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
        assert (await desk.dispatch.book(waiting.id, booking(waiting.id)))["ok"]
        record = await desk.settled(waiting.id)
        assert (record.attempt, record.outcome, record.next_attempt_at) == (1, "scheduled", None)
        await desk.until(waiting.id, lambda _: bool(desk.told))
        assert [told.id for told in desk.told] == [waiting.id]


async def test_a_callback_whose_time_is_taken_leaves_the_call_waiting(tmp_path: Path) -> None:
    calendar = PaperCalendar()
    calendar.answers = [{"ok": False, "error": "taken"}]
    settings = {"retry": {"initial_delay_ms": 600_000}}
    async with open_desk(tmp_path, settings, ToyNetwork([[NO_ANSWER]]), calendar) as desk:
        waiting = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
        assert not (await desk.dispatch.book(waiting.id, booking(waiting.id)))["ok"]
        await asyncio.sleep(0.3)
        record = await desk.dispatch.status(waiting.id)
        assert record is not None
        assert not record.settled
        assert record.next_attempt_at is not None


async def test_canceled_while_it_waits_for_a_line(tmp_path: Path) -> None:
    async with open_desk(tmp_path, {"mock": {"calls": 1}}, ToyNetwork([[ANSWERED]])) as desk:
        first = await answered(desk, (await desk.call()).id)
        second = await desk.call(to="+15550101")
        assert second.status is Status.QUEUED
        await desk.dispatch.cancel(second.id)
        assert (await desk.settled(second.id)).status is Status.CANCELED
        await hang_up(desk, first)
        await desk.settled(first.id)
        assert desk.network.dialed == [f"{first.id}-1"]


async def test_what_is_settled_stays_so(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED, DONE]])) as desk:
        record = await desk.settled((await desk.call()).id)
        assert await desk.dispatch.cancel(record.id) == record
        assert await desk.dispatch.cancel("nobody") is None


# -- rules of the house ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manners", "to", "why"),
    [
        ({"do_not_call": ["+1 (555) 0100"]}, "+15550100", "do-not-call"),
        ({"do_not_call": ["0015550100"]}, "+1 555 0100", "do-not-call"),
        ({"allowed_prefixes": ["+49"]}, "+15550100", "allowed_prefixes"),
        ({"windows": [{"days": []}]}, "+15550100", "windows have no days"),
    ],
)
async def test_calls_that_are_refused(tmp_path: Path, manners: dict[str, Any], to: str, why: str) -> None:
    async with open_desk(tmp_path, {"manners": {"windows": [], **manners}}) as desk:
        with pytest.raises(RequestRefused, match=why):
            await desk.call(to=to)
        assert await desk.dispatch.calls() == []
        assert desk.dispatch.counters["refused"] == 1


async def test_the_do_not_call_list_is_read_anew(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.txt"
    async with open_desk(tmp_path, {"manners": {"windows": [], "do_not_call_file": str(numbers)}}) as desk:
        with pytest.raises(RequestRefused, match="cannot be read"):
            await desk.call()
        numbers.write_text("# nobody yet\n")
        await desk.call()
        numbers.write_text("+15550100  # asked us not to\n")
        with pytest.raises(RequestRefused, match="do-not-call"):
            await desk.call()


async def test_a_request_may_name_only_what_there_is(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        with pytest.raises(RequestRefused, match="no agent 'nobody'"):
            await desk.call(agent="nobody")
        with pytest.raises(RequestRefused, match="no trunk 'gold'"):
            await desk.call(trunk="gold")


async def test_nobody_is_called_out_of_hours(tmp_path: Path) -> None:
    at_night = 1_796_083_200.0 + 22 * 3600  # 2026-12-01, 23:00 in Berlin
    windows = [{"start": "09:00", "end": "17:00"}]
    async with open_desk(tmp_path, {"manners": {"windows": windows}}, clock=lambda: at_night) as desk:
        record = await desk.until((await desk.call()).id, lambda record: record.next_attempt_at is not None)
        assert record.next_attempt_at is not None
        assert record.next_attempt_at.isoformat() == "2026-12-02T08:00:00+00:00"
        assert desk.network.dialed == []
        assert "waiting" in await desk.kinds(record.id)


async def test_no_more_calls_within_an_hour_than_allowed(tmp_path: Path) -> None:
    async with open_desk(tmp_path, {"manners": {"windows": [], "calls_per_hour": 2}}) as desk:
        calls = [await desk.call(to=f"+1555010{n}") for n in range(3)]
        last = await desk.until(calls[2].id, lambda record: record.next_attempt_at is not None)
        assert last.next_attempt_at is not None
        assert 3500 < (last.next_attempt_at - last.created_at).total_seconds() <= 3600
        assert len(desk.network.dialed) == 2


async def test_a_trunk_has_so_many_lines(tmp_path: Path) -> None:
    network = ToyNetwork([[ANSWERED], [ANSWERED], [ANSWERED]])
    async with open_desk(tmp_path, {"mock": {"calls": 2}}, network) as desk:
        calls = [await desk.call(to=f"+1555010{n}") for n in range(3)]
        talking = [await answered(desk, call.id) for call in calls[:2]]
        assert (await desk.dispatch.status(calls[2].id)).status is Status.QUEUED  # type: ignore[union-attr]
        await hang_up(desk, talking[0])
        third = await answered(desk, calls[2].id)
        for record in (talking[1], third):
            await hang_up(desk, record)
            await desk.settled(record.id)


async def test_a_call_that_is_neither_answered_nor_over_is_ended(tmp_path: Path) -> None:
    manners = {"windows": [], "stale_seconds": 0.3, "ring_seconds": 0.1}
    async with open_desk(tmp_path, {"manners": manners, "retry": {"max_attempts": 1}}) as desk:
        record = await desk.settled((await desk.call()).id)
        assert record.status is Status.FAILED
        assert record.last_error is not None
        assert "stale_seconds" in record.last_error
        assert desk.network.ended == [f"{record.id}-1"]


async def test_the_same_request_again_is_the_same_call(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        first, again = await desk.call(idempotencyKey="k"), await desk.call(idempotencyKey="k")
        other = await desk.call(idempotencyKey="other")
        assert first.id == again.id != other.id


# -- appointments --------------------------------------------------------------------------------------------


async def test_an_appointment_is_kept_and_told_of(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]])) as desk:
        talking = await answered(desk, (await desk.call()).id)
        answer = await desk.dispatch.book(talking.id, booking(talking.id))
        assert answer["ok"] is True
        again = await desk.dispatch.book(talking.id, booking(talking.id))
        assert again["eventId"] == answer["eventId"]
        await hang_up(desk, talking)
        record = await desk.settled(talking.id)
        assert (record.status, record.outcome) == (Status.COMPLETED, "scheduled")
        assert record.scheduled_event is not None
        assert record.scheduled_event.start.isoformat() == SLOT["start"]
        await desk.until(record.id, lambda _: bool(desk.told))
        assert [told.id for told in desk.told] == [record.id]
        assert len(desk.calendar.asked) == 1, "the same confirmation is not entered twice"


async def test_a_calendar_that_is_away_gets_the_appointment_later(tmp_path: Path) -> None:
    calendar = PaperCalendar()
    calendar.failures = 2
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]]), calendar=calendar) as desk:
        talking = await answered(desk, (await desk.call()).id)
        booked = asyncio.create_task(desk.dispatch.book(talking.id, booking(talking.id)))
        await desk.until(talking.id, lambda _: bool(calendar.asked))
        await hang_up(desk, talking)
        assert (await desk.until(talking.id, lambda record: record.status.over)).outcome is None
        record = await desk.settled(talking.id)
        assert record.outcome == "scheduled", "settled before the calendar had answered"
        assert (await booked)["ok"] is True
        assert len(calendar.asked) == 3


async def test_a_promise_that_cannot_be_kept_is_put_right_by_another_call(tmp_path: Path) -> None:
    calendar = PaperCalendar()
    calendar.answers = [{"ok": False, "error": "somebody was faster"}]
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED], [ANSWERED]]), calendar=calendar) as desk:
        talking = await answered(desk, (await desk.call()).id)
        answer = await desk.dispatch.book(talking.id, booking(talking.id))
        assert answer == {"ok": False, "error": "somebody was faster"}
        await hang_up(desk, talking)
        second = await desk.until(
            talking.id, lambda record: record.attempt == 2 and record.status is Status.IN_PROGRESS
        )
        told = desk.network.attempts[1].assignment.instructions
        assert "somebody was faster" in told
        assert "Apologise" in told
        await hang_up(desk, second)
        record = await desk.until(talking.id, lambda record: record.attempt == 3)
        assert record.outcome is None


async def test_a_free_conversation_is_reported(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]])) as desk:
        asked = await desk.call(goal=None, durationMinutes=None, prompt="Ask whether the parcel has arrived.")
        talking = await answered(desk, asked.id)
        assignment = desk.network.attempts[0].assignment
        assert assignment.tools == ("report_call",)
        assert "parcel" in assignment.instructions
        await desk.dispatch.report_call(talking.id, Report(summary="It has.", outcome="success"))
        await hang_up(desk, talking)
        record = await desk.settled(talking.id)
        assert record.outcome == "reported"
        assert record.report == Report(summary="It has.", outcome="success")
        await desk.until(record.id, lambda _: bool(desk.told))


async def test_failure_is_told_of_only_where_somebody_wants_to_know(tmp_path: Path) -> None:
    settings = {"retry": {"max_attempts": 1}, "notify": {"on_failure": True}}
    async with open_desk(tmp_path, settings, ToyNetwork([[BUSY]])) as desk:
        record = await desk.settled((await desk.call()).id)
        await desk.until(record.id, lambda _: bool(desk.told))
        assert desk.told[0].status is Status.BUSY


# -- defects ---------------------------------------------------------------------------------------------------


async def test_a_step_that_fails_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ToyNetwork([[ANSWERED, DONE]])
    real, failures = network.prepare_call, 1

    async def sometimes(attempt: Any) -> str:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError("once")
        return await real(attempt)

    network.prepare_call = sometimes  # type: ignore[method-assign]
    monkeypatch.setattr("ai_engine.dispatch.workflows._FIRST_RETRY_SECONDS", 0.01)
    async with open_desk(tmp_path, network=network) as desk:
        record = await desk.settled((await desk.call()).id)
        assert (record.status, record.attempt) == (Status.COMPLETED, 1)


async def test_a_defect_ends_the_call_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ToyNetwork()

    async def broken(attempt: Any) -> str:
        raise ZeroDivisionError("ours")

    network.prepare_call = broken  # type: ignore[method-assign]
    monkeypatch.setattr("ai_engine.dispatch.workflows._FIRST_RETRY_SECONDS", 0.01)
    async with open_desk(tmp_path, network=network) as desk:
        record = await desk.settled((await desk.call()).id)
        assert record.status is Status.FAILED
        assert record.last_error == "a defect of the engine: ZeroDivisionError: ours"


async def test_an_appointment_made_by_somebody_who_calls_back_is_told_of(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED, DONE]])) as desk:
        record = await desk.settled((await desk.call()).id)
        assert desk.told == []
        await desk.dispatch.book(record.id, booking(record.id))
        await desk.until(record.id, lambda _: bool(desk.told))
        assert desk.told[0].scheduled_event is not None
        assert desk.told[0].outcome == "scheduled"


async def test_an_agent_that_does_not_say_goodbye_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.dispatch.carrier._GOODBYE_SECONDS", 0.2)
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]])) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await desk.dispatch.book(talking.id, booking(talking.id))
        await asyncio.to_thread(desk.dispatch.report, talking.id, 1, ANSWERED)
        record = await desk.settled(talking.id)
        assert (record.status, record.outcome) == (Status.COMPLETED, "scheduled")
        assert desk.network.ended == [f"{talking.id}-1"]


async def test_a_call_that_was_lost_after_it_had_booked_is_not_dialled_again(tmp_path: Path) -> None:
    async with open_desk(tmp_path, network=ToyNetwork([[ANSWERED]])) as desk:
        talking = await answered(desk, (await desk.call()).id)
        await desk.dispatch.book(talking.id, booking(talking.id))
        lost = Progress(Status.FAILED, reason="lost")
        await asyncio.to_thread(desk.dispatch.report, talking.id, 1, lost)
        record = await desk.settled(talking.id)
        assert (record.status, record.outcome, record.attempt) == (Status.FAILED, "scheduled", 1)


async def test_what_the_network_says_of_a_call_we_end_is_not_the_last_word(tmp_path: Path) -> None:
    network = ToyNetwork()

    async def end(attempt: Any, provider_call_id: str) -> None:
        ours = Progress(Status.CANCELED, reason="we hung up")
        await asyncio.to_thread(network.report, attempt.call_id, attempt.number, ours)

    network.end_call = end  # type: ignore[method-assign]
    manners = {"windows": [], "stale_seconds": 0.3, "ring_seconds": 0.1}
    async with open_desk(tmp_path, {"manners": manners, "retry": {"max_attempts": 1}}, network) as desk:
        assert (await desk.settled((await desk.call()).id)).status is Status.FAILED


# -- canceled in the middle of a step --------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "dialed"), [("prepare_call", 0), ("start_call", 1)])
async def test_canceled_in_the_middle_of_dialling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, dialed: int
) -> None:
    """Nobody is called any more, or whoever has been is hung up on after the dial, not before it."""
    network = ToyNetwork([[]])
    real, told = getattr(network, step), list[str]()
    async with open_desk(tmp_path, network=network) as desk:

        async def canceled_meanwhile(attempt: Any, *arguments: Any, **named: Any) -> Any:
            await desk.dispatch.cancel(attempt.call_id)
            result = await real(attempt, *arguments, **named)
            told.extend(network.ended)
            network.ended.clear()
            return result

        setattr(network, step, canceled_meanwhile)
        record = await desk.settled((await desk.call()).id)
        assert record.status is Status.CANCELED
        assert len(network.dialed) == dialed
        await desk.until(record.id, lambda _: f"{record.id}-1" in network.ended)


async def test_canceled_when_this_engine_does_not_hold_the_attempt(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        asked = await desk.call()
        await desk.until(asked.id, lambda record: record.user_hint is not None)
        desk.dispatch._carrier.live.clear()
        await desk.dispatch.cancel(asked.id)
        await desk.settled(asked.id)
        assert desk.network.ended == [f"{asked.id}-1"]
        assert desk.dispatch.find(asked.id) is None

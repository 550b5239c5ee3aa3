"""Calls over a Twilio that keeps its protocol: dialled once, heard and spoken to, and ended."""

import asyncio

import pytest

from ai_engine.jobs.ports import AttemptLost, CannotCall, Telephony, Urls
from ai_engine.jobs.retry import delay_seconds
from ai_engine.jobs.settings import Retry, Server
from ai_engine.jobs.status import Status
from ai_engine.protocol.media_streams import KeyPressed, MarkReturned, StreamStopped
from ai_engine.telephony.twilio import TwilioTelephony
from tests.fakes.twilio_fake import FROM, TOKEN, Fault, Script
from tests.telephony.twilio_parts import PUBLIC, TO, Book, Door, attempt, restarted, settings, stage
from tests.waiting import until

WORDS = bytes(range(1, 121)) * 20
"""Mu-law without silence."""


def fits_its_port(telephony: TwilioTelephony) -> Telephony:
    """For mypy."""
    return telephony


# -- a call --------------------------------------------------------------------------------------------------


async def test_a_call_from_dial_to_goodbye() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(says=WORDS)]
        one = attempt()
        sid = await it.dial(one)
        call = await it.twilio.next_call()
        assert sid == call.sid
        await call.streaming.wait()
        await until(lambda: WORDS in bytes(call.heard))
        leg = it.door.legs[0]
        assert WORDS in leg.heard
        assert it.door.attempts == [one]
        assert (leg.start.stream_sid, leg.start.call_sid) == (call.stream_sid, sid)
        await call.press("7")
        await until(lambda: KeyPressed("7") in leg.events)
        assert any(isinstance(event, MarkReturned) for event in leg.events)
        call.hang_up()
        await call.done()
        await until(lambda: leg.reasons)
        assert isinstance(leg.events[-1], StreamStopped)
        assert leg.reasons == ["stopped"]
        assert it.book.statuses[0] == "dialing"
        assert it.book.statuses[-1] == "completed"
        assert set(it.book.statuses) == {"dialing", "in_progress", "completed"}
        assert (one.call_id, "stream", call.stream_sid) in it.book.notes
        assert {news.provider_call_id for _, _, news in it.book.news} <= {sid, ""}
        assert [hook.status for hook in it.twilio.webhooks] == [200] * len(it.twilio.webhooks)
        assert it.twilio.violations == []


async def test_what_is_asked_of_twilio_when_we_dial() -> None:
    async with stage() as it:
        await it.dial(attempt(ring_seconds=24.2))
        call = await it.twilio.next_call()
        query = "provider=twilio&callId=c0ffee&attempt=1"
        assert call.fields == {
            "To": [TO],
            "From": [FROM],
            "Url": [f"{PUBLIC}/voice?{query}"],
            "Method": ["POST"],
            "StatusCallback": [f"{PUBLIC}/status?{query}"],
            "StatusCallbackMethod": ["POST"],
            "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
            "Timeout": ["25"],
            "TimeLimit": ["180"],
        }


@pytest.mark.parametrize(("message", "mode"), [("", "Enable"), ("Please call back.", "DetectMessageEnd")])
async def test_answering_machines_are_told_of(message: str, mode: str) -> None:
    async with stage(answering_machine=True) as it:
        it.twilio.scripts = [Script(answered_by="machine_end_beep")]
        await it.dial(attempt(message=message))
        call = await it.twilio.next_call()
        await until(lambda: any(news.answered_by == "machine" for _, _, news in it.book.news))
        machine = next(news for _, _, news in it.book.news if news.answered_by == "machine")
        assert machine.status is Status.IN_PROGRESS
        assert (call.field("MachineDetection"), call.field("AsyncAmd")) == (mode, "true")
        assert call.field("AsyncAmdStatusCallback") == call.field("StatusCallback")
        call.hang_up()
        await call.done()
        assert it.twilio.violations == []


@pytest.mark.parametrize(
    ("script", "status", "retryable"),
    [
        (Script("busy", sip="486"), Status.BUSY, True),
        (Script("no-answer"), Status.NO_ANSWER, True),
        (Script("failed", sip="503"), Status.FAILED, True),
        (Script("failed", sip="404"), Status.FAILED, False),
        (Script("canceled"), Status.CANCELED, True),
    ],
)
async def test_calls_that_nobody_answers(script: Script, status: Status, retryable: bool) -> None:
    async with stage() as it:
        it.twilio.scripts = [script]
        sid = await it.dial(attempt())
        await (await it.twilio.next_call()).done()
        last = it.book.news[-1][2]
        assert (last.status, last.retryable, last.provider_call_id) == (status, retryable, sid)
        assert script.sip in last.reason
        assert it.book.statuses.count(status.value) == 1
        assert it.door.legs == []


async def test_no_answer_is_dialled_again_and_an_initiated_call_is_not_a_failed_one() -> None:
    """Defects 1 and 2 of the original: it compared ``no-answer`` with ``no_answer``, and took ``initiated`` for
    failed, upon which it dialled a second time."""
    async with stage() as it:
        it.twilio.scripts = [Script("no-answer")]
        await it.dial(attempt())
        await (await it.twilio.next_call()).done()
        assert it.book.statuses == ["dialing", "dialing", "no_answer"]
        last = it.book.news[-1][2]
        assert delay_seconds(Retry(), last.status, 1, retryable=last.retryable, chance=0.5) == 60


async def test_late_and_repeated_callbacks_change_nothing() -> None:
    """Defect 3 of the original: a callback that came late overwrote how the call had ended."""
    async with stage() as it:
        it.twilio.scripts = [Script("busy", late=frozenset({"initiated", "ringing"}), copies=2)]
        await it.dial(attempt())
        await (await it.twilio.next_call()).done()
        assert it.book.statuses == ["busy"]
        # The attempt is over, so that they are not even looked at.
        assert it.telephony.counters["unknown_calls"] == 3


async def test_callbacks_out_of_order_within_a_call() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(late=frozenset({"ringing"}), copies=2)]
        it.book.forgets = False
        await it.dial(attempt())
        call = await it.twilio.next_call()
        await call.streaming.wait()
        call.hang_up()
        await call.done()
        assert it.book.statuses.count("dialing") == 1
        assert it.book.statuses[-1] == "completed"
        assert it.telephony.counters["stale"] == 1
        assert it.telephony.counters["replays"] == 3  # the second copies


# -- what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "retryable", "says"),
    [
        (Fault(400, 21215, "Account not authorized to call +1"), False, "21215"),
        (Fault(429, 20429, "Too Many Requests"), True, "Too Many Requests"),
        (Fault(503, 0, "Service Unavailable"), True, "503"),
    ],
)
async def test_twilio_refuses(fault: Fault, retryable: bool, says: str) -> None:
    async with stage() as it:
        it.twilio.faults = [fault]
        with pytest.raises(CannotCall, match=says) as refused:
            await it.dial(attempt())
        assert refused.value.retryable is retryable
        assert it.twilio.calls == []


async def test_a_number_that_is_none_is_not_tried_again() -> None:
    async with stage() as it:
        with pytest.raises(CannotCall, match="21211") as refused:
            await it.dial(attempt(to="123"))
        assert not refused.value.retryable


async def test_a_wrong_token_is_told_without_telling_the_token() -> None:
    async with stage(auth_token="wrong-and-secret") as it:
        with pytest.raises(CannotCall, match="Authenticate") as refused:
            await it.dial(attempt())
        assert not refused.value.retryable
        assert "secret" not in str(refused.value)


async def test_a_vendor_who_repeats_the_token_does_not_put_it_in_our_logs() -> None:
    async with stage() as it:
        it.twilio.faults = [Fault(400, 1, f"bad password {TOKEN}")]
        with pytest.raises(CannotCall) as refused:
            await it.dial(attempt())
        assert TOKEN not in str(refused.value)


async def test_twilio_is_not_there() -> None:
    telephony = TwilioTelephony(settings("http://127.0.0.1:1"), Server(), Door())
    with pytest.raises(CannotCall, match="cannot be reached") as refused:
        await telephony.start_call(attempt(), Book().urls, again=False)
    assert refused.value.retryable
    await telephony.close()


async def test_without_a_public_address_nothing_is_dialled() -> None:
    async with stage() as it:
        with pytest.raises(CannotCall, match="public_base_url"):
            await it.telephony.start_call(attempt(), Urls("http://127.0.0.1:4545"), again=False)
        assert it.twilio.calls == []


# -- nothing is dialled twice --------------------------------------------------------------------------------


async def test_a_dial_whose_answer_is_lost_is_found_again() -> None:
    async with stage() as it:
        it.twilio.faults = [Fault(0)]
        sid = await it.dial(attempt())
        assert [call.sid for call in it.twilio.calls] == [sid]
        assert it.telephony.counters["adopted"] + it.telephony.counters["dialled"] <= 1


async def test_after_a_crash_the_call_is_taken_up() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(rings=False)]
        sid = await it.dial(attempt())
        async with restarted(it.twilio.url) as after:
            started = await after.start_call(attempt(), it.book.urls, again=True)
            assert started.provider_call_id == sid
            assert after.counters["adopted"] == 1
        assert len(it.twilio.calls) == 1


async def test_after_a_crash_the_call_is_known_by_its_callbacks() -> None:
    async with stage() as it:
        one = it.book.add(attempt())
        it.twilio.faults = [Fault(503, 0, "down")]
        form = {"CallSid": "CA" + "1" * 32, "CallStatus": "in-progress"}
        await it.twilio.post(f"{PUBLIC}/voice?provider=twilio&callId={one.call_id}&attempt=1", form)
        started = await it.telephony.start_call(one, it.book.urls, again=True)
        assert started.provider_call_id == "CA" + "1" * 32
        assert it.twilio.calls == []


async def test_after_a_crash_a_call_that_is_over_is_lost() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script("busy")]
        await it.dial(attempt())
        await (await it.twilio.next_call()).done()
        async with restarted(it.twilio.url) as after:
            with pytest.raises(AttemptLost, match="busy"):
                await after.start_call(attempt(), it.book.urls, again=True)
        assert len(it.twilio.calls) == 1


async def test_after_a_crash_what_was_never_dialled_is_dialled() -> None:
    async with stage() as it:
        it.book.add(attempt())
        started = await it.telephony.start_call(attempt(), it.book.urls, again=True)
        assert [call.sid for call in it.twilio.calls] == [started.provider_call_id]


async def test_after_a_crash_the_call_of_another_attempt_is_not_taken_for_ours() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(rings=False), Script(rings=False)]
        first = await it.dial(attempt("first"))
        started = await it.telephony.start_call(attempt("second"), it.book.urls, again=True)
        assert started.provider_call_id != first


async def test_when_twilio_does_not_say_nothing_is_dialled() -> None:
    telephony = TwilioTelephony(settings("http://127.0.0.1:1"), Server(), Door())
    with pytest.raises(CannotCall, match="not known"):
        await telephony.start_call(attempt(), Book().urls, again=True)
    await telephony.close()


# -- hanging up ----------------------------------------------------------------------------------------------


async def test_hang_up_while_it_rings() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(rings=False)]
        one = attempt()
        sid = await it.dial(one)
        call = await it.twilio.next_call()
        await until(lambda: call.status == "ringing")
        await it.telephony.end_call(one, sid)
        await call.done()
        assert call.status == "canceled"
        assert it.book.statuses[-1] == "canceled"
        await it.telephony.end_call(one, sid)  # nothing is wrong


async def test_hang_up_while_people_talk() -> None:
    async with stage() as it:
        one = attempt()
        sid = await it.dial(one)
        call = await it.twilio.next_call()
        await call.streaming.wait()
        await it.telephony.end_call(one, sid)
        await call.done()
        assert call.status == "completed"


async def test_somebody_answers_just_as_we_cancel() -> None:
    async with stage() as it:
        one = attempt()
        sid = await it.dial(one)
        call = await it.twilio.next_call()
        await call.streaming.wait()
        async with restarted(it.twilio.url) as unaware:  # believes that it rings
            await unaware.end_call(one, sid)
        await call.done()
        assert call.status == "completed"


async def test_the_engine_closes_the_stream_and_the_call_ends() -> None:
    """Which is not left to Twilio."""
    async with stage() as it:
        it.twilio.scripts = [Script(lingers=True)]
        await it.dial(attempt())
        call = await it.twilio.next_call()
        await until(lambda: it.door.legs)
        it.door.legs[0].close(1000)
        await call.done()
        assert (call.closed_with, call.status) == (1000, "completed")
        assert it.book.statuses[-1] == "completed"
        assert it.door.legs[0].reasons == ["closed by us"]
        assert it.twilio.updates == [(call.sid, "completed")]


async def test_hung_up_before_it_was_dialled() -> None:
    async with stage() as it:
        one = it.book.add(attempt())
        await it.telephony.end_call(one, "")
        with pytest.raises(CannotCall, match="hung up") as refused:
            await it.telephony.start_call(one, it.book.urls, again=False)
        assert not refused.value.retryable
        assert it.twilio.calls == []


async def test_hung_up_while_twilio_has_not_told_the_id() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(rings=False)]
        it.twilio.holding = asyncio.Event()
        one = it.book.add(attempt(number=7))
        dialling = asyncio.create_task(it.telephony.start_call(one, Urls("http://127.0.0.1:4545", PUBLIC), again=False))
        call = await it.twilio.next_call()
        it.book.attempts.clear()  # its callbacks tell us nothing
        await it.telephony.end_call(one, "")
        it.twilio.holding.set()
        assert (await dialling).provider_call_id == call.sid
        await call.done()
        assert call.status == "canceled"


async def test_hanging_up_never_raises() -> None:
    telephony = TwilioTelephony(settings("http://127.0.0.1:1"), Server(), Door())
    await telephony.end_call(attempt(), "CA123")
    await telephony.close()


# -- after a restart -----------------------------------------------------------------------------------------


async def test_a_call_that_ended_meanwhile_is_reported() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script("busy")]
        sid = await it.dial(attempt())
        await (await it.twilio.next_call()).done()
        book = Book()
        async with restarted(it.twilio.url, book) as after:
            await after.watch_call(attempt(), sid)
            assert book.statuses == ["busy"]
            await after.watch_call(attempt(), sid)
            assert book.statuses == ["busy"]


async def test_a_call_that_goes_on_is_looked_after() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(rings=False)]
        sid = await it.dial(attempt())
        call = await it.twilio.next_call()
        await until(lambda: call.status == "ringing")
        book = Book()
        async with restarted(it.twilio.url, book) as after:
            await after.watch_call(attempt(), sid)
            assert book.statuses == []
            call.end("no-answer")
            await until(lambda: book.statuses)
            assert book.statuses == ["no_answer"]


async def test_a_call_that_twilio_does_not_know_has_failed() -> None:
    async with stage() as it:
        await it.telephony.watch_call(attempt(), "CA" + "0" * 32)
        assert it.book.statuses == ["failed"]


async def test_a_call_that_was_dialled_just_now_is_not_looked_at() -> None:
    async with stage() as it:
        it.twilio.scripts = [Script(rings=False)]
        one = attempt()
        sid = await it.dial(one)
        asked = it.book.statuses
        await it.telephony.watch_call(one, sid)
        assert it.book.statuses == asked
        assert not it.telephony._looking

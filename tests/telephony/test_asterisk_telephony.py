"""Asterisk as a telephone network: what causes mean, what may be dialled, and news that reach the store."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from ai_engine.ari.transport import AriSettings
from ai_engine.errors import AsteriskError
from ai_engine.jobs.dialing import Answered, DialOrder, Ended, Ringing
from ai_engine.jobs.ports import AttemptLost, CannotCall, RouteContext
from ai_engine.jobs.settings import AsteriskTelephony as Settings
from ai_engine.jobs.settings import Trunk
from ai_engine.jobs.status import HANDED_OVER, Progress, Status
from ai_engine.telephony import asterisk_news
from ai_engine.telephony.asterisk import AsteriskTelephony
from ai_engine.telephony.asterisk_causes import ended_of, progress_of
from tests.fakes.asterisk_exchange import NUMBER, URLS, Exchange, channel_id, new_attempt
from tests.fakes.fake_asterisk import FakeAsterisk
from tests.waiting import until

# -- what causes mean -----------------------------------------------------------------------------------------

NO, YES = False, True


@pytest.mark.parametrize(
    ("cause", "sip", "status", "reason", "retryable"),
    [
        (17, 486, Status.BUSY, "486 Busy Here", YES),
        (17, 600, Status.BUSY, "600 Busy Everywhere", YES),
        (17, 0, Status.BUSY, "said", YES),
        (21, 603, Status.BUSY, "rejected: 603 Decline", YES),
        (21, 401, Status.FAILED, "rejected: 401 Unauthorized", YES),
        (21, 403, Status.FAILED, "rejected: 403 Forbidden", YES),
        (21, 407, Status.FAILED, "rejected: 407 Proxy Authentication Required", YES),
        (21, 0, Status.FAILED, "rejected: said", YES),
        (19, 480, Status.NO_ANSWER, "480 Temporarily Unavailable", YES),
        (19, 483, Status.NO_ANSWER, "483 said", YES),
        (18, 408, Status.NO_ANSWER, "408 Request Timeout", YES),
        (19, 0, Status.NO_ANSWER, "said", YES),
        (1, 404, Status.FAILED, "no such number: 404 Not Found", NO),
        (1, 485, Status.FAILED, "no such number: 485 Ambiguous", NO),
        (1, 604, Status.FAILED, "no such number: 604 Does Not Exist Anywhere", NO),
        (28, 484, Status.FAILED, "no such number: 484 Address Incomplete", NO),
        (1, 0, Status.FAILED, "no such number: said", NO),
        (28, 0, Status.FAILED, "no such number: said", NO),
        (34, 503, Status.FAILED, "congestion: 503 Service Unavailable", YES),
        (41, 500, Status.FAILED, "congestion: 500 Server Internal Error", YES),
        (38, 0, Status.FAILED, "congestion: said", YES),
        (42, 0, Status.FAILED, "congestion: said", YES),
        (58, 488, Status.FAILED, "no codec in common: 488 Not Acceptable Here", NO),
        (58, 606, Status.FAILED, "no codec in common: 606 Not Acceptable", NO),
        (127, 421, Status.FAILED, "421 said", YES),
        (127, 0, Status.FAILED, "said", YES),
        # The SIP status is the truth where the cause was made up from it.
        (17, 404, Status.FAILED, "no such number: 404 Not Found", NO),
    ],
)
def test_what_the_far_end_says(cause: int, sip: int, status: Status, reason: str, retryable: bool) -> None:
    said = progress_of(Ended(cause, "said", sip, refused=True))
    assert said == Progress(status, reason=reason, retryable=retryable)


@pytest.mark.parametrize(
    ("ended", "status", "reason"),
    [
        (Ended(19, "", 480), Status.FAILED, "unreachable: no reply"),
        (Ended(18, "", 408), Status.FAILED, "unreachable: no reply"),
        (Ended(19, "", 480, rang=True), Status.NO_ANSWER, "it rang, and nobody answered"),
        (Ended(19, "", 480, rang=True, refused=True), Status.NO_ANSWER, "480 Temporarily Unavailable"),
        (Ended(16, "Normal Clearing", our_hangup=True), Status.CANCELED, "we hung up before anybody answered"),
        (Ended(17, "", 486, refused=True, our_hangup=True), Status.CANCELED, "we hung up before anybody answered"),
        (Ended(16, "Normal Clearing", rang=True), Status.FAILED, "Normal Clearing"),
        (Ended(16, answered=True), Status.COMPLETED, ""),
        (Ended(0, answered=True), Status.COMPLETED, ""),
        (Ended(0, answered=True, to_human=True), Status.COMPLETED, HANDED_OVER),
        (Ended(16, answered=True, our_hangup=True), Status.COMPLETED, ""),
        (Ended(), Status.FAILED, "lost: it ended while nobody could tell us how"),
        (Ended(rang=True), Status.FAILED, "lost: it ended while nobody could tell us how"),
    ],
)
def test_who_ended_it_and_when(ended: Ended, status: Status, reason: str) -> None:
    assert progress_of(ended) == Progress(status, reason=reason)


def test_a_machine_that_was_hung_up_on_did_not_answer() -> None:
    hung_up_on = Ended(16, our_hangup=True, answered_by="machine")
    talked_to = replace(hung_up_on, answered=True)
    assert progress_of(hung_up_on) == Progress(
        Status.NO_ANSWER, reason="an answering machine answered", answered_by="machine"
    )
    assert progress_of(talked_to) == Progress(Status.COMPLETED, answered_by="machine")


@pytest.mark.parametrize(
    ("payload", "ended"),
    [
        ({"cause": "17", "tech_cause": "486"}, Ended(17, "", 486, refused=True)),
        ({"cause": "17", "cause_txt": "User busy"}, Ended(17, "User busy", refused=True)),
        ({"cause": "16", "our_hangup": "true", "refused": "false"}, Ended(16, our_hangup=True)),
        ({"cause": "16", "answered": "true", "refused": ""}, Ended(16, answered=True)),
        ({"cause": "16", "answered_by": "machine", "refused": ""}, Ended(16, answered_by="machine")),
        ({}, None),
        ({"cause": "busy"}, None),
        ({"cause": "17", "tech_cause": "x"}, None),
        ({"cause": "\u0661"}, None),
    ],
)
def test_an_end_in_plain_words(payload: Mapping[str, str], ended: Ended | None) -> None:
    assert ended_of(payload) == ended
    telephony = AsteriskTelephony(Settings(), None, None)  # type: ignore[arg-type]
    assert telephony.map_status(payload) == (None if ended is None else progress_of(ended))


# -- over an Asterisk that does as it is told -----------------------------------------------------------------


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with FakeAsterisk() as fake:
        yield fake


def over(asterisk: FakeAsterisk, **trunk: object) -> Exchange:
    settings = {"dial": "PJSIP/{number}@trunk", "caller_id": "+1555", "headers": {"X-Job": "7"}, **trunk}
    return Exchange(AriSettings(asterisk.url, asterisk.username, asterisk.password), Trunk.model_validate(settings))


async def test_a_call_from_dial_to_goodbye(asterisk: FakeAsterisk) -> None:
    async with over(asterisk) as exchange:
        attempt = new_attempt()
        channel = await exchange.call(attempt)
        made = asterisk.channels[channel].variables
        assert made["endpoint"] == f"PJSIP/{NUMBER}@trunk"
        assert (made["CONNECTEDLINE(num,i)"], made["PJSIP_HEADER(add,X-Job)"]) == ("+1555", "7")
        asterisk.ring(channel)
        asterisk.pick_up_call(channel)
        control = await exchange.agent()
        assert control.assignment == attempt.assignment
        asterisk.hang_up(channel)
        assert await exchange.over() == Progress(Status.COMPLETED, channel)
        assert exchange.statuses == [Status.IN_PROGRESS, Status.COMPLETED]
        assert exchange.notes == ["ringing"]
        assert exchange.telephony._relays == {}
        counted = exchange.telephony.counters
        assert {name: count for name, count in counted.items() if count} == {
            "dialed": 1,
            "ringing": 1,
            "answered": 1,
            "ended": 1,
        }


@pytest.mark.parametrize(
    "number", ["1&PJSIP/evil", "1/2", "1@evil", "1,2", "+1 2", "1-2", "", "٣", "1\n2", "${SHELL(id)}", "1?x"]
)
async def test_nothing_but_a_number_gets_into_a_dial_string(asterisk: FakeAsterisk, number: str) -> None:
    async with over(asterisk) as exchange:
        with pytest.raises(CannotCall, match="cannot be dialled") as caught:
            await exchange.telephony.prepare_call(new_attempt(number))
        assert not caught.value.retryable
        assert asterisk.channels == {}


@pytest.mark.parametrize("number", ["+4930123", "*72#", "0"])
async def test_keys_of_a_telephone_may_be_dialled(asterisk: FakeAsterisk, number: str) -> None:
    async with over(asterisk) as exchange:
        channel = await exchange.telephony.prepare_call(new_attempt(number))
        assert asterisk.channels[channel].variables["endpoint"] == f"PJSIP/{number}@trunk"


async def test_only_sip_has_headers(asterisk: FakeAsterisk) -> None:
    async with over(asterisk, dial="Local/{number}@from-internal") as exchange:
        channel = await exchange.telephony.prepare_call(new_attempt())
        assert [name for name in asterisk.channels[channel].variables if "HEADER" in name] == []


async def test_a_trunk_that_is_not_configured(asterisk: FakeAsterisk) -> None:
    async with over(asterisk) as exchange:
        with pytest.raises(CannotCall, match="no trunk 'other'") as caught:
            await exchange.telephony.prepare_call(new_attempt(trunk="other"))
        assert not caught.value.retryable
        assert await exchange.telephony.prepare_call(new_attempt(trunk=""))


@pytest.mark.parametrize(("status", "retryable"), [(500, False), (400, False), (503, True)])
async def test_whether_a_refusal_of_asterisk_is_for_good(asterisk: FakeAsterisk, status: int, retryable: bool) -> None:
    asterisk.refuse("POST", "/create", status, "Allocation failed")
    async with over(asterisk) as exchange:
        with pytest.raises(CannotCall, match="Allocation failed") as caught:
            await exchange.telephony.prepare_call(new_attempt())
        assert caught.value.retryable is retryable


async def test_what_was_made_too_long_ago_is_made_anew(asterisk: FakeAsterisk) -> None:
    async with over(asterisk) as exchange:
        attempt = new_attempt()
        await exchange.telephony.prepare_call(attempt)
        asterisk.hang_up(channel_id(attempt))
        await until(lambda: exchange.app.dialer.calls == 0)
        await exchange.telephony.start_call(attempt, URLS, again=False)
        assert asterisk.channels[channel_id(attempt)].dialled == 1


async def test_what_may_have_been_dialled_and_is_gone_is_lost(asterisk: FakeAsterisk) -> None:
    async with over(asterisk) as exchange:
        with pytest.raises(AttemptLost):
            await exchange.telephony.start_call(new_attempt(), URLS, again=True)
        assert asterisk.channels == {}
        assert exchange.telephony._relays == {}


async def test_a_second_start_dials_nothing(asterisk: FakeAsterisk) -> None:
    async with over(asterisk) as exchange:
        attempt = new_attempt()
        await exchange.call(attempt)
        await exchange.telephony.start_call(attempt, URLS, again=True)
        assert asterisk.channels[channel_id(attempt)].dialled == 1
        asterisk.give_up(channel_id(attempt))
        await exchange.over()
        await until(lambda: exchange.telephony._relays == {})


async def test_an_end_that_comes_before_somebody_asks_is_told_once(asterisk: FakeAsterisk) -> None:
    async with over(asterisk) as exchange:
        attempt = new_attempt()
        await exchange.telephony.prepare_call(attempt)
        await exchange.telephony.start_call(attempt, URLS, again=False)
        asterisk.refuse_call(channel_id(attempt), 17, 486)
        await exchange.over()
        await exchange.telephony.watch_call(attempt, channel_id(attempt))
        await exchange.telephony.watch_call(attempt, channel_id(attempt))
        await until(lambda: len(exchange.reports) == 2)
        # The second question is that of a later engine: whatever it is told comes after the truth, and changes nothing.
        assert exchange.statuses == [Status.BUSY, Status.FAILED]


async def test_a_call_of_before_is_looked_for_until_asterisk_is_there(
    asterisk: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_engine.telephony.asterisk._FIRST_RETRY_SECONDS", 0.01)
    async with over(asterisk) as exchange:
        attempt = new_attempt()
        asterisk.enter(channel_id(attempt), told=False)
        asterisk.channels[channel_id(attempt)].state = "Ringing"
        asterisk.refuse("GET", channel_id(attempt), 503, times=3)
        await exchange.telephony.watch_call(attempt, channel_id(attempt))
        await exchange.noted("ringing")
        asterisk.give_up(channel_id(attempt))
        assert (await exchange.over()).reason == "it rang, and nobody answered"


async def test_hanging_up_never_raises(asterisk: FakeAsterisk) -> None:
    async with over(asterisk) as exchange:
        attempt = new_attempt()
        await exchange.telephony.end_call(attempt, "")
        asterisk.refuse("DELETE", channel_id(attempt), 500)
        with capture_logs() as logs:
            await exchange.telephony.end_call(attempt, channel_id(attempt))
        assert [entry["event"] for entry in logs] == ["a call could not be hung up"]


def test_what_nobody_asks_asterisk() -> None:
    telephony = AsteriskTelephony(Settings(), None, None)  # type: ignore[arg-type]
    assert telephony.id == "asterisk"
    assert telephony.build_voice_response(None, URLS) == ""  # type: ignore[arg-type]
    assert telephony.validate_request(None, "") is False  # type: ignore[arg-type]


# -- the way of the news --------------------------------------------------------------------------------------


class CallLoop:
    """A dialer on an event loop in a thread of its own, as the calls have one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.orders: list[DialOrder] = []
        self.threads: set[int] = set()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def create(self, *_: object) -> None:
        self.threads.add(threading.get_ident())

    async def dial(self, _: str, order: DialOrder) -> None:
        self.threads.add(threading.get_ident())
        self.orders.append(order)

    async def adopt(self, *_: object) -> None:
        raise AsteriskError("not asked for")

    async def hang_up(self, *_: object) -> None:
        self.threads.add(threading.get_ident())


async def test_news_cross_the_threads_in_order_and_a_store_that_fails_gets_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asterisk_news, "_FIRST_RETRY_SECONDS", 0.01)
    calls = CallLoop()
    kept: list[object] = []
    fails = [OSError("disk full"), RuntimeError("locked")]

    def keep(item: object) -> None:
        if len(kept) == 1 and fails:
            raise fails.pop()
        assert threading.get_ident() != office
        kept.append(item)

    office = threading.get_ident()
    telephony = AsteriskTelephony(Settings(trunks={"main": Trunk(dial="PJSIP/{number}@t")}), calls, calls.loop)
    context = RouteContext(
        lambda: URLS, lambda _: None, lambda _, __, news: keep(news.status), lambda _, kind, __: keep(kind)
    )
    telephony.register_routes(None, context)  # type: ignore[arg-type]
    attempt = new_attempt()
    await telephony.prepare_call(attempt)
    await telephony.start_call(attempt, URLS, again=False)
    await telephony.end_call(attempt, "")
    for news in (Ringing(), Answered("human"), Ended(16, answered=True)):
        calls.loop.call_soon_threadsafe(calls.orders[0].tell, news)
    await until(lambda: len(kept) == 3)
    assert kept == ["ringing", Status.IN_PROGRESS, Status.COMPLETED]
    assert telephony.counters["store_failures"] == 2
    assert calls.threads == {calls._thread.ident}
    calls.close()


async def test_an_end_that_comes_when_the_engine_stops_is_kept() -> None:
    """Those who talk then are handed to a human a moment before."""
    calls = CallLoop()
    kept: list[Progress] = []

    def keep(_: str, __: int, news: Progress) -> None:
        time.sleep(0.05)  # as a disk does
        kept.append(news)

    telephony = AsteriskTelephony(Settings(trunks={"main": Trunk(dial="PJSIP/{number}@t")}), calls, calls.loop)
    telephony.register_routes(None, RouteContext(lambda: URLS, lambda _: None, keep, lambda *_: None))  # type: ignore[arg-type]
    attempts = [new_attempt(), new_attempt()]
    for attempt in attempts:
        await telephony.start_call(attempt, URLS, again=False)
    calls.loop.call_soon_threadsafe(calls.orders[0].tell, Ended(answered=True, to_human=True))
    await telephony.close()
    assert [news.reason for news in kept] == [HANDED_OVER], "and the one that still rings is left to the next engine"
    assert telephony._relays == {}
    calls.close()


async def test_without_anybody_to_tell_nothing_is_dialled() -> None:
    calls = CallLoop()
    telephony = AsteriskTelephony(Settings(trunks={"main": Trunk(dial="PJSIP/{number}@t")}), calls, calls.loop)
    with pytest.raises(CannotCall, match="nobody is there to be told"):
        await telephony.start_call(new_attempt(), URLS, again=False)
    assert calls.orders == []
    calls.close()

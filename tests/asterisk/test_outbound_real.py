"""People are called over a real Asterisk, and answer, or not, with real SIP."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from ai_engine.ari import dialer, stasis
from ai_engine.ari.client import Ari
from ai_engine.ari.transport import AriSettings
from ai_engine.call.events import CallerHungUp
from ai_engine.errors import AsteriskError
from ai_engine.jobs.ports import Attempt, AttemptLost, CannotCall
from ai_engine.jobs.settings import Trunk
from ai_engine.jobs.status import HANDED_OVER, Progress, Status
from scripts.trial.asterisk import TEMPLATES, Trial
from scripts.trial.sip_peer import SipPeer
from tests.conftest import StartAsterisk
from tests.fakes.asterisk_exchange import NUMBER, URLS, Exchange, channel_id, new_attempt
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.phone]

MakePeer = Callable[..., Awaitable[SipPeer]]
MakeExchange = Callable[..., Awaitable[Exchange]]
OUR_NUMBER = "+15550100"


@pytest.fixture
async def telephone(tmp_path: Path) -> AsyncIterator[MakePeer]:
    async with AsyncExitStack() as stack:

        async def make(*behaviours: str) -> SipPeer:
            return await stack.enter_async_context(SipPeer(*behaviours, directory=tmp_path / f"peer-{behaviours[0]}"))

        yield make


def engine(trial: Trial, peer: SipPeer, *, answering_machine: bool = False) -> Exchange:
    trunk = Trunk(dial=peer.dial_string, caller_id=OUR_NUMBER, headers={"X-Campaign": 'spring; a=1, b="2"'})
    ari = AriSettings(trial.ari_url, trial.username, trial.password)
    return Exchange(ari, trunk, answering_machine=answering_machine)


async def channels(trial: Trial) -> list[str]:
    found = await asyncio.to_thread(trial.ari, "GET", "/channels")
    assert isinstance(found, list)
    return [channel["id"] for channel in found]


async def gone(trial: Trial, attempt: Attempt, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while channel_id(attempt) in await channels(trial):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


# -- what comes of a call -------------------------------------------------------------------------------------

OUTCOMES = {
    "busy": (Status.BUSY, "486 Busy Here", True),
    "reject": (Status.BUSY, "rejected: 603 Decline", True),
    "forbid": (Status.FAILED, "rejected: 403 Forbidden", True),
    "not_found": (Status.FAILED, "no such number: 404 Not Found", False),
    "unavailable": (Status.NO_ANSWER, "480 Temporarily Unavailable", True),
    "congestion": (Status.FAILED, "congestion: 503 Service Unavailable", True),
    "no_codec": (Status.FAILED, "no codec in common: 488 Not Acceptable Here", False),
    "ring": (Status.NO_ANSWER, "it rang, and nobody answered", True),
    "early": (Status.NO_ANSWER, "it rang, and nobody answered", True),
    "early_busy": (Status.BUSY, "486 Busy Here", True),
    "unreachable": (Status.FAILED, "unreachable: no reply", True),
}


@pytest.mark.parametrize("behaviour", OUTCOMES)
async def test_every_way_not_to_be_reached_is_told_apart(asterisk: Trial, telephone: MakePeer, behaviour: str) -> None:
    async with engine(asterisk, await telephone(behaviour)) as exchange:
        attempt = new_attempt(ring_seconds=1.0)
        await exchange.call(attempt)
        news = await exchange.over()
        status, reason, retryable = OUTCOMES[behaviour]
        assert news == Progress(status, channel_id(attempt), reason=reason, retryable=retryable)
        assert exchange.statuses == [status]
        assert exchange.calls.empty()
        assert exchange.app.dialer.calls == len(exchange.app._subscriptions) == 0


async def test_whoever_answers_gets_the_agent_with_its_assignment(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("answer")
    async with engine(asterisk, peer) as exchange:
        attempt = new_attempt()
        await exchange.call(attempt)
        control = await exchange.agent()
        assert (control.assignment, control.caller_number, control.dialled) == (attempt.assignment, NUMBER, OUR_NUMBER)
        assert (control.variables, control.orphan) == ({"agent": "reception"}, False)
        await until(lambda: exchange.statuses == [Status.IN_PROGRESS])
        assert exchange.notes == ["ringing"]
        await control.answer()
        await control.hang_up()
        assert [type(event) async for event in control.events()] == [CallerHungUp]
        assert await exchange.over() == Progress(Status.COMPLETED, channel_id(attempt))
        await control.close()
        assert len(exchange.app._subscriptions) == 0


async def test_the_callee_hangs_up_after_the_conversation(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("answer_bye")) as exchange:
        await exchange.call(new_attempt())
        control = await exchange.agent()
        assert [type(event) async for event in control.events()] == [CallerHungUp]
        assert (await exchange.over()).status is Status.COMPLETED
        await control.close()


async def test_caller_id_and_headers_arrive(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("busy")
    async with engine(asterisk, peer) as exchange:
        await exchange.call(new_attempt())
        await exchange.over()
    invite = peer.invites[0]
    assert invite.uri == f"sip:{NUMBER}@127.0.0.1:{peer.port}"
    assert f"<sip:{OUR_NUMBER}@" in invite.headers["from"]
    assert invite.headers["x-campaign"] == 'spring; a=1, b="2"'


async def test_early_media_starts_no_agent(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("early_answer")) as exchange:
        await exchange.call(new_attempt())
        await exchange.noted("early_media")
        began = time.monotonic()
        control = await exchange.agent()
        assert time.monotonic() - began > 0.7, "the sound began a second before the answer"
        assert await control._ari.variable(control.channel_id, "CHANNEL(state)") == "Up"
        await control.hang_up()
        await exchange.over()
        await control.close()


async def test_busy_at_first_and_answered_the_second_time(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("busy", "answer")
    async with engine(asterisk, peer) as exchange:
        await exchange.call(new_attempt())
        assert (await exchange.over()).status is Status.BUSY
        await exchange.call(new_attempt(number=2))
        control = await exchange.agent()
        await control.hang_up()
        await control.close()
        assert len(peer.invites) == 2
        await until(lambda: exchange.statuses == [Status.BUSY, Status.IN_PROGRESS, Status.COMPLETED])


async def test_a_trunk_that_does_not_exist_is_not_tried_again(asterisk: Trial) -> None:
    ari = AriSettings(asterisk.ari_url, asterisk.username, asterisk.password)
    async with Exchange(ari, Trunk(dial="PJSIP/nowhere/sip:{number}@127.0.0.1:9")) as exchange:
        with pytest.raises(CannotCall, match="cannot call PJSIP/nowhere.*Allocation failed") as caught:
            await exchange.telephony.prepare_call(new_attempt())
        assert not caught.value.retryable
        assert exchange.app.dialer.calls == 0


# -- through the dialplan of the PBX ---------------------------------------------------------------------------


@pytest.fixture
async def through_dialplan(asterisk: Trial, telephone: MakePeer) -> AsyncIterator[MakeExchange]:
    """An outbound route; what becomes of a call that does not come about is said by ``after``."""
    routes = asterisk.etc / "extensions.d" / "routes.conf"

    async def make(behaviour: str, after: str = "Hangup()") -> Exchange:
        peer = await telephone(behaviour)
        dialplan = (
            f"[routes]\nexten => _+X.,1,Dial(PJSIP/trunk/sip:${{EXTEN}}@127.0.0.1:{peer.port},30)\n same => n,{after}\n"
        )
        await asyncio.to_thread(routes.write_text, dialplan)
        await asyncio.to_thread(asterisk.cli, "dialplan reload")
        trunk = Trunk(dial="Local/{number}@routes", caller_id=OUR_NUMBER)
        return Exchange(AriSettings(asterisk.ari_url, asterisk.username, asterisk.password), trunk)

    yield make
    await asyncio.to_thread(routes.unlink, missing_ok=True)
    await asyncio.to_thread(asterisk.cli, "dialplan reload")


@pytest.mark.parametrize(
    ("behaviour", "status", "reason"),
    [
        ("busy", Status.BUSY, "User busy"),
        ("not_found", Status.FAILED, "no such number: Unallocated (unassigned) number"),
        ("ring", Status.NO_ANSWER, "it rang, and nobody answered"),
        ("unreachable", Status.FAILED, "unreachable: no reply"),
    ],
)
async def test_the_dialplan_hides_the_sip_status_and_the_outcomes_are_told_apart(
    through_dialplan: MakeExchange, behaviour: str, status: Status, reason: str
) -> None:
    async with await through_dialplan(behaviour) as exchange:
        await exchange.call(new_attempt(ring_seconds=1.0))
        news = await exchange.over()
        assert (news.status, news.reason) == (status, reason)


@pytest.mark.parametrize(
    ("tone", "status", "reason"),
    [
        ("Busy()", Status.BUSY, "the PBX plays the busy tone"),
        ("Congestion()", Status.FAILED, "congestion: the PBX plays the congestion tone"),
    ],
)
async def test_a_dialplan_that_plays_a_tone_is_not_listened_to(
    through_dialplan: MakeExchange, tone: str, status: Status, reason: str
) -> None:
    async with await through_dialplan("busy", tone) as exchange:
        await exchange.call(new_attempt(ring_seconds=30.0))
        news = await exchange.over(5.0)
        assert (news.status, news.reason) == (status, reason)


async def test_a_call_through_the_dialplan_keeps_its_channel(asterisk: Trial, through_dialplan: MakeExchange) -> None:
    async with await through_dialplan("answer") as exchange:
        controls = []
        for _ in range(2):
            await exchange.call(new_attempt())
            controls.append(await exchange.agent())
        ari = controls[0]._ari
        await ari.create_bridge("both")
        for control in controls:
            await ari.add_channel("both", control.channel_id)
        await asyncio.sleep(1.0)  # a Local channel that is bridged at both ends is often taken out of the call
        assert {control.channel_id for control in controls} <= set(await channels(asterisk))
        await ari.destroy_bridge("both")
        for control in controls:
            await control.hang_up()
            await control.close()
        await until(lambda: exchange.statuses.count(Status.COMPLETED) == 2)


# -- hanging up -----------------------------------------------------------------------------------------------


async def test_hanging_up_while_it_rings(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("ring")) as exchange:
        attempt = new_attempt()
        provider_call_id = await exchange.call(attempt)
        await exchange.noted("ringing")
        await exchange.telephony.end_call(attempt, provider_call_id)
        assert (await exchange.over()).status is Status.CANCELED
        assert await channels(asterisk) == []
        await exchange.telephony.end_call(attempt, provider_call_id)


async def test_a_call_that_goes_on_with_a_human_is_none_of_ours_any_more(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("answer")) as exchange:
        attempt = new_attempt()
        await exchange.call(attempt)
        control = await exchange.agent()
        await control.transfer("offhook", "human")
        assert await exchange.over() == Progress(Status.COMPLETED, channel_id(attempt), reason=HANDED_OVER)
        await control.close()
        assert await channels(asterisk) == [channel_id(attempt)]
        await exchange.telephony.end_call(attempt, "")
        await gone(asterisk, attempt)


# -- crashes --------------------------------------------------------------------------------------------------


async def crash_in(exchange: Exchange, attempt: Attempt, monkeypatch: pytest.MonkeyPatch, request: str) -> None:
    """The engine ends in the middle of ``start_call``, before a request of its reaches Asterisk."""
    reached = asyncio.Event()

    async def never(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    await exchange.telephony.prepare_call(attempt)
    with monkeypatch.context() as patch:
        patch.setattr(Ari, request, never)
        starting = asyncio.create_task(exchange.telephony.start_call(attempt, URLS, again=False))
        await reached.wait()
        starting.cancel()
        await asyncio.wait([starting])


async def test_a_crash_before_the_dial_is_followed_by_one_dial(
    asterisk: Trial, telephone: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await telephone("answer")
    async with engine(asterisk, peer) as first:
        attempt = new_attempt()
        await crash_in(first, attempt, monkeypatch, "set_variable")
    async with engine(asterisk, peer) as second:
        await second.telephony.start_call(attempt, URLS, again=True)
        control = await second.agent()
        await control.hang_up()
        assert (await second.over()).status is Status.COMPLETED
        await control.close()
    assert len(peer.invites) == 1


async def test_a_crash_in_the_dial_is_followed_by_none(
    asterisk: Trial, telephone: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_DEAD_ENGINE_SECONDS", 1)
    peer = await telephone("answer")
    async with engine(asterisk, peer) as first:
        attempt = new_attempt(ring_seconds=1.0)
        await crash_in(first, attempt, monkeypatch, "dial")
    async with engine(asterisk, peer) as second:
        await second.telephony.start_call(attempt, URLS, again=True)
        assert await second.over() == Progress(Status.FAILED, channel_id(attempt), reason="unreachable: no reply")
    assert peer.invites == []


async def test_a_crash_after_the_dial_is_followed_by_no_other(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("slow_answer")
    async with engine(asterisk, peer) as first:
        attempt = new_attempt()
        await first.telephony.prepare_call(attempt)
        await first.telephony.start_call(attempt, URLS, again=False)
        await first.noted("ringing")
    async with engine(asterisk, peer) as second:
        await second.telephony.prepare_call(attempt)
        await second.telephony.start_call(attempt, URLS, again=True)
        control = await second.agent()
        assert not control.orphan
        assert control.assignment == attempt.assignment
        await control.hang_up()
        assert (await second.over()).status is Status.COMPLETED
        await control.close()
        assert second.notes == ["ringing"]
    assert len(peer.invites) == 1


async def test_what_rings_over_a_restart_is_watched_until_it_ends(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("ring")
    async with engine(asterisk, peer) as first:
        attempt = new_attempt(ring_seconds=2.0)
        await first.call(attempt)
        await first.noted("ringing")
    async with engine(asterisk, peer) as second:
        await second.telephony.watch_call(attempt, channel_id(attempt))
        assert (await second.over()).reason == "it rang, and nobody answered"
        assert second.calls.empty()


async def test_whoever_answered_without_an_engine_gets_an_agent_late(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("answer")
    async with engine(asterisk, peer) as first:
        attempt = new_attempt()
        await first.call(attempt)
        await first.agent()
    async with engine(asterisk, peer) as second:
        await second.telephony.watch_call(attempt, channel_id(attempt))
        control = await second.agent()
        assert control.orphan
        assert control.assignment == attempt.assignment
        await control.hang_up()
        assert (await second.over()).status is Status.COMPLETED
        await control.close()
        assert second.app.orphans == 0


async def test_what_ended_without_an_engine_is_reported_lost(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("ring")
    async with engine(asterisk, peer) as first:
        attempt = new_attempt(ring_seconds=1.0)
        await first.call(attempt)
    await gone(asterisk, attempt)
    async with engine(asterisk, peer) as second:
        with pytest.raises(AttemptLost):
            await second.telephony.start_call(attempt, URLS, again=True)
        await second.telephony.watch_call(attempt, channel_id(attempt))
        news = await second.over()
        assert (news.status, news.retryable) == (Status.FAILED, True)
        assert news.reason.startswith("lost")
        assert second.app.dialer.calls == len(second.app._subscriptions) == 0


async def test_what_nobody_takes_up_is_hung_up_and_offered_to_nobody(
    asterisk: Trial, telephone: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_ADOPT_SECONDS", 0.5)
    peer = await telephone("answer")
    async with engine(asterisk, peer) as first:
        attempt = new_attempt()
        await first.call(attempt)
        await first.agent()
    async with engine(asterisk, peer) as second:
        assert await channels(asterisk) == [channel_id(attempt)]
        await until(lambda: second.app.dialer.reaped == 1)
        await gone(asterisk, attempt)
        assert second.calls.empty()


async def test_a_call_whose_engine_died_ends_by_itself(
    asterisk: Trial, telephone: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_DEAD_ENGINE_SECONDS", 1)
    async with engine(asterisk, await telephone("answer")) as first:
        attempt = new_attempt(ring_seconds=1.0)
        await first.call(attempt)
        await first.agent()
    await gone(asterisk, attempt, 5.0)


# -- the connection to Asterisk is lost for a while -----------------------------------------------------------


async def lose_connection(exchange: Exchange) -> None:
    socket = exchange.app._socket
    assert socket is not None
    transport = socket.get_extra_info("socket")
    transport.shutdown(2)
    await until(lambda: not exchange.app.connected)


@pytest.mark.parametrize(
    ("behaviour", "statuses"),
    [("answer", [Status.IN_PROGRESS]), ("early_busy", [Status.FAILED]), ("slow_answer", [Status.IN_PROGRESS])],
)
async def test_what_happened_during_an_outage_is_found_out(
    asterisk: Trial, telephone: MakePeer, monkeypatch: pytest.MonkeyPatch, behaviour: str, statuses: list[Status]
) -> None:
    """Answered meanwhile, over meanwhile, and still ringing."""
    monkeypatch.setattr(stasis, "retry_seconds", lambda *_: 1.0)
    peer = await telephone(behaviour)
    async with engine(asterisk, peer) as exchange:
        attempt = new_attempt()
        await exchange.call(attempt)
        await lose_connection(exchange)
        await until(lambda: exchange.statuses == statuses)
        if statuses == [Status.IN_PROGRESS]:
            control = await exchange.agent()
            await control.hang_up()
            await until(lambda: exchange.statuses == [*statuses, Status.COMPLETED])
            await control.close()
        assert exchange.app.dialer.calls == 0
        assert exchange.app.reconnects == 1
        assert len(peer.invites) == 1


async def test_who_is_to_be_hung_up_during_an_outage_is_hung_up_after_it(
    asterisk: Trial, telephone: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stasis, "retry_seconds", lambda *_: 0.5)
    async with engine(asterisk, await telephone("ring")) as exchange:
        attempt = new_attempt()
        await exchange.call(attempt)
        await exchange.noted("ringing")
        await lose_connection(exchange)
        await exchange.telephony.end_call(attempt, channel_id(attempt))
        assert (await exchange.over()).status is Status.CANCELED
        await gone(asterisk, attempt)


# -- answering machines ---------------------------------------------------------------------------------------


async def test_a_person_is_told_from_a_machine(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("human"), answering_machine=True) as exchange:
        await exchange.call(new_attempt(message="Please call back."))
        control = await exchange.agent(10.0)
        assert control.assignment is not None
        assert not control.assignment.machine
        await until(lambda: exchange.reports == [Progress(Status.IN_PROGRESS, control.channel_id, answered_by="human")])
        await control.hang_up()
        assert await exchange.over() == Progress(Status.COMPLETED, control.channel_id, answered_by="human")
        await control.close()


async def test_a_machine_is_hung_up_on_and_called_again(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("voicemail"), answering_machine=True) as exchange:
        attempt = new_attempt()
        await exchange.call(attempt)
        news = await exchange.over(30.0)
        assert news == Progress(
            Status.NO_ANSWER, channel_id(attempt), reason="an answering machine answered", answered_by="machine"
        )
        assert exchange.statuses == [Status.NO_ANSWER]
        assert exchange.calls.empty()
        await gone(asterisk, attempt)


async def test_a_message_is_left_after_the_beep(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("voicemail")
    async with engine(asterisk, peer, answering_machine=True) as exchange:
        await exchange.call(new_attempt(message="Please call back."))
        await exchange.noted("ringing")
        began = time.monotonic()
        control = await exchange.agent(30.0)
        assert time.monotonic() - began > peer.beep_seconds, "the machine still spoke"
        assert control.assignment is not None
        assert control.assignment.machine
        assert not control.orphan
        await control.hang_up()
        news = await exchange.over()
        assert (news.status, news.answered_by) == (Status.COMPLETED, "machine")
        await control.close()


async def test_somebody_who_says_nothing_gets_the_agent(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("answer"), answering_machine=True) as exchange:
        await exchange.call(new_attempt())
        control = await exchange.agent(10.0)
        await until(lambda: exchange.reports == [Progress(Status.IN_PROGRESS, control.channel_id)])
        await control.hang_up()
        await exchange.over()
        await control.close()


async def test_a_screening_outlives_the_engine(asterisk: Trial, telephone: MakePeer) -> None:
    peer = await telephone("human")
    async with engine(asterisk, peer, answering_machine=True) as first:
        attempt = new_attempt()
        await first.call(attempt)
        await until(partial(screened, asterisk, attempt))
    async with engine(asterisk, peer, answering_machine=True) as second:
        await second.telephony.watch_call(attempt, channel_id(attempt))
        control = await second.agent(10.0)
        await until(lambda: second.reports == [Progress(Status.IN_PROGRESS, control.channel_id, answered_by="human")])
        await control.hang_up()
        await second.over()
        await control.close()


def screened(trial: Trial, attempt: Attempt) -> bool:
    shown = trial.cli("core show channels concise")
    return "!AMD!" in shown


async def test_without_a_place_in_the_dialplan_it_goes_on_without(
    start_asterisk: StartAsterisk, telephone: MakePeer
) -> None:
    dialplan = (TEMPLATES / "extensions.conf").read_text(encoding="utf-8").replace("[offhook-amd]", "[elsewhere]")
    trial = await asyncio.to_thread(start_asterisk, "no-amd", {"extensions.conf": dialplan})
    async with engine(trial, await telephone("answer"), answering_machine=True) as exchange:
        await exchange.call(new_attempt())
        control = await exchange.agent()
        await until(lambda: exchange.reports == [Progress(Status.IN_PROGRESS, control.channel_id)])
        await control.hang_up()
        await exchange.over()
        await control.close()


async def test_a_channel_that_is_there_is_no_error(asterisk: Trial, telephone: MakePeer) -> None:
    async with engine(asterisk, await telephone("answer")) as exchange:
        attempt = new_attempt()
        first = await exchange.telephony.prepare_call(attempt)
        assert await exchange.telephony.prepare_call(attempt) == first
        assert await channels(asterisk) == [first]
        await exchange.telephony.end_call(attempt, first)
        await gone(asterisk, attempt)
        with pytest.raises(AsteriskError, match="404"):
            await exchange.app.dialer.dial(
                first, exchange.telephony._order(attempt, exchange.telephony._relay(attempt))
            )

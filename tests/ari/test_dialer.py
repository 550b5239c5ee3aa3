"""People are called once, and handed over once, whatever Asterisk does in which moment."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from ai_engine.ari import dialer
from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.errors import AsteriskError
from ai_engine.jobs.dialing import Answered, DialNews, DialOrder, EarlyMedia, Ended, Ringing
from ai_engine.jobs.ports import Assignment
from tests.fakes.fake_asterisk import FakeAsterisk, Recorded
from tests.waiting import until

ID = "offhook-out-job-1"
PATH = f"/ari/channels/{ID}"
PLACE = "DIALPLAN_EXISTS(offhook-amd,s,1)"
HUMAN = ("amd=HUMAN", "amd_cause=HUMAN-800-800")
MACHINE = ("amd=MACHINE", "amd_cause=LONGGREETING-1500-1500")


class Engine:
    """An application whose dialer calls one number."""

    def __init__(self, asterisk: FakeAsterisk, request_seconds: float = 5.0) -> None:
        self.asterisk = asterisk
        self.news: list[DialNews] = []
        self.calls: list[AriCallControl] = []
        settings = AriSettings(asterisk.url, asterisk.username, asterisk.password, request_seconds=request_seconds)
        self.app = AriApp(settings, self.calls.append)
        self.dialer = self.app.dialer
        self.running = asyncio.create_task(self.app.run())

    async def create(self) -> None:
        await self.dialer.create(ID, "PJSIP/1@trunk", "+49301", "+1555", {"X-Job": "7"})

    def order(self, *, screened: bool = False, message: str = "") -> DialOrder:
        assignment = Assignment("job", 1, "reception", message=message)
        context = "offhook-amd" if screened else ""
        return DialOrder(assignment, "+49301", "+1555", 20.0, self.news.append, context)

    async def dial(self, *, screened: bool = False, message: str = "") -> None:
        await self.create()
        if screened:
            self.asterisk.modules.add("app_amd.so")
            self.asterisk.channels[ID].variables[PLACE] = "1"
        await self.dialer.dial(ID, self.order(screened=screened, message=message))

    async def told(self, *news: DialNews) -> None:
        await until(lambda: self.news == list(news), 3.0)

    async def end(self) -> None:
        await self.app.close()
        await self.running


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with FakeAsterisk() as fake:
        yield fake


@pytest.fixture
async def engine(asterisk: FakeAsterisk) -> AsyncIterator[Engine]:
    started = Engine(asterisk)
    await until(lambda: started.app.connected and not started.app._errands)
    yield started
    await started.end()


# -- placing a call -------------------------------------------------------------------------------------------


async def test_what_asterisk_is_asked_for_and_in_which_order(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    made = asterisk.channels[ID].variables
    assert (made["endpoint"], made["app"], made["OFFHOOK_APP"]) == ("PJSIP/1@trunk", asterisk.app, asterisk.app)
    assert (made["CALLERID(num)"], made["CONNECTEDLINE(num,i)"]) == ("+49301", "+1555")
    assert made["PJSIP_HEADER(add,X-Job)"] == "7"
    asked = [seen for seen in asterisk.requests if seen.path.startswith(PATH) and seen.method == "POST"]
    assert [(seen.path.removeprefix(PATH), seen.query) for seen in asked] == [
        ("/variable", {"variable": "TIMEOUT(absolute)", "value": "35"}),
        ("/variable", {"variable": "OFFHOOK_DIALLED", "value": "1"}),
        ("/dial", {"timeout": "20"}),
    ]


async def test_nothing_is_dialled_twice(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    await engine.create()
    await engine.dialer.dial(ID, engine.order())
    await engine.dialer.adopt(ID, engine.order())
    assert asterisk.channels[ID].dialled == 1
    assert asterisk.paths("POST").count("/ari/channels/create") == 1


async def test_two_who_want_to_dial_at_the_same_moment(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.create()
    await asyncio.gather(*(engine.dialer.dial(ID, engine.order()) for _ in range(2)))
    assert asterisk.channels[ID].dialled == 1


async def test_a_channel_that_appears_in_the_meantime_is_no_error(asterisk: FakeAsterisk, engine: Engine) -> None:
    async def made_by_somebody(seen: Recorded) -> None:
        if seen.path == "/ari/channels/create":
            asterisk.enter(ID)

    asterisk.before_answering = made_by_somebody
    await engine.create()
    assert engine.dialer.calls == 1


async def test_an_endpoint_that_does_not_exist(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.refuse("POST", "/channels/create", 500, "Allocation failed")
    with pytest.raises(AsteriskError, match="Allocation failed") as caught:
        await engine.create()
    assert caught.value.status == 500
    assert engine.dialer.calls == len(engine.app._subscriptions) == 0


async def test_what_is_gone_is_not_dialled(engine: Engine) -> None:
    with pytest.raises(AsteriskError) as caught:
        await engine.dialer.dial(ID, engine.order())
    assert caught.value.status == 404
    assert engine.dialer.calls == len(engine.app._subscriptions) == 0


async def test_a_dial_that_is_refused_leaves_nothing(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.refuse("POST", "/dial", 409, "not in a state to be dialled")
    with pytest.raises(AsteriskError, match="not in a state"):
        await engine.dial()
    assert ID not in asterisk.channels
    assert engine.dialer.calls == 0


async def test_a_dial_without_an_answer_may_have_been_one(asterisk: FakeAsterisk) -> None:
    engine = Engine(asterisk, request_seconds=0.2)
    await until(lambda: engine.app.connected)
    await engine.create()

    async def slow(seen: Recorded) -> None:
        if seen.path.endswith("/dial"):
            asterisk.channels[ID].dialled = 1
            await asyncio.sleep(0.5)

    asterisk.before_answering = slow
    await engine.dialer.dial(ID, engine.order())
    asterisk.before_answering = None
    asterisk.refuse_call(ID, 17, 486)
    await engine.told(Ended(17, "as Q.850 has it", 486, refused=True))
    await engine.end()


async def test_without_asterisk_nothing_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "_CONNECT_SECONDS", 0.05)
    app = AriApp(AriSettings(), lambda _: None)
    with pytest.raises(AsteriskError, match="not connected"):
        await app.dialer.create(ID, "PJSIP/1@trunk", "1", "", {})


async def test_an_answer_that_beats_the_reply_to_the_request(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.create()

    async def quick(seen: Recorded) -> None:
        if seen.path.endswith("/dial"):
            asterisk.ring(ID)
            asterisk.pick_up_call(ID)

    asterisk.before_answering = quick
    await engine.dialer.dial(ID, engine.order())
    await engine.told(Ringing(), Answered())
    assert len(engine.calls) == 1


# -- handing over ---------------------------------------------------------------------------------------------


async def test_early_media_is_told_and_starts_no_agent(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    asterisk.dial(ID, "PROGRESS")
    await engine.told(EarlyMedia())
    assert engine.calls == []
    asterisk.pick_up_call(ID)
    await engine.told(EarlyMedia(), Answered())
    assert [call.channel_id for call in engine.calls] == [ID]


async def test_the_agent_and_the_dialer_both_hear_of_the_end(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    asterisk.pick_up_call(ID)
    await engine.told(Answered())
    asterisk.press(ID, "5")
    asterisk.hang_up(ID)
    await engine.told(Answered(), Ended(16, answered=True))
    heard = [type(event).__name__ async for event in engine.calls[0].events()]
    assert heard == ["DigitReceived", "CallerHungUp"]
    await engine.calls[0].close()
    assert len(engine.app._subscriptions) == 0


async def test_an_agent_that_cannot_be_made_costs_this_call_only(asterisk: FakeAsterisk) -> None:
    def fail(_: AriCallControl) -> None:
        raise RuntimeError("no agent today")

    engine = Engine(asterisk)
    engine.app._on_call = fail
    await until(lambda: engine.app.connected)
    with capture_logs() as logs:
        await engine.dial()
        asterisk.pick_up_call(ID)
        await until(lambda: any(entry["event"] == "a call could not be taken up" for entry in logs))
    assert engine.app.connected
    await engine.dialer.hang_up(ID)
    await until(lambda: isinstance(engine.news[-1], Ended))
    await engine.end()


async def test_an_older_asterisk_does_not_tell_the_sip_status(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    asterisk.hang_up(ID, 17)
    await engine.told(Ended(17, refused=True))


async def test_hanging_up_what_is_over_is_fine(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    await engine.dialer.hang_up(ID)
    await engine.told(Ended(16, our_hangup=True))
    await engine.dialer.hang_up(ID)
    asterisk.refuse("DELETE", ID, 500, "no")
    with pytest.raises(AsteriskError, match="no"):
        await engine.dialer.hang_up(ID)


# -- a person or a machine? -----------------------------------------------------------------------------------


async def test_a_person_is_handed_over_when_the_dialplan_has_told(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial(screened=True)
    asterisk.pick_up_call(ID)
    await asterisk.wait_until(lambda: not asterisk.channels[ID].stasis)
    continued = next(seen for seen in asterisk.requests if seen.path.endswith("/continue"))
    assert continued.query == {"context": "offhook-amd", "extension": "s", "priority": "1"}
    assert asterisk.channels[ID].variables["TIMEOUT(absolute)"] == "90"
    assert "OFFHOOK_MESSAGE" not in asterisk.channels[ID].variables
    assert engine.news == []
    asterisk.come_back(ID, *HUMAN)
    await engine.told(Answered("human"))
    assert [call.assignment and call.assignment.machine for call in engine.calls] == [False]


async def test_a_machine_gets_its_message(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial(screened=True, message="Call us back.")
    asterisk.pick_up_call(ID)
    await asterisk.wait_until(lambda: not asterisk.channels[ID].stasis)
    assert asterisk.channels[ID].variables["OFFHOOK_MESSAGE"] == "1"
    asterisk.come_back(ID, *MACHINE)
    await engine.told(Answered("machine"))
    assert [call.assignment and call.assignment.machine for call in engine.calls] == [True]
    asterisk.hang_up(ID)
    await engine.told(Answered("machine"), Ended(16, answered=True, answered_by="machine"))


async def test_a_machine_without_a_message_is_hung_up_on(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial(screened=True)
    asterisk.pick_up_call(ID)
    await asterisk.wait_until(lambda: not asterisk.channels[ID].stasis)
    asterisk.come_back(ID, *MACHINE)
    await engine.told(Ended(16, our_hangup=True, answered_by="machine"))
    assert engine.calls == []


@pytest.mark.parametrize(
    "args", [("amd=NOTSURE", "amd_cause=TOOLONG-5000"), ("amd=MACHINE", "amd_cause=INITIALSILENCE-2500-2500")]
)
async def test_where_nobody_can_tell_the_agent_talks(
    asterisk: FakeAsterisk, engine: Engine, args: tuple[str, ...]
) -> None:
    await engine.dial(screened=True)
    asterisk.pick_up_call(ID)
    await asterisk.wait_until(lambda: not asterisk.channels[ID].stasis)
    asterisk.come_back(ID, *args)
    await engine.told(Answered())


async def test_who_hangs_up_while_the_dialplan_listens_has_answered(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial(screened=True)
    asterisk.pick_up_call(ID)
    await asterisk.wait_until(lambda: not asterisk.channels[ID].stasis)
    asterisk.hang_up(ID)
    await engine.told(Ended(16, answered=True))
    assert engine.calls == []


@pytest.mark.parametrize("lack", ["module", "context"])
async def test_an_asterisk_that_cannot_tell_is_complained_about_once(
    asterisk: FakeAsterisk, engine: Engine, lack: str
) -> None:
    if lack == "context":
        asterisk.modules.add("app_amd.so")
    with capture_logs() as logs:
        for _ in range(2):
            engine.news.clear()
            await engine.create()
            asterisk.channels[ID].variables[PLACE] = "0"
            await engine.dialer.dial(ID, engine.order(screened=True))
            asterisk.pick_up_call(ID)
            await engine.told(Answered())
            asterisk.hang_up(ID)
            await engine.told(Answered(), Ended(16, answered=True))
    complaints = [entry for entry in logs if entry["log_level"] == "error"]
    assert len(complaints) == 1
    assert {"module": "app_amd.so", "context": "a context offhook-amd"}[lack] in complaints[0]["lacks"]


async def test_a_dialplan_that_refuses_the_call_does_not_keep_it_from_the_agent(
    asterisk: FakeAsterisk, engine: Engine
) -> None:
    asterisk.refuse("POST", "/continue", 400)
    await engine.dial(screened=True)
    asterisk.pick_up_call(ID)
    await engine.told(Answered())


# -- restarts and outages -------------------------------------------------------------------------------------


async def test_a_call_of_an_earlier_engine_is_offered_to_nobody_and_ends(
    asterisk: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_ADOPT_SECONDS", 0.5)
    asterisk.enter(ID, told=False)
    asterisk.enter("ordinary", told=False)
    engine = Engine(asterisk)
    await asterisk.wait_until(lambda: ID not in asterisk.channels)
    await until(lambda: [call.channel_id for call in engine.calls] == ["ordinary"])
    assert engine.dialer.reaped == 1
    await engine.end()


async def test_one_that_comes_back_from_the_dialplan_to_nobody_ends_too(
    asterisk: FakeAsterisk, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_ADOPT_SECONDS", 0.05)
    asterisk.enter(ID, *HUMAN)
    await asterisk.wait_until(lambda: ID not in asterisk.channels)
    assert (engine.calls, engine.dialer.reaped) == ([], 1)


async def test_one_that_is_taken_up_in_time_lives(asterisk: FakeAsterisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "_ADOPT_SECONDS", 0.5)
    asterisk.enter(ID, told=False)
    asterisk.channels[ID].state = "Up"
    engine = Engine(asterisk)
    # Its place among those that nobody has taken up is known by the time the other one is offered.
    asterisk.enter("ordinary", told=False)
    await until(lambda: engine.calls)
    engine.calls.clear()
    await engine.dialer.adopt(ID, engine.order())
    await engine.told(Answered())
    await until(lambda: not engine.dialer._errands)
    assert ID in asterisk.channels
    assert engine.calls[0].orphan
    await engine.end()


async def test_one_that_is_gone_has_ended(engine: Engine) -> None:
    await engine.dialer.adopt(ID, engine.order())
    assert engine.news == [Ended()]
    assert engine.dialer.calls == 0


async def test_an_adoption_that_fails_can_be_tried_again(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter(ID, told=False)
    asterisk.channels[ID].state = "Ringing"
    asterisk.refuse("GET", ID, 500)
    with pytest.raises(AsteriskError):
        await engine.dialer.adopt(ID, engine.order())
    await engine.dialer.adopt(ID, engine.order())
    assert engine.news == [Ringing()]


async def test_an_outage_hides_nothing_for_good(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    asterisk.abort()
    asterisk.pick_up_call(ID, told=False)
    await engine.told(Answered())
    asterisk.abort()
    asterisk.hang_up(ID, told=False)
    await engine.told(Answered(), Ended(answered=True))
    assert engine.app.orphans == engine.dialer.reaped == 0


async def test_a_screening_that_ends_in_an_outage(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial(screened=True)
    asterisk.pick_up_call(ID)
    await asterisk.wait_until(lambda: not asterisk.channels[ID].stasis)
    asterisk.channels[ID].application = "AMD"
    asterisk.abort()
    await until(lambda: engine.app.reconnects == 1)
    await asterisk.wait_until(lambda: asterisk.paths("GET").count(PATH) >= 3)
    assert engine.news == []
    asterisk.abort()
    asterisk.come_back(ID, *HUMAN, told=False)
    await engine.told(Answered("human"))
    assert len(engine.calls) == 1


async def test_who_was_to_be_hung_up_in_a_long_outage_is_hung_up_after_it(
    asterisk: FakeAsterisk, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "_CONNECT_SECONDS", 0.05)
    await engine.dial()
    asterisk.ring(ID)
    await engine.told(Ringing())
    asterisk.refuse("GET", "/events", 503, times=3)
    asterisk.abort()
    await until(lambda: not engine.app.connected)
    with pytest.raises(AsteriskError, match="not connected"):
        await engine.dialer.hang_up(ID)
    await engine.told(Ringing(), Ended(16, rang=True, our_hangup=True))


async def test_a_restart_of_asterisk_ends_what_rings(asterisk: FakeAsterisk, engine: Engine) -> None:
    await engine.dial()
    asterisk.ring(ID)
    await engine.told(Ringing())
    await asterisk.restart()
    await engine.told(Ringing(), Ended(rang=True))

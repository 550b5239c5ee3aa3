"""A human is called beside a caller, and meets them or is let go, against an Asterisk that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

import pytest

from ai_engine.ari import consult_leg
from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.consult_leg import AriConsultLeg
from ai_engine.ari.media_leg import CONSULT_PREFIX
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.errors import AsteriskError
from ai_engine.session.ports import ConsultLeg, Outcome
from tests.fakes.fake_asterisk import FakeAsterisk

PLACE = "DIALPLAN_EXISTS(offhook-attended,join,1)"


@dataclass
class Scene:
    """A caller in the application, and a human who may be called."""

    asterisk: FakeAsterisk
    control: AriCallControl
    leg: ConsultLeg

    @property
    def leg_id(self) -> str:
        assert isinstance(self.leg, AriConsultLeg)
        return self.leg.channel_id

    async def rings(self, seconds: float = 3.0) -> Awaitable[Outcome | None]:
        """The outcome to come, once the telephone rings."""
        ringing = asyncio.create_task(self.leg.ring("office", "2000", seconds))
        await self.asterisk.wait_until(lambda: self.leg_id in self.asterisk.channels)
        return ringing

    async def answers(self) -> None:
        ringing = await self.rings()
        self.asterisk.pick_up(self.leg_id)
        assert await ringing is None


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    calls: asyncio.Queue[AriCallControl] = asyncio.Queue()
    async with FakeAsterisk() as asterisk:
        app = AriApp(AriSettings(asterisk.url, asterisk.username, asterisk.password), calls.put_nowait)
        running = asyncio.create_task(app.run())
        await asterisk.wait_until(lambda: asterisk.listeners == 1)
        asterisk.enter("caller", "agent=reception")
        asterisk.channels["caller"].variables[PLACE] = "1"
        async with asyncio.timeout(3):
            control = await calls.get()
        yield Scene(asterisk, control, control.consult_leg())
        await app.close()
        await running


async def test_who_is_called_and_as_whom(scene: Scene) -> None:
    await scene.answers()
    asked = scene.asterisk.channels[scene.leg_id].variables
    assert (asked["endpoint"], asked["callerId"], asked["originator"]) == ("Local/2000@office", "1000", "caller")
    assert asked["timeout"] == "8", "Asterisk gives up by itself where we no longer can"
    assert not asked["otherChannelId"].startswith(scene.leg_id), "Bridge() would take the wrong half"


@pytest.mark.parametrize(
    ("status", "cause", "outcome"),
    [
        ("BUSY", 0, Outcome.BUSY),
        ("NOANSWER", 17, Outcome.BUSY),
        ("NOANSWER", 21, Outcome.DECLINED),
        ("NOANSWER", 19, Outcome.NO_ANSWER),
        ("RINGING", 16, Outcome.NO_ANSWER),
    ],
)
async def test_who_does_not_answer(scene: Scene, status: str, cause: int, outcome: Outcome) -> None:
    ringing = await scene.rings()
    scene.asterisk.dial(scene.leg_id, status)
    scene.asterisk.hang_up(scene.leg_id, cause)
    assert await ringing is outcome


async def test_who_cannot_be_called(scene: Scene) -> None:
    ringing = await scene.rings()
    scene.asterisk.hang_up(scene.leg_id, 0)
    with pytest.raises(AsteriskError, match="2000@office could not be called"):
        await ringing


async def test_who_lets_it_ring(scene: Scene) -> None:
    ringing = await scene.rings(0.05)
    assert await ringing is Outcome.NO_ANSWER
    await scene.leg.hang_up()
    assert scene.leg_id not in scene.asterisk.channels
    await scene.leg.hang_up()
    assert scene.asterisk.paths("DELETE").count(f"/ari/channels/{scene.leg_id}") == 1


async def test_without_a_meeting_place_nobody_is_called(scene: Scene) -> None:
    scene.asterisk.channels["caller"].variables[PLACE] = "0"
    with pytest.raises(AsteriskError, match="the dialplan has no join in context offhook-attended"):
        await scene.leg.ring("office", "2000", 3.0)
    assert scene.leg_id not in scene.asterisk.channels


async def test_an_asterisk_that_cannot_tell_of_a_meeting_place(scene: Scene) -> None:
    scene.asterisk.refuse("GET", "/variable", 500)
    with pytest.raises(AsteriskError, match="load func_dialplan.so"):
        await scene.leg.ring("office", "2000", 3.0)


async def test_keys_and_the_end_of_them(scene: Scene) -> None:
    await scene.answers()
    scene.asterisk.press(scene.leg_id, "1")
    scene.asterisk.press("caller", "5")
    scene.asterisk.press(scene.leg_id, "2")
    scene.asterisk.hang_up(scene.leg_id)
    assert [await scene.leg.key() for _ in range(3)] == ["1", "2", None]


async def test_they_meet(scene: Scene) -> None:
    await scene.answers()
    await scene.leg.play("sound:/question")
    place = await scene.control.arrange_meeting(scene.leg)
    assert place == ("offhook-attended", "join")
    assert scene.asterisk.playbacks == {}
    assert scene.asterisk.channels["caller"].variables["OFFHOOK_CONSULT"] == scene.leg_id
    await scene.control.transfer(*place)
    closing = asyncio.create_task(scene.control.close())
    scene.asterisk.take_back(scene.leg_id)
    await closing
    assert scene.leg_id in scene.asterisk.channels
    assert scene.asterisk.paths("DELETE")[1:] == []


async def test_who_is_not_met_is_let_go(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consult_leg, "_MEETING_SECONDS", 0.05)
    await scene.answers()
    await scene.control.transfer(*await scene.control.arrange_meeting(scene.leg))
    await scene.control.close()
    assert scene.leg_id not in scene.asterisk.channels


@pytest.mark.parametrize("answered", [False, True])
async def test_the_end_of_the_call_is_the_end_of_the_question(scene: Scene, answered: bool) -> None:
    if answered:
        await scene.answers()
    else:
        ringing = await scene.rings()
    scene.asterisk.hang_up("caller")
    await scene.control.close()
    assert scene.asterisk.channels == {}
    if not answered:
        asyncio.ensure_future(ringing).cancel()


async def test_a_human_whose_engine_died_is_let_go_by_the_next() -> None:
    async with FakeAsterisk() as asterisk:
        asterisk.enter(f"{CONSULT_PREFIX}left", told=False)
        app = AriApp(AriSettings(asterisk.url, asterisk.username, asterisk.password), lambda call: None)
        running = asyncio.create_task(app.run())
        await asterisk.wait_until(lambda: not asterisk.channels)
        await app.close()
        await running
        assert app.orphans == 0

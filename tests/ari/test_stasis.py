"""The event socket through every kind of trouble, and what is set right after it."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, MutableSequence
from uuid import UUID

import aiohttp
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.media_leg import BRIDGE_PREFIX, MEDIA_PREFIX, SNOOP_PREFIX
from ai_engine.ari.stasis import ApplicationTaken, AriApp, retry_seconds
from ai_engine.ari.transport import AriSettings
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, PlaybackEnded, TakenBack
from ai_engine.protocol.abilities import Abilities
from ai_engine.session.ports import Leg, Topology
from tests.fakes.fake_asterisk import VERSION, FakeAsterisk, FakeBridge, FakeChannel

UUID_1 = UUID("00000000-0000-4000-8000-000000000001")
LEG = f"{MEDIA_PREFIX}{UUID_1}"
SNOOP = f"{SNOOP_PREFIX}{UUID_1}"
BRIDGE = f"{BRIDGE_PREFIX}{UUID_1}"


class Engine:
    """An AriApp, running, with the calls it offered."""

    def __init__(self, asterisk: FakeAsterisk, heartbeat_seconds: float = 10.0, password: str = "") -> None:
        self.calls: asyncio.Queue[AriCallControl] = asyncio.Queue()
        settings = AriSettings(
            asterisk.url,
            asterisk.username,
            password or asterisk.password,
            heartbeat_seconds=heartbeat_seconds,
        )
        self.app = AriApp(settings, self.calls.put_nowait)
        self.running = asyncio.create_task(self.app.run())

    async def call(self, seconds: float = 3.0) -> AriCallControl:
        async with asyncio.timeout(seconds):
            return await self.calls.get()

    async def logged(self, logs: MutableSequence[EventDict]) -> None:
        """Until it has said something."""
        async with asyncio.timeout(3):
            while not logs:  # noqa: ASYNC110  a captured log has no event to wait for
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        await self.app.close()
        await self.running


async def attach(control: AriCallControl, uuid: UUID = UUID_1, topology: Topology = Topology.BRIDGED) -> None:
    await control.create_leg(Leg(uuid, "slin", "127.0.0.1:8090", "audiosocket", "tcp", data=str(uuid)))
    await control.join(topology)


async def events_of(control: AriCallControl) -> list[CallEvent]:
    async with asyncio.timeout(3):
        return [event async for event in control.events()]


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with FakeAsterisk() as fake:
        yield fake


@pytest.fixture
async def engine(asterisk: FakeAsterisk) -> AsyncIterator[Engine]:
    started = Engine(asterisk)
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    yield started
    await started.end()


# -- getting and staying connected --------------------------------------------------------------------------


async def test_it_connects_and_says_so(asterisk: FakeAsterisk) -> None:
    with capture_logs() as logs:
        engine = Engine(asterisk)
        asterisk.enter("caller")
        await engine.call()
        assert (engine.app.connected, engine.app.version, engine.app.reconnects) == (True, VERSION, 0)
        await engine.end()
    assert not engine.app.connected
    assert {
        "event": "ARI connected",
        "log_level": "info",
        "url": asterisk.url,
        "version": VERSION,
        "app": asterisk.app,
    } in logs


async def test_it_may_start_before_asterisk() -> None:
    asterisk = FakeAsterisk()
    await asterisk.start()
    await asterisk.stop()  # the port is known, and nobody is there
    with capture_logs() as logs:
        engine = Engine(asterisk)
        await engine.logged(logs)
        await asterisk.start()
        asterisk.enter("caller", told=False)
        await engine.call()
    assert logs[0]["event"] == "ARI connection lost"
    assert logs[0]["retry_seconds"] <= 0.1
    await engine.end()
    await asterisk.stop()


async def test_it_is_back_within_a_second_of_an_abort(asterisk: FakeAsterisk, engine: Engine) -> None:
    for times in (1, 2):
        began = time.monotonic()
        asterisk.abort()
        await asterisk.wait_until(lambda: asterisk.listeners == 1)
        assert time.monotonic() - began < 1.0
        asterisk.enter(f"caller-{times}")
        assert (await engine.call()).channel_id == f"caller-{times}"
        assert engine.app.reconnects == times


async def test_it_is_back_after_a_restart_of_asterisk(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    await attach(control)
    await asterisk.restart()
    assert await events_of(control) == [CallerHungUp(0)]
    await control.close()
    asterisk.enter("next")
    assert (await engine.call()).channel_id == "next"


async def test_a_half_open_link_is_replaced(asterisk: FakeAsterisk) -> None:
    engine = Engine(asterisk, heartbeat_seconds=0.2)
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    asterisk.deaf = True
    began = time.monotonic()
    await asterisk.wait_until(lambda: asterisk.listeners == 0)
    assert time.monotonic() - began < 1.0
    asterisk.deaf = False
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    asterisk.enter("caller")
    await engine.call()
    await engine.end()


async def test_a_wrong_password_is_tried_seldom_and_never_shown(asterisk: FakeAsterisk) -> None:
    with capture_logs() as logs:
        engine = Engine(asterisk, password="hunter2")
        await engine.logged(logs)
        await engine.end()
    assert "401" in logs[0]["reason"]
    assert logs[0]["retry_seconds"] == 5.0
    assert "hunter2" not in repr(logs)


def test_retries_begin_quickly_and_never_exceed_five_seconds() -> None:
    for failures in range(2000):
        longest = min(5.0, 0.1 * 2.0 ** min(failures, 20))
        assert longest / 2 <= retry_seconds(failures) <= longest
    assert retry_seconds(0, 401) == retry_seconds(0, 403) == 5.0
    assert len({retry_seconds(9) for _ in range(10)}) > 1


async def test_closing_does_not_wait_for_the_next_retry(asterisk: FakeAsterisk) -> None:
    engine = Engine(asterisk, password="wrong")
    await asterisk.wait_until(lambda: bool(asterisk.requests))
    async with asyncio.timeout(1):
        await engine.end()


async def test_an_application_taken_by_another_engine_is_fatal(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    second = Engine(asterisk)
    with pytest.raises(ApplicationTaken, match=asterisk.app):
        await engine.running
    assert not engine.app.connected
    await control.transfer("offhook", "human")  # those it still holds can be handed on
    await engine.app.close()
    engine.running = asyncio.create_task(asyncio.sleep(0))
    await second.end()


@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_nothing_is_left_open(asterisk: FakeAsterisk) -> None:
    before = asyncio.all_tasks()
    for password in (asterisk.password, "wrong"):
        for _ in range(3):
            engine = Engine(asterisk, password=password)
            await asterisk.wait_until(lambda: bool(asterisk.requests))
            await engine.end()
    await asterisk.wait_until(lambda: asterisk.listeners == 0)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is aiohttp.ClientSession and not thing.closed]
    ours = [task for task in asyncio.all_tasks() - before if "ai_engine" in repr(task)]
    assert ours == []


# -- events ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    ["{", "null", "[]", "7", '{"no": "type"}', '{"type": "StasisStart"}', '{"type": "StasisEnd", "channel": {}}'],
)
async def test_a_frame_that_is_no_event_is_skipped_and_counted(
    asterisk: FakeAsterisk, engine: Engine, frame: str
) -> None:
    asterisk.send_frame(frame)
    asterisk.enter("caller")
    await engine.call()
    assert engine.app.bad_frames == 1
    assert engine.app.reconnects == 0


async def test_events_of_unknown_kind_or_channel_are_no_matter(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.send("StasisEnd", FakeChannel("stranger"))
    asterisk.send("ChannelTalkingStarted", FakeChannel("stranger"))
    asterisk.enter("caller")
    await engine.call()
    assert engine.app.bad_frames == 0


async def test_a_call_that_does_not_listen_delays_no_other(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter("blocked")
    asterisk.enter("brisk")
    blocked, brisk = await engine.call(), await engine.call()
    for _ in range(500):
        asterisk.press("blocked", "1")
    asterisk.press("brisk", "2")
    began = time.monotonic()
    assert await anext(brisk.events()) == DigitReceived("2")
    assert time.monotonic() - began < 0.5
    assert await anext(blocked.events()) == DigitReceived("1")


async def test_events_keep_their_order_within_each_call(asterisk: FakeAsterisk, engine: Engine) -> None:
    for name in ("a", "b"):
        asterisk.enter(name)
    calls = [await engine.call(), await engine.call()]
    for digit in "123456789":
        for name in ("a", "b"):
            asterisk.press(name, digit)
    for name in ("a", "b"):
        asterisk.hang_up(name)
    for control in calls:
        assert await events_of(control) == [*map(DigitReceived, "123456789"), CallerHungUp(16)]


async def test_finished_calls_leave_no_listener(asterisk: FakeAsterisk, engine: Engine) -> None:
    for number in range(1000):
        asterisk.enter(f"c{number}")
        control = await engine.call()
        if number % 50 == 0:
            await attach(control, UUID(int=number), list(Topology)[number // 50 % 3])
            await control.play(f"p{number}", "sound:x")
        asterisk.hang_up(f"c{number}")
        await events_of(control)
        await control.close()
    assert len(engine.app._subscriptions) == 0
    assert engine.app._errands == set()
    assert asterisk.channels == {}
    assert asterisk.bridges == {}


async def test_a_call_that_cannot_be_taken_up_costs_nobody_else(asterisk: FakeAsterisk) -> None:
    taken: asyncio.Queue[AriCallControl] = asyncio.Queue()

    def take(control: AriCallControl) -> None:
        if control.channel_id == "cursed":
            raise RuntimeError("boom")
        taken.put_nowait(control)

    app = AriApp(AriSettings(asterisk.url, asterisk.username, asterisk.password), take)
    running = asyncio.create_task(app.run())
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    with capture_logs() as logs:
        asterisk.enter("cursed")
        asterisk.enter("blessed")
        async with asyncio.timeout(3):
            assert (await taken.get()).channel_id == "blessed"
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["a call could not be taken up"]
    assert "cursed" not in app._subscriptions
    await app.close()
    await running


@pytest.mark.parametrize("ours", [LEG, SNOOP])
async def test_a_channel_of_ours_nobody_waits_for_is_hung_up(asterisk: FakeAsterisk, engine: Engine, ours: str) -> None:
    asterisk.enter(ours)
    await asterisk.wait_until(lambda: ours not in asterisk.channels)
    assert engine.calls.empty()


# -- after an outage ----------------------------------------------------------------------------------------


async def test_callers_left_waiting_are_offered_as_orphans(asterisk: FakeAsterisk) -> None:
    asterisk.enter("waiting", "agent=reception", "vip", told=False)
    engine = Engine(asterisk)
    control = await engine.call()
    assert (control.channel_id, control.orphan, control.caller_number) == ("waiting", True, "1000")
    assert control.variables == {"agent": "reception", "vip": ""}
    assert engine.app.orphans == 1
    await control.transfer("offhook", "human")
    await engine.end()


async def test_a_fresh_caller_is_no_orphan_and_is_offered_once(asterisk: FakeAsterisk) -> None:
    engine = Engine(asterisk)
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    # Listed already when the engine asks who is there, announced a moment later.
    asterisk.enter("fresh", "agent=x", told=False)
    await asterisk.wait_until(lambda: "/ari/bridges" in asterisk.paths("GET"))
    await asyncio.sleep(0.05)
    asterisk.send("StasisStart", asterisk.channels["fresh"], args=["agent=x"])
    control = await engine.call()
    assert not control.orphan
    await asterisk.wait_until(lambda: "/ari/channels" in asterisk.paths("GET"))
    asterisk.hang_up("fresh")
    assert await events_of(control) == [CallerHungUp(16)]
    assert engine.calls.empty()
    await engine.end()


async def test_leftovers_of_dead_calls_are_deleted_and_nothing_else(asterisk: FakeAsterisk) -> None:
    asterisk.enter(LEG, told=False)
    asterisk.enter(SNOOP, told=False)
    asterisk.enter("waiting", told=False)
    asterisk.bridges[BRIDGE] = FakeBridge(BRIDGE, asterisk.app, [LEG, "waiting"])
    asterisk.bridges["theirs"] = FakeBridge("theirs", asterisk.app)
    other = f"{BRIDGE_PREFIX}of-another-engine"
    asterisk.bridges[other] = FakeBridge(other, "another-engine")
    engine = Engine(asterisk)
    assert (await engine.call()).channel_id == "waiting"
    assert list(asterisk.channels) == ["waiting"]
    assert list(asterisk.bridges) == ["theirs", other]
    await engine.end()


@pytest.mark.parametrize("leftover", [LEG, SNOOP])
async def test_a_leftover_that_will_not_go_is_no_orphan(asterisk: FakeAsterisk, leftover: str) -> None:
    asterisk.enter(leftover, told=False)
    asterisk.enter("waiting", told=False)
    asterisk.refuse("DELETE", "/channels/", 500)
    engine = Engine(asterisk)
    assert (await engine.call()).channel_id == "waiting"
    assert engine.calls.empty()
    assert engine.app.orphans == 1
    await engine.end()


async def test_calls_survive_a_lost_connection(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    await attach(control)
    asterisk.abort()
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    await asterisk.wait_until(lambda: asterisk.paths("GET").count("/ari/bridges") == 2)
    asterisk.press("caller", "7")
    assert await anext(control.events()) == DigitReceived("7")
    assert asterisk.bridges[BRIDGE].channels == ["caller", LEG]


@pytest.mark.parametrize(("how", "last"), [("hang_up", CallerHungUp(0)), ("take_back", TakenBack())])
async def test_who_left_during_the_outage_is_found_out(
    asterisk: FakeAsterisk, engine: Engine, how: str, last: CallEvent
) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    asterisk.abort()
    getattr(asterisk, how)("caller", told=False)
    assert await events_of(control) == [last]


async def test_a_leg_lost_during_the_outage_is_media_lost(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    await attach(control)
    asterisk.abort()
    asterisk.hang_up(LEG, told=False)
    async with asyncio.timeout(3):
        assert isinstance(await anext(control.events()), MediaLost)


@pytest.mark.parametrize("lost", [[LEG], [SNOOP], [LEG, SNOOP]])
async def test_a_snoop_or_leg_lost_during_the_outage_is_media_lost_once(
    asterisk: FakeAsterisk, engine: Engine, lost: list[str]
) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    await attach(control, topology=Topology.LISTENING)
    asterisk.abort()
    for channel_id in lost:
        asterisk.hang_up(channel_id, told=False)
    await asterisk.wait_until(lambda: asterisk.paths("GET").count("/ari/bridges") == 2)
    asterisk.press("caller", "1")
    events = control.events()
    async with asyncio.timeout(3):
        assert isinstance(await anext(events), MediaLost)
        assert await anext(events) == DigitReceived("1")


async def test_who_hung_up_during_the_outage_lost_no_media(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    await attach(control, topology=Topology.WHISPERED)
    asterisk.abort()
    asterisk.hang_up("caller", told=False)
    assert await events_of(control) == [CallerHungUp(0)]


async def test_a_file_that_ended_during_the_outage_is_told(asterisk: FakeAsterisk, engine: Engine) -> None:
    asterisk.enter("caller")
    control = await engine.call()
    await control.play("over", "sound:a")
    await control.play("next", "sound:b")
    asterisk.abort()
    asterisk.end_playback("over", told=False)
    events = control.events()
    async with asyncio.timeout(3):
        assert await anext(events) == PlaybackEnded("over")
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    asterisk.end_playback("next")
    async with asyncio.timeout(3):
        assert await anext(events) == PlaybackEnded("next")


async def test_a_comparison_that_fails_is_made_again(asterisk: FakeAsterisk) -> None:
    asterisk.refuse("GET", "/applications/", 500)
    asterisk.enter("waiting", told=False)
    engine = Engine(asterisk)
    assert (await engine.call()).channel_id == "waiting"
    assert engine.app.reconnects == 1
    await engine.end()


# -- what this Asterisk can do -------------------------------------------------------------------------------


async def test_abilities_are_known_before_the_first_call(asterisk: FakeAsterisk) -> None:
    asterisk.enter("waiting", told=False)
    seen: asyncio.Queue[Abilities] = asyncio.Queue()
    app = AriApp(
        AriSettings(asterisk.url, asterisk.username, asterisk.password), lambda _: seen.put_nowait(app.abilities)
    )
    assert app.abilities == Abilities()
    with capture_logs() as logs:
        running = asyncio.create_task(app.run())
        async with asyncio.timeout(3):
            assert await seen.get() == Abilities(True, True, True, True, True)
        await app.close()
        await running
    assert not [entry for entry in logs if "ways for sound" in entry["event"]]


async def test_abilities_are_asked_anew_with_every_connection(asterisk: FakeAsterisk) -> None:
    asterisk.version = "20.7.0"
    with capture_logs() as logs:
        engine = Engine(asterisk)
        await asterisk.wait_until(lambda: asterisk.listeners == 1)
        asterisk.enter("first")
        await engine.call()
        assert engine.app.abilities.transports() == ("audiosocket", "legacy")
        asterisk.version = VERSION
        asterisk.modules.remove("chan_rtp.so")
        asterisk.abort()
        await asterisk.wait_until(lambda: asterisk.paths("GET").count("/ari/bridges") == 2)
        assert engine.app.abilities.transports() == ("websocket", "audiosocket")
        await engine.end()
    said = [entry for entry in logs if entry["event"] == "Asterisk lacks some ways for sound"]
    assert [len(entry["lacks"]) for entry in said] == [2, 1]


async def test_an_asterisk_without_any_way_for_sound_is_an_error(asterisk: FakeAsterisk) -> None:
    asterisk.modules.clear()
    with capture_logs() as logs:
        engine = Engine(asterisk)
        await asterisk.wait_until(lambda: "/ari/bridges" in asterisk.paths("GET"))
        await engine.end()
    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert len(errors) == 1
    assert any("chan_audiosocket.so" in lack for lack in errors[0]["lacks"])

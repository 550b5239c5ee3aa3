"""One caller's channel, commanded against an Asterisk that answers, refuses, or loses the caller meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.media_leg import BRIDGE_PREFIX, MEDIA_PREFIX, SNOOP_PREFIX
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.call.events import (
    CallerHeld,
    CallerHungUp,
    CallerUnheld,
    CallEvent,
    DigitReceived,
    MediaLost,
    PlaybackEnded,
    TakenBack,
)
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.ports import CallControl, Leg, Topology
from tests.fakes.fake_asterisk import FakeAsterisk, FakePlayback, Recorded

UUID_1 = UUID("00000000-0000-4000-8000-000000000001")
UUID_2 = UUID("00000000-0000-4000-8000-000000000002")
LEG = f"{MEDIA_PREFIX}{UUID_1}"
SNOOP = f"{SNOOP_PREFIX}{UUID_1}"
BRIDGE = f"{BRIDGE_PREFIX}{UUID_1}"
ADDRESS = "127.0.0.1:8090"


def a_leg(uuid: UUID = UUID_1, codec: str = "slin") -> Leg:
    return Leg(uuid, codec, ADDRESS, "audiosocket", "tcp", data=str(uuid))


pytestmark = pytest.mark.usefixtures("scene")


@dataclass
class Scene:
    """A caller in the application, and both ends of it."""

    asterisk: FakeAsterisk
    app: AriApp
    control: AriCallControl

    async def attach(self, topology: Topology = Topology.BRIDGED, leg: Leg | None = None) -> None:
        await self.control.create_leg(leg or a_leg())
        await self.control.join(topology)

    async def told_so_far(self) -> list[CallEvent]:
        """Every event up to now; the call is over with it."""
        await self.control.answer()  # the fake sends events before answers
        self.asterisk.take_back("caller")
        *events, last = await self.all_events()
        assert last == TakenBack()
        return events

    async def all_events(self) -> list[CallEvent]:
        async with asyncio.timeout(3):
            return [event async for event in self.control.events()]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    calls: asyncio.Queue[AriCallControl] = asyncio.Queue()
    async with FakeAsterisk() as asterisk:
        app = AriApp(AriSettings(asterisk.url, asterisk.username, asterisk.password), calls.put_nowait)
        running = asyncio.create_task(app.run())
        await asterisk.wait_until(lambda: asterisk.listeners == 1)
        asterisk.enter("caller", "agent=reception")
        async with asyncio.timeout(3):
            control = await calls.get()
        yield Scene(asterisk, app, control)
        await app.close()
        await running


def test_it_is_what_the_session_needs(scene: Scene) -> None:
    control: CallControl = scene.control
    assert (control.channel_id, control.caller_number, control.dialled) == ("caller", "1000", "100")
    assert control.variables == {"agent": "reception"}


async def test_answer_answers(scene: Scene) -> None:
    await scene.control.answer()
    assert scene.asterisk.channels["caller"].state == "Up"


@pytest.mark.parametrize("codec", ["slin", "slin16"])
async def test_bridged_is_the_caller_and_the_leg_in_one_bridge(scene: Scene, codec: str) -> None:
    await scene.attach(leg=a_leg(codec=codec))
    assert scene.asterisk.bridges[BRIDGE].channels == ["caller", LEG]
    leg = scene.asterisk.channels[LEG].variables
    assert (leg["data"], leg["external_host"], leg["format"]) == (str(UUID_1), ADDRESS, codec)
    assert not scene.asterisk.channels["caller"].silence


@pytest.mark.parametrize(
    ("topology", "whisper", "silence"), [(Topology.WHISPERED, "out", True), (Topology.LISTENING, "none", False)]
)
async def test_the_others_are_a_snoop_and_the_leg_in_one_bridge(
    scene: Scene, topology: Topology, whisper: str, silence: bool
) -> None:
    await scene.attach(topology)
    assert scene.asterisk.bridges[BRIDGE].channels == [SNOOP, LEG]
    snoop = scene.asterisk.channels[SNOOP].variables
    assert (snoop["spy"], snoop["whisper"], snoop["app"]) == ("in", whisper, scene.asterisk.app)
    assert scene.asterisk.channels["caller"].silence is silence


async def test_the_variables_of_the_leg_are_answered(scene: Scene) -> None:
    leg = Leg(UUID_1, "slin", "INCOMING", "none", "websocket", "server", transport_data="f(json)")
    assert await scene.control.create_leg(leg) == {"MEDIA_WEBSOCKET_CONNECTION_ID": f"ws-{LEG}"}


async def test_to_join_before_there_is_a_leg_is_an_error(scene: Scene) -> None:
    with pytest.raises(AsteriskError, match="no media leg"):
        await scene.control.join(Topology.BRIDGED)


async def test_a_leg_that_comes_before_the_answer_is_not_missed(scene: Scene) -> None:
    # The fake always sends events first; here the answer comes later still.
    told = asyncio.Event()

    async def slowly(request: Recorded) -> None:
        if "externalMedia" in request.raw_path:
            scene.asterisk.send("StasisStart", scene.asterisk.channels["caller"], args=[])
            told.set()

    scene.asterisk.before_answering = slowly
    await scene.attach()
    assert told.is_set()
    assert scene.asterisk.bridges[BRIDGE].channels == ["caller", LEG]


async def test_our_own_channels_are_not_offered_as_calls(scene: Scene) -> None:
    await scene.attach(Topology.WHISPERED)
    # The events of leg and snoop came before the answers; without a listener they would have been deleted as strays.
    assert {LEG, SNOOP} <= set(scene.asterisk.channels)
    assert scene.asterisk.paths("DELETE") == []


async def test_a_leg_that_cannot_connect_is_an_error(scene: Scene) -> None:
    scene.asterisk.leg_arrives = False
    with pytest.raises(AsteriskError, match=ADDRESS):
        await scene.attach()
    assert scene.asterisk.bridges == {}


async def test_a_leg_that_ends_before_it_is_joined_is_an_error(scene: Scene) -> None:
    await scene.control.create_leg(a_leg())
    scene.asterisk.hang_up(LEG)
    await scene.control.answer()
    with pytest.raises(AsteriskError, match=ADDRESS):
        await scene.control.join(Topology.BRIDGED)
    assert await scene.told_so_far() == []


@pytest.mark.parametrize("topology", [Topology.WHISPERED, Topology.LISTENING])
async def test_a_snoop_that_does_not_arrive_is_an_error(scene: Scene, topology: Topology) -> None:
    scene.asterisk.snoop_arrives = False
    with pytest.raises(AsteriskError, match=ADDRESS):
        await scene.attach(topology)
    assert await scene.told_so_far() == []


@pytest.mark.parametrize("topology", Topology)
async def test_a_leg_that_ends_while_it_is_joined_is_an_error_and_no_news(scene: Scene, topology: Topology) -> None:
    async def hang_up_now(request: Recorded) -> None:
        if request.query.get("channel") == LEG:
            scene.asterisk.hang_up(LEG)

    scene.asterisk.before_answering = hang_up_now
    with pytest.raises(AsteriskError):
        await scene.attach(topology)
    assert await scene.told_so_far() == []


async def test_a_refused_leg_is_an_error(scene: Scene) -> None:
    scene.asterisk.refuse("POST", "externalMedia", 500, "Allocation failed")
    with pytest.raises(AsteriskError, match="Allocation failed"):
        await scene.attach()


async def test_a_snoop_that_ends_while_the_leg_is_joined_is_an_error_and_no_news(scene: Scene) -> None:
    async def hang_up_now(request: Recorded) -> None:
        if request.query.get("channel") == LEG:
            scene.asterisk.hang_up(SNOOP)

    scene.asterisk.before_answering = hang_up_now
    with pytest.raises(AsteriskError, match="while it was joined"):
        await scene.attach(Topology.LISTENING)
    assert await scene.told_so_far() == []


@pytest.mark.parametrize(
    ("topology", "leaving"),
    [
        (Topology.BRIDGED, [LEG]),
        (Topology.WHISPERED, [LEG]),
        (Topology.WHISPERED, [SNOOP]),
        (Topology.WHISPERED, [SNOOP, LEG]),
        (Topology.LISTENING, [LEG, SNOOP]),
    ],
)
async def test_what_leaves_later_is_media_lost_once(scene: Scene, topology: Topology, leaving: list[str]) -> None:
    await scene.attach(topology)
    for channel_id in leaving:
        scene.asterisk.hang_up(channel_id)
    assert [type(event) for event in await scene.told_so_far()] == [MediaLost]


@pytest.mark.parametrize("topology", Topology)
async def test_a_caller_who_hangs_up_takes_the_snoop_along_and_loses_no_media(scene: Scene, topology: Topology) -> None:
    await scene.attach(topology)
    scene.asterisk.hang_up("caller")
    assert await scene.all_events() == [CallerHungUp(16)]


# -- dropping -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", Topology)
async def test_a_dropped_leg_leaves_nothing_and_is_no_news(scene: Scene, topology: Topology) -> None:
    await scene.attach(topology)
    await scene.control.drop_leg()
    await scene.control.drop_leg()
    assert list(scene.asterisk.channels) == ["caller"]
    assert scene.asterisk.bridges == {}
    assert not scene.asterisk.channels["caller"].silence
    assert len(scene.app._subscriptions) == 1
    deleted = scene.asterisk.paths("DELETE")
    assert len(deleted) == len(set(deleted))
    assert await scene.told_so_far() == []


@pytest.mark.parametrize("first", Topology)
@pytest.mark.parametrize("second", Topology)
async def test_another_leg_may_follow(scene: Scene, first: Topology, second: Topology) -> None:
    await scene.attach(first)
    await scene.control.drop_leg()
    await scene.attach(second, a_leg(UUID_2))
    assert list(scene.asterisk.bridges) == [f"{BRIDGE_PREFIX}{UUID_2}"]
    assert scene.asterisk.channels["caller"].silence is (second is Topology.WHISPERED)
    scene.asterisk.hang_up(f"{MEDIA_PREFIX}{UUID_2}")
    assert [type(event) for event in await scene.told_so_far()] == [MediaLost]


async def test_a_new_leg_takes_the_place_of_one_that_was_not_dropped(scene: Scene) -> None:
    await scene.attach()
    await scene.attach(leg=a_leg(UUID_2))
    assert set(scene.asterisk.channels) == {"caller", f"{MEDIA_PREFIX}{UUID_2}"}
    assert await scene.told_so_far() == []


@pytest.mark.parametrize("status", [0, 404, 409, 500])
async def test_dropping_never_fails_and_tries_everything(scene: Scene, status: int) -> None:
    await scene.attach(Topology.WHISPERED)
    if status:
        scene.asterisk.refuse("DELETE", "", status, times=9)
    else:
        await scene.asterisk.stop()
    with capture_logs() as logs:
        await scene.control.drop_leg()
    said = [entry["log_level"] for entry in logs if entry["event"] == "part of a media leg was not released"]
    assert len(said) == 4
    assert set(said) == ({"debug"} if status in (404, 409) else {"warning"})
    if status:
        assert len(set(scene.asterisk.paths("DELETE"))) == 4


@pytest.mark.parametrize("moment", [f"/{BRIDGE}", f"/{SNOOP}", "/silence", "/addChannel"])
async def test_dropping_after_a_cancelled_join_leaves_nothing(scene: Scene, moment: str) -> None:
    asked = asyncio.Event()

    async def stall(request: Recorded) -> None:
        if request.path.endswith(moment) and request.method == "POST" and not asked.is_set():
            asked.set()
            await asyncio.Event().wait()

    scene.asterisk.before_answering = stall
    attaching = asyncio.create_task(scene.attach(Topology.WHISPERED))
    await asked.wait()
    attaching.cancel()
    await asyncio.wait([attaching])
    await scene.control.drop_leg()
    assert list(scene.asterisk.channels) == ["caller"]
    assert scene.asterisk.bridges == {}
    assert not scene.asterisk.channels["caller"].silence


async def test_a_leg_that_was_waited_for_when_it_is_dropped_is_an_error(scene: Scene) -> None:
    scene.asterisk.refuse("POST", "externalMedia", 200, b"{}")  # accepted, and then nothing comes
    await scene.control.create_leg(a_leg())
    joining = asyncio.create_task(scene.control.join(Topology.BRIDGED))
    await asyncio.sleep(0)
    await scene.control.drop_leg()
    with pytest.raises(AsteriskError):
        await joining


async def test_a_leg_that_arrives_after_it_was_dropped_is_hung_up(scene: Scene) -> None:
    scene.asterisk.refuse("POST", "externalMedia", 200, b"{}")
    await scene.control.create_leg(a_leg())
    await scene.control.drop_leg()
    scene.asterisk.enter(LEG)
    await scene.asterisk.wait_until(lambda: LEG not in scene.asterisk.channels)
    assert await scene.told_so_far() == []


async def test_the_silence_of_an_earlier_engine_is_stopped(scene: Scene) -> None:
    scene.control.orphan = True
    scene.asterisk.channels["caller"].silence = True
    await scene.attach()
    assert not scene.asterisk.channels["caller"].silence


# -- files ----------------------------------------------------------------------------------------------------


async def test_files_play_one_after_the_other_and_their_ends_are_told(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    await scene.control.play("b", "sound:/tmp/b")
    assert [playback.state for playback in scene.asterisk.playbacks.values()] == ["playing", "queued"]
    scene.asterisk.end_playback("a")
    scene.asterisk.end_playback("b", "failed")
    assert await scene.told_so_far() == [PlaybackEnded("a"), PlaybackEnded("b", failed=True)]
    assert len(scene.app._subscriptions) == 0


async def test_a_file_is_paused_resumed_and_stopped(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    await scene.control.pause_playback("a")
    assert scene.asterisk.playbacks["a"].paused
    await scene.control.resume_playback("a")
    assert not scene.asterisk.playbacks["a"].paused
    await scene.control.stop_playback("a")
    assert scene.asterisk.playbacks == {}
    assert await scene.told_so_far() == [PlaybackEnded("a")]


async def test_a_file_is_paused_as_soon_as_it_begins(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    await scene.control.play("b", "sound:/tmp/b")
    pausing = asyncio.create_task(scene.control.pause_playback("b"))
    await asyncio.sleep(0.05)
    scene.asterisk.end_playback("a")
    await pausing
    assert scene.asterisk.playbacks["b"].paused


async def test_a_file_that_does_not_begin_cannot_be_paused(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    await scene.control.play("b", "sound:/tmp/b")
    with pytest.raises(AsteriskError, match="Can only pause while media is playing"):
        await scene.control.pause_playback("b")


async def test_what_is_over_can_be_told_anything(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    scene.asterisk.end_playback("a")
    for command in (scene.control.pause_playback, scene.control.resume_playback, scene.control.stop_playback):
        await command("a")
        await command("never")
    assert await scene.told_so_far() == [PlaybackEnded("a")]


async def test_a_file_that_ends_while_it_is_paused_is_no_error(scene: Scene) -> None:
    async def end_it(request: Recorded) -> None:
        if request.path.endswith("/control"):
            scene.asterisk.end_playback("a")

    await scene.control.play("a", "sound:/tmp/a")
    scene.asterisk.before_answering = end_it
    await scene.control.pause_playback("a")
    assert await scene.told_so_far() == [PlaybackEnded("a")]


async def test_a_refused_file_is_an_error_and_has_no_end(scene: Scene) -> None:
    scene.asterisk.refuse("POST", "/play/", 500, "no room")
    with pytest.raises(AsteriskError, match="no room"):
        await scene.control.play("a", "sound:/tmp/a")
    assert await scene.told_so_far() == []
    assert len(scene.app._subscriptions) == 0


async def test_a_file_ends_with_its_caller(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    scene.asterisk.hang_up("caller")
    assert await scene.all_events() == [PlaybackEnded("a", failed=True), CallerHungUp(16)]
    assert len(scene.app._subscriptions) == 0


async def test_a_file_whose_end_is_not_told_is_forgotten_with_its_caller(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    scene.asterisk.playbacks.clear()
    scene.asterisk.hang_up("caller")
    await scene.all_events()
    assert len(scene.app._subscriptions) == 0


async def test_what_somebody_else_plays_is_no_news(scene: Scene) -> None:
    scene.asterisk.playbacks["theirs"] = FakePlayback("theirs", "caller", "sound:x")
    scene.asterisk.end_playback("theirs")
    assert await scene.told_so_far() == []


async def test_variables_do_not_wait_behind_a_file(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    await scene.control.keep_alive(15)
    await scene.control.stop_playback("a")
    await scene.control.keep_alive(16)
    asked = [request for request in scene.asterisk.requests if request.path.endswith("/variable")]
    assert [request.method for request in asked] == ["GET", "POST"]
    assert asked[0].query == {"variable": "SET(TIMEOUT(absolute)=15)"}
    assert scene.asterisk.channels["caller"].variables == {"TIMEOUT(absolute)": "16"}


@pytest.mark.parametrize("topology", [Topology.BRIDGED, Topology.WHISPERED])
async def test_files_stop_for_a_stream(scene: Scene, topology: Topology) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    await scene.control.play("b", "sound:/tmp/b")
    await scene.attach(topology)
    assert scene.asterisk.playbacks == {}
    # What was not heard is not over: whoever goes on with it must not be told that it is.
    assert await scene.told_so_far() == []


async def test_files_go_on_when_the_leg_that_listens_is_replaced(scene: Scene) -> None:
    await scene.attach(Topology.LISTENING)
    await scene.control.play("a", "sound:/tmp/a")
    await scene.attach(Topology.LISTENING, a_leg(UUID_2))
    assert "a" in scene.asterisk.playbacks


@pytest.mark.parametrize("how", ["transfer", "close"])
async def test_files_stop_for_a_transfer_and_with_the_control(scene: Scene, how: str) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    if how == "transfer":
        await scene.control.transfer("offhook", "human")
    await scene.control.close()
    assert scene.asterisk.playbacks == {}
    assert await scene.all_events() == []


async def test_a_file_that_will_not_stop_hinders_no_transfer(scene: Scene) -> None:
    await scene.control.play("a", "sound:/tmp/a")
    scene.asterisk.refuse("DELETE", "/playbacks/", 500)
    await scene.control.transfer("offhook", "human")
    assert not scene.asterisk.channels["caller"].stasis


# -- the caller -----------------------------------------------------------------------------------------------


async def test_hold_and_its_end_are_told(scene: Scene) -> None:
    scene.asterisk.hold("caller")
    scene.asterisk.hold("caller", on=False)
    assert await scene.told_so_far() == [CallerHeld(), CallerUnheld()]


async def test_keys_are_pressed_towards_the_caller(scene: Scene) -> None:
    await scene.control.send_digits("12#*")
    assert scene.asterisk.channels["caller"].digits == "12#*"


@pytest.mark.parametrize(("formats", "wideband"), [("(g722)", True), ("(ulaw)", False), (None, False)])
async def test_the_codec_of_the_caller_tells_their_band(scene: Scene, formats: str | None, wideband: bool) -> None:
    if formats is not None:
        scene.asterisk.channels["caller"].variables["CHANNEL(audionativeformat)"] = formats
    assert await scene.control.wideband() is wideband


async def test_a_caller_who_left_has_no_band(scene: Scene) -> None:
    scene.asterisk.hang_up("caller")
    assert not await scene.control.wideband()


async def test_an_asterisk_that_cannot_tell_the_codec_means_narrow(scene: Scene) -> None:
    scene.asterisk.refuse("GET", "/variable", 500, "Unable to read provided function")
    assert not await scene.control.wideband()


async def test_digits_then_the_hangup_in_order(scene: Scene) -> None:
    for digit in "12#":
        scene.asterisk.press("caller", digit)
    scene.asterisk.hang_up("caller", cause=17)
    assert await scene.all_events() == [*map(DigitReceived, "12#"), CallerHungUp(17)]


async def test_a_channel_taken_away_is_taken_back(scene: Scene) -> None:
    scene.asterisk.take_back("caller")
    assert await scene.all_events() == [TakenBack()]
    with pytest.raises(CallGone):
        await scene.control.answer()


async def test_our_own_transfer_is_no_taking_back(scene: Scene) -> None:
    scene.asterisk.press("caller", "0")
    await scene.control.transfer("offhook", "human")
    assert await scene.all_events() == [DigitReceived("0")]
    assert not scene.asterisk.channels["caller"].stasis


async def test_a_transfer_that_failed_is_forgotten(scene: Scene) -> None:
    scene.asterisk.refuse("POST", "/continue", 500)
    with pytest.raises(AsteriskError):
        await scene.control.transfer("offhook", "human")
    scene.asterisk.take_back("caller")
    assert await scene.all_events() == [TakenBack()]


async def test_hang_up_ends_the_call(scene: Scene) -> None:
    await scene.control.hang_up()
    assert await scene.all_events() == [CallerHungUp(16)]
    assert "caller" not in scene.asterisk.channels


async def test_variables_and_the_dead_man_switch_are_set(scene: Scene) -> None:
    await scene.control.set_variables({"OFFHOOK_STATE": "talking", "OFFHOOK_AGENT": "reception"})
    await scene.control.keep_alive(15)
    assert scene.asterisk.channels["caller"].variables == {
        "OFFHOOK_STATE": "talking",
        "OFFHOOK_AGENT": "reception",
        "TIMEOUT(absolute)": "15",
    }


async def discard(asked: Awaitable[object]) -> None:
    await asked


COMMANDS: dict[str, Callable[[AriCallControl], Awaitable[None]]] = {
    "answer": lambda control: control.answer(),
    "create_leg": lambda control: discard(control.create_leg(a_leg())),
    "send_digits": lambda control: control.send_digits("1"),
    "play": lambda control: control.play("p", "sound:x"),
    "stop_playback": lambda control: control.stop_playback("p"),
    "set_variables": lambda control: control.set_variables({"A": "b"}),
    "keep_alive": lambda control: control.keep_alive(15),
    "transfer": lambda control: control.transfer("offhook", "human"),
    "hang_up": lambda control: control.hang_up(),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
async def test_any_command_to_a_caller_who_left_says_so(
    scene: Scene, command: Callable[[AriCallControl], Awaitable[None]]
) -> None:
    scene.asterisk.hang_up("caller")
    await scene.all_events()
    with pytest.raises(CallGone):
        await command(scene.control)


# What is asked for in these names the leg, or the playback, and not the caller.
UNNOTICED = {name: command for name, command in COMMANDS.items() if name not in ("create_leg", "stop_playback")}


@pytest.mark.parametrize("command", UNNOTICED.values(), ids=UNNOTICED.keys())
async def test_any_command_to_a_caller_who_left_unnoticed_says_so(
    scene: Scene, command: Callable[[AriCallControl], Awaitable[None]]
) -> None:
    scene.asterisk.hang_up("caller", told=False)
    with pytest.raises(CallGone):
        await command(scene.control)


MOMENTS = [
    (Topology.BRIDGED, "/externalMedia"),
    (Topology.BRIDGED, f"/{BRIDGE}"),
    (Topology.BRIDGED, "/addChannel"),
    (Topology.WHISPERED, f"/{SNOOP}"),
    (Topology.WHISPERED, "/silence"),
    (Topology.WHISPERED, "/addChannel"),
    (Topology.LISTENING, f"/{SNOOP}"),
    (Topology.LISTENING, "/addChannel"),
]


@pytest.mark.parametrize(("topology", "moment"), MOMENTS)
async def test_a_caller_who_hangs_up_during_any_request_is_gone(scene: Scene, topology: Topology, moment: str) -> None:
    """The far end hangs up while Asterisk has the request in hand."""

    async def hang_up_now(request: Recorded) -> None:
        if request.path.endswith(moment) and "caller" in scene.asterisk.channels:
            scene.asterisk.hang_up("caller")

    scene.asterisk.before_answering = hang_up_now
    with pytest.raises(CallGone):
        await scene.attach(topology)
    assert await scene.all_events() == [CallerHungUp(16)]
    await scene.control.close()
    assert scene.asterisk.channels == {}
    assert scene.asterisk.bridges == {}


async def test_a_caller_who_hangs_up_while_the_leg_is_awaited_is_gone(scene: Scene) -> None:
    asked = asyncio.Event()

    async def watch(request: Recorded) -> None:
        if "externalMedia" in request.raw_path:
            asked.set()

    scene.asterisk.before_answering = watch
    scene.asterisk.refuse("POST", "externalMedia", 200, b"{}")  # accepted, and then nothing comes
    attaching = asyncio.create_task(scene.attach())
    await asked.wait()
    scene.asterisk.hang_up("caller")
    with pytest.raises(CallGone):
        await attaching


async def test_a_refusal_that_foretells_the_hangup_is_a_caller_gone(scene: Scene) -> None:
    # So a real Asterisk refuses a variable for a channel that is on its way out, before it says so.
    scene.asterisk.refuse("POST", "/variable", 400, "Failed to execute function")
    setting = asyncio.create_task(scene.control.keep_alive(15))
    await scene.asterisk.wait_until(lambda: "/ari/channels/caller/variable" in scene.asterisk.paths("POST"))
    await asyncio.sleep(0.05)
    scene.asterisk.hang_up("caller")
    with pytest.raises(CallGone):
        await setting


async def test_a_refusal_of_the_same_kind_for_a_caller_who_stays_is_an_error(scene: Scene) -> None:
    scene.asterisk.refuse("POST", "/variable", 400, "Failed to execute function")
    with pytest.raises(AsteriskError, match="Failed to execute function"):
        await scene.control.keep_alive(15)
    await scene.control.answer()


async def test_close_releases_leg_and_bridge_once(scene: Scene) -> None:
    await scene.attach()
    await scene.control.close()
    await scene.control.close()
    assert list(scene.asterisk.channels) == ["caller"]
    assert scene.asterisk.bridges == {}
    assert sorted(scene.asterisk.paths("DELETE")) == [f"/ari/bridges/{BRIDGE}", f"/ari/channels/{LEG}"]
    assert await scene.all_events() == []


async def test_close_finds_nothing_left_and_is_content(scene: Scene) -> None:
    await scene.attach()
    scene.asterisk.hang_up(LEG)
    scene.asterisk.bridges.clear()
    await scene.control.close()


async def test_close_releases_the_bridge_even_if_the_leg_will_not_go(scene: Scene) -> None:
    await scene.attach()
    scene.asterisk.refuse("DELETE", "/channels/", 500)
    await scene.control.close()
    assert scene.asterisk.bridges == {}


async def test_a_call_that_does_not_read_keeps_its_last_word(scene: Scene) -> None:
    for _ in range(200):
        scene.asterisk.press("caller", "5")
    scene.asterisk.hang_up("caller")
    with pytest.raises(CallGone):  # by now all of it has arrived, for the fake sends events before answers
        await scene.control.answer()
    events = await scene.all_events()
    assert events[-1] == CallerHungUp(16)
    assert len(events) < 100


async def test_the_same_channel_may_come_again(scene: Scene) -> None:
    scene.asterisk.take_back("caller")
    await scene.all_events()
    await scene.control.close()
    ari = await Ari.open(AriSettings(scene.asterisk.url, scene.asterisk.username, scene.asterisk.password))
    scene.asterisk.enter("caller")
    await ari.answer("caller")
    assert scene.asterisk.channels["caller"].state == "Up"
    await ari.close()

"""One caller's channel, commanded against an Asterisk that answers, refuses, or loses the caller meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import pytest

from ai_engine.ari.call_control import BRIDGE_PREFIX, MEDIA_PREFIX, AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack
from ai_engine.errors import AsteriskError, CallGone
from ai_engine.session.ports import CallControl
from tests.fakes.fake_asterisk import FakeAsterisk, Recorded

UUID_1 = UUID("00000000-0000-4000-8000-000000000001")
LEG = f"{MEDIA_PREFIX}{UUID_1}"
BRIDGE = f"{BRIDGE_PREFIX}{UUID_1}"
ADDRESS = "127.0.0.1:8090"

pytestmark = pytest.mark.usefixtures("scene")


@dataclass
class Scene:
    """A caller in the application, and both ends of it."""

    asterisk: FakeAsterisk
    app: AriApp
    control: AriCallControl

    async def attach(self, format: AudioFormat = SLIN8) -> None:
        await self.control.attach_media(UUID_1, ADDRESS, format)

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


@pytest.mark.parametrize(("format", "codec"), [(SLIN8, "slin"), (SLIN16, "slin16")])
async def test_media_is_bridged_with_the_caller(scene: Scene, format: AudioFormat, codec: str) -> None:
    await scene.attach(format)
    assert scene.asterisk.bridges[BRIDGE].channels == ["caller", LEG]
    leg = scene.asterisk.channels[LEG].variables
    assert (leg["data"], leg["external_host"], leg["format"]) == (str(UUID_1), ADDRESS, codec)


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


async def test_our_own_leg_is_not_offered_as_a_call(scene: Scene) -> None:
    await scene.attach()
    # The events of the leg came before the answers; a call offered for it would have been deleted as a stray.
    assert LEG in scene.asterisk.channels
    assert scene.asterisk.paths("DELETE") == []


async def test_a_leg_that_cannot_connect_is_an_error(scene: Scene) -> None:
    scene.asterisk.leg_arrives = False
    with pytest.raises(AsteriskError, match=ADDRESS):
        await scene.attach()
    assert not isinstance(scene.control, CallGone)
    assert scene.asterisk.bridges == {}


async def test_a_refused_leg_is_an_error(scene: Scene) -> None:
    scene.asterisk.refuse("POST", "externalMedia", 500, "Allocation failed")
    with pytest.raises(AsteriskError, match="Allocation failed"):
        await scene.attach()


async def test_a_leg_that_leaves_later_is_media_lost(scene: Scene) -> None:
    await scene.attach()
    scene.asterisk.hang_up(LEG)
    events = scene.control.events()
    assert isinstance(await anext(events), MediaLost)
    scene.asterisk.hang_up("caller")
    assert [event async for event in events] == [CallerHungUp(16)]


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


COMMANDS: dict[str, Callable[[AriCallControl], Awaitable[None]]] = {
    "answer": lambda control: control.answer(),
    "attach_media": lambda control: control.attach_media(UUID_1, ADDRESS, SLIN8),
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


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
async def test_any_command_to_a_caller_who_left_unnoticed_says_so(
    scene: Scene, command: Callable[[AriCallControl], Awaitable[None]]
) -> None:
    scene.asterisk.hang_up("caller", told=False)
    with pytest.raises(CallGone):
        await command(scene.control)


@pytest.mark.parametrize("moment", ["/externalMedia", f"/{BRIDGE}", "/addChannel"])
async def test_a_caller_who_hangs_up_during_any_request_is_gone(scene: Scene, moment: str) -> None:
    """The far end hangs up while Asterisk has the request in hand."""

    async def hang_up_now(request: Recorded) -> None:
        if request.path.endswith(moment) and "caller" in scene.asterisk.channels:
            scene.asterisk.hang_up("caller")

    scene.asterisk.before_answering = hang_up_now
    with pytest.raises(CallGone):
        await scene.attach()
    assert await scene.all_events() == [CallerHungUp(16)]


async def test_a_caller_who_hangs_up_while_the_leg_is_awaited_is_gone(scene: Scene) -> None:
    asked = asyncio.Event()

    async def watch(request: Recorded) -> None:
        if "externalMedia" in request.raw_path:
            asked.set()

    scene.asterisk.before_answering = watch
    scene.asterisk.refuse("POST", "externalMedia", 200, "{}")  # accepted, and then nothing comes
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
    assert scene.asterisk.paths("DELETE") == [f"/ari/channels/{LEG}", f"/ari/bridges/{BRIDGE}"]
    assert await scene.all_events() == []


async def test_close_finds_nothing_left_and_is_content(scene: Scene) -> None:
    await scene.attach()
    scene.asterisk.hang_up(LEG)
    scene.asterisk.bridges.clear()
    await scene.control.close()


async def test_close_releases_the_bridge_even_if_the_leg_will_not_go(scene: Scene) -> None:
    await scene.attach()
    scene.asterisk.refuse("DELETE", "/channels/", 500)
    with pytest.raises(AsteriskError):
        await scene.control.close()
    assert scene.asterisk.bridges == {}


async def test_close_after_a_cancelled_attach_leaves_no_leg(scene: Scene) -> None:
    asked = asyncio.Event()

    async def watch(request: Recorded) -> None:
        if BRIDGE in request.raw_path and request.method == "POST":
            asked.set()
            await asyncio.Event().wait()

    scene.asterisk.before_answering = watch
    attaching = asyncio.create_task(scene.attach())
    await asked.wait()
    attaching.cancel()
    await asyncio.wait([attaching])
    await scene.control.close()
    assert list(scene.asterisk.channels) == ["caller"]


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

"""Calls that arrive as media streams: sound in both directions, marks, and every way they end."""

import asyncio
import json
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

import pytest

from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.audio.g711 import ulaw_to_pcm
from ai_engine.audio.vad import VadSettings, VoiceActivity
from ai_engine.call.actions import EndReason, Prompt
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack, TransferAsked
from ai_engine.errors import AsteriskError, CallGone, PeerError, ProviderError
from ai_engine.jobs.ports import Assignment, Attempt, CannotCall
from ai_engine.protocol.media_streams import (
    Event,
    KeyPressed,
    MarkReturned,
    SoundReceived,
    StreamStarted,
    StreamStopped,
)
from ai_engine.session.call_session import CallSession
from ai_engine.session.media_path import Downstream, Way
from ai_engine.session.ports import Briefing, CallControl, Invitation, Media, Topology, Transport
from ai_engine.session.roster import Candidate
from ai_engine.session.settings import SessionSettings
from ai_engine.session.toolbox import Toolbox
from ai_engine.transports import media_stream_connection
from ai_engine.transports.media_stream import (
    MediaStreamCall,
    MediaStreamInvitation,
    MediaStreamMedia,
    MediaStreamTransport,
)
from ai_engine.transports.media_stream_connection import MediaStreamConnection
from ai_engine.transports.media_stream_door import Bridge, MediaStreamDoor
from ai_engine.transports.wheel import TimerWheel
from tests.fakes.call_parts import LoudnessScorer, ScriptedAgent, Witness
from tests.fakes.line import RecordingLine
from tests.waiting import until

SID = "MZ1"
ATTEMPT = Attempt("c0ffee", 2, "+14155550123", "secret", Assignment("c0ffee", 2, "front-desk"))


def fits_its_ports(
    call: MediaStreamCall, transport: MediaStreamTransport, invitation: MediaStreamInvitation, media: MediaStreamMedia
) -> tuple[CallControl, Transport, Invitation, Media]:
    """For mypy."""
    return call, transport, invitation, media


def tone(number: int, frames: int = 1) -> bytes:
    """Mu-law that PCM and back leaves as it is."""
    return bytes([0x80 + number % 100]) * (160 * frames)


def voice(number: int) -> bytes:
    return ulaw_to_pcm(tone(number))


class Telephone:
    """The network's end of a stream: plays what it is sent in its own time, and says when it has."""

    def __init__(self) -> None:
        self.hears: Callable[[Event], None] = lambda _: None
        """The engine's end."""
        self.sent: list[dict[str, object]] = []
        self.codes: list[int] = []
        self.plays = True
        """False: marks do not come back."""
        self._free_at = 0.0
        self._marks: dict[str, asyncio.TimerHandle] = {}

    @property
    def events(self) -> list[str]:
        return [str(message["event"]) for message in self.sent]

    @property
    def sound(self) -> bytes:
        return b"".join(b64decode(message["media"]["payload"]) for message in self.sent if message["event"] == "media")  # type: ignore[index]

    def send(self, text: str) -> None:
        loop = asyncio.get_running_loop()
        message = json.loads(text)
        assert message["streamSid"] == SID
        self.sent.append(message)
        match message:
            case {"event": "media", "media": {"payload": payload}}:
                self._free_at = max(loop.time(), self._free_at) + len(b64decode(payload)) / 8000
            case {"event": "mark", "mark": {"name": name}} if self.plays:
                due = max(loop.time(), self._free_at)
                self._marks[name] = loop.call_at(due, self._come_to, name)
            case {"event": "clear"}:
                self._free_at = 0.0
                for name, timer in list(self._marks.items()):
                    timer.cancel()
                    loop.call_soon(self._come_to, name)

    def close(self, code: int) -> None:
        self.codes.append(code)

    def _come_to(self, name: str) -> None:
        self._marks.pop(name, None)
        self.hears(MarkReturned(name))


class Scene:
    """A call, and who is at the other end."""

    def __init__(self) -> None:
        self.telephone = Telephone()
        self.counters: Counter[str] = Counter()
        self.wheel = TimerWheel()
        self.connection = MediaStreamConnection(
            SID, self.telephone.send, self.telephone.close, self.wheel, self.counters
        )
        self.telephone.hears = self.connection.received
        self.call = MediaStreamCall(self.connection, ATTEMPT)

    async def media(self, line: RecordingLine | None = None) -> Media:
        invitation = self.call.transport.invite(SLIN8)
        assert await self.call.create_leg(invitation.leg) == {}
        media = await invitation.connected({})
        await self.call.join(self.call.transport.topology)
        if line is not None:
            media.attach(line)
        return media

    async def events(self) -> list[CallEvent]:
        async with asyncio.timeout(5):
            return [event async for event in self.call.events()]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.call.close()
    assert scene.wheel.seats == 0


# -- a call --------------------------------------------------------------------------------------------------


async def test_what_is_known_of_it(scene: Scene) -> None:
    call = scene.call
    assert (call.channel_id, call.caller_number, call.dialled) == ("c0ffee-2", "+14155550123", "+14155550123")
    assert (call.assignment, dict(call.variables)) == (ATTEMPT.assignment, {"agent": "front-desk"})
    assert (call.format, call.transport.name, call.transport.topology) == (SLIN8, "media_stream", Topology.BRIDGED)


async def test_talk_goes_both_ways_and_keys_are_events(scene: Scene) -> None:
    line = RecordingLine(voice(5), voice(6), voice(7))
    await scene.call.answer()
    await scene.call.keep_alive(15)
    await scene.call.set_variables({"OFFHOOK_STATE": "talking"})
    await scene.media(line)
    scene.connection.received(SoundReceived(tone(1), 0))
    scene.connection.received(KeyPressed("5"))
    scene.connection.received(SoundReceived(tone(2), 20))
    assert line.heard == [voice(1), voice(2)]
    await until(lambda: len(scene.telephone.sound) == 480)
    assert scene.telephone.sound == tone(5) + tone(6) + tone(7)
    scene.connection.received(StreamStopped())
    assert await scene.events() == [DigitReceived("5"), CallerHungUp()]
    assert (line.digits, line.lost) == ([], [])


async def test_nothing_is_sent_where_nobody_speaks(scene: Scene) -> None:
    line = RecordingLine()
    await scene.media(line)
    await until(lambda: line.asked >= 3)
    assert scene.telephone.sent == []


async def test_speech_begins_with_a_burst_and_goes_on_in_its_own_time(scene: Scene) -> None:
    line = RecordingLine(*map(voice, range(1, 31)))
    await scene.media(line)
    await until(lambda: scene.telephone.sent)
    assert "clear" not in scene.telephone.events, "there is nothing to forget"
    assert scene.telephone.events[:2] == ["mark", "media"]
    assert len(scene.telephone.sound) == 11 * 160, "the frame due now, and 200 ms"
    await until(lambda: not line.to_send)
    assert scene.telephone.sound == b"".join(map(tone, range(1, 31)))
    assert scene.telephone.events.count("mark") >= 4


async def test_a_stop_takes_back_what_is_not_due(scene: Scene) -> None:
    line = RecordingLine(*map(voice, range(1, 100)))
    media = await scene.media(line)
    await until(lambda: line.asked >= 3)
    line.to_send = [voice(99)]  # as it dies away
    media.flush()
    assert scene.telephone.events[-2:] == ["clear", "media"]
    assert scene.telephone.sound.endswith(tone(99))
    await until(lambda: not line.to_send)
    again = len(scene.telephone.sound)
    await until(lambda: line.asked >= 8)
    assert len(scene.telephone.sound) == again
    assert scene.telephone.events.count("clear") == 1


async def test_marks_tell_how_late_we_are(scene: Scene) -> None:
    scene.telephone.plays = False
    line = RecordingLine(*map(voice, range(1, 100)))
    media = await scene.media(line)
    assert media.lag_ms == 0.0
    await until(lambda: line.asked >= 5)
    scene.connection.received(MarkReturned("1"))
    assert 60 <= media.lag_ms < 1000, "it was due with the first frame, and came with the fifth"
    before = media.lag_ms
    for name in ("1", "17", "", "x" * 300, "١"):
        scene.connection.received(MarkReturned(name))
    assert media.lag_ms == before


# -- what the caller says ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 159, 160, 161, 800, 4096])
async def test_sound_in_pieces_of_any_size_is_cut_to_frames(scene: Scene, size: int) -> None:
    line = RecordingLine()
    await scene.media(line)
    whole = b"".join(tone(number) for number in range(60))
    for piece in _pieces(whole, size):
        scene.connection.received(SoundReceived(piece))
    assert line.heard == [voice(number) for number in range(60)]


async def test_holes_are_filled_but_not_long_ones(scene: Scene) -> None:
    line = RecordingLine()
    await scene.media(line)
    for timestamp in (0, 20, 60, 1080, 1100):
        scene.connection.received(SoundReceived(tone(1), timestamp))
    silence = SLIN8.silence()
    assert line.heard == [voice(1), voice(1), silence, voice(1), silence, silence, voice(1), voice(1)]
    assert scene.counters["filled_frames"] == 3


async def test_what_comes_out_of_order_is_late(scene: Scene) -> None:
    line = RecordingLine()
    await scene.media(line)
    for number, timestamp in enumerate((100, 120, 60, 140)):
        scene.connection.received(SoundReceived(tone(number), timestamp))
    assert line.heard == [voice(0), voice(1), voice(3)]
    assert scene.counters["late_sounds"] == 1


async def test_a_clock_that_stands_still_is_none(scene: Scene) -> None:
    line = RecordingLine()
    await scene.media(line)
    for _ in range(3):
        scene.connection.received(SoundReceived(tone(1), 0))
    assert line.heard == [voice(1)] * 3


# -- how it ends ---------------------------------------------------------------------------------------------


async def test_the_caller_hangs_up(scene: Scene) -> None:
    await scene.media(RecordingLine())
    scene.connection.ended("closed by the peer (1006)")
    scene.connection.ended("again")
    assert await scene.events() == [CallerHungUp()]
    for gone in (scene.call.answer(), scene.call.hang_up(), scene.call.transfer("", ""), scene.call.play("1", "x")):
        with pytest.raises(CallGone):
            await gone
    assert scene.wheel.seats == 0


async def test_we_hang_up_when_the_last_words_have_been_heard(scene: Scene) -> None:
    line = RecordingLine(*map(voice, range(1, 11)))
    await scene.media(line)
    await until(lambda: scene.telephone.sound.endswith(tone(10)))
    hanging_up = asyncio.create_task(scene.call.hang_up())
    await until(lambda: scene.telephone.sent[-1].get("mark") == {"name": "last"})
    assert scene.telephone.codes == []
    await hanging_up
    assert scene.telephone.codes == [1000]


async def test_we_do_not_wait_for_ever_to_hang_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_stream_connection, "_LAST_SECONDS", 0.05)
    scene.telephone.plays = False
    await scene.media(RecordingLine(voice(1)))
    await until(lambda: scene.telephone.sound)
    await scene.call.hang_up()
    assert scene.telephone.codes == [1000]


async def test_the_caller_hangs_up_while_we_wait_to(scene: Scene) -> None:
    scene.telephone.plays = False
    await scene.media(RecordingLine(voice(1)))
    await until(lambda: scene.telephone.sound)
    hanging_up = asyncio.create_task(scene.call.hang_up())
    await until(lambda: scene.telephone.events[-1] == "mark")
    scene.connection.ended("gone")
    async with asyncio.timeout(1):
        await hanging_up


async def test_who_never_heard_a_word_is_not_waited_for(scene: Scene) -> None:
    scene.telephone.plays = False
    await scene.call.hang_up()
    assert (scene.telephone.sent, scene.telephone.codes) == ([], [1000])


async def test_a_release_ends_the_call(scene: Scene) -> None:
    await scene.media(RecordingLine())
    await scene.call.close()
    await scene.call.close()
    assert scene.telephone.codes[0] == 1000
    assert await scene.events() == []


async def test_media_that_is_closed_leaves_the_call(scene: Scene) -> None:
    line = RecordingLine(*map(voice, range(1, 100)))
    media = await scene.media(line)
    await until(lambda: scene.telephone.sound)
    media.close()
    assert scene.telephone.events[-2:].count("clear") == 1
    asked, heard = line.asked, list(line.heard)
    scene.connection.received(SoundReceived(tone(1), 0))
    media.attach(line)
    media.flush()
    assert (line.asked, line.heard) == (asked, heard)
    assert scene.telephone.codes == []
    await scene.call.answer()


async def test_a_fault_of_ours_ends_this_call_only(scene: Scene) -> None:
    class Broken(RecordingLine):
        def next_frame(self) -> bytes | None:
            raise ZeroDivisionError

    other = Scene()
    other.wheel = scene.wheel
    line = RecordingLine()
    other.connection._wheel = scene.wheel
    await other.media(line)
    await scene.media(Broken())
    events = await scene.events()
    assert isinstance(events[0], MediaLost)
    assert events[1:] == [TakenBack()]
    assert (scene.telephone.codes, scene.counters["faults"]) == ([1011], 1)
    asked = line.asked
    await until(lambda: line.asked > asked)
    await other.call.close()


async def test_a_call_that_reads_no_events_loses_the_oldest(scene: Scene) -> None:
    for _ in range(200):
        scene.connection.received(KeyPressed("1"))
    scene.connection.received(StreamStopped())
    events = await scene.events()
    assert len(events) < 100
    assert events[-1] == CallerHungUp()


# -- what there is only one of, and what there is not --------------------------------------------------------


async def test_the_stream_can_be_had_once_and_has_one_format(scene: Scene) -> None:
    with pytest.raises(PeerError, match="8000 Hz"):
        await scene.call.transport.invite(SLIN16).connected({})
    with pytest.raises(PeerError, match="one media stream"):
        await scene.call.transport.invite(SLIN8).connected({})


async def test_a_stream_that_is_gone_is_no_way_for_sound(scene: Scene) -> None:
    invitation = scene.call.transport.invite(SLIN8)
    scene.connection.ended("gone")
    with pytest.raises(PeerError, match="gone"):
        await invitation.connected({})


async def test_an_invitation_that_was_withdrawn(scene: Scene) -> None:
    invitation = scene.call.transport.invite(SLIN8)
    invitation.withdraw()
    with pytest.raises(PeerError, match="withdrawn"):
        await invitation.connected({})


async def test_what_needs_asterisk_says_so(scene: Scene) -> None:
    for asked in (
        scene.call.play("1", "sound:x"),
        scene.call.pause_playback("1"),
        scene.call.resume_playback("1"),
        scene.call.stop_playback("1"),
        scene.call.send_digits("1"),
        scene.call.transfer("human", "s"),
    ):
        with pytest.raises(AsteriskError, match="our own Asterisk"):
            await asked
    with pytest.raises(AsteriskError):
        scene.call.consult_leg()


# -- a whole session over it ---------------------------------------------------------------------------------


class Human:
    """Whoever the network knows, or does not get hold of."""

    def __init__(self, scene: Scene) -> None:
        self.asked = asyncio.Event()
        self.answer: Future[None] = Future()
        scene.call = MediaStreamCall(scene.connection, ATTEMPT, self.ask)

    def ask(self) -> "Future[None]":
        self.asked.set()
        return self.answer


async def talk(scene: Scene) -> tuple[ScriptedAgent, Witness, "asyncio.Task[EndReason]"]:
    """A session whose agent has said hello."""
    agent, witness = ScriptedAgent(("Hello.", 100)), Witness()
    session = CallSession(
        control=scene.call,
        ways=[Way(scene.call.transport, Downstream.STREAM)],
        format=SLIN8,
        candidates=[Candidate(agent.provider, lambda: agent)],
        briefing=Briefing("c0ffee", {"name": "front-desk"}, "Hello.", ""),
        tools=Toolbox([]),
        observers=[witness],
        prompts=dict.fromkeys(Prompt, voice(1) * 5),
        ear=VoiceActivity(SLIN8, VadSettings(), LoudnessScorer()),
        settings=SessionSettings(level=None),
        clock=asyncio.get_running_loop().time,
    )
    running = asyncio.create_task(session.run())
    await until(lambda: "media" in scene.telephone.events)
    return agent, witness, running


async def test_a_human_gets_the_caller_when_the_last_words_have_been_heard(scene: Scene) -> None:
    human = Human(scene)
    assert scene.call.reaches_human
    agent, witness, running = await talk(scene)
    agent.reply("I put you through.", 300)
    agent.tell(TransferAsked("asks for a human"))
    async with asyncio.timeout(10):
        await human.asked.wait()
        assert len(scene.telephone.sound) >= (100 + 300) * 8
        assert scene.telephone.sent[-1].get("mark") == {"name": "last"}, "waited until that was heard"
        assert scene.telephone.codes == [], "the stream stands until the network has the callee elsewhere"
        human.answer.set_result(None)
        assert await running is EndReason.TRANSFERRED
    assert witness.ended == [EndReason.TRANSFERRED]
    assert await scene.events() == []


async def test_a_human_who_cannot_be_had_is_said_to_be_none(scene: Scene) -> None:
    human = Human(scene)
    agent, witness, running = await talk(scene)
    human.answer.set_exception(CannotCall("no route"))
    agent.tell(TransferAsked("asks for a human"))
    async with asyncio.timeout(10):
        assert await running is EndReason.GIVEN_UP
    assert not scene.call.reaches_human
    assert scene.telephone.codes[0] == 1000
    assert witness.ended == [EndReason.GIVEN_UP]


async def test_a_caller_who_left_meanwhile_is_gone(scene: Scene) -> None:
    human = Human(scene)
    handing_over = asyncio.create_task(scene.call.transfer("offhook", "human"))
    await human.asked.wait()
    scene.connection.received(StreamStopped())
    human.answer.set_exception(CannotCall("the call is over"))
    with pytest.raises(CallGone):
        await handing_over
    assert await scene.events() == [CallerHungUp()]


async def test_without_a_human_an_agent_that_fails_is_an_apology_and_a_goodbye(scene: Scene) -> None:
    assert not scene.call.reaches_human
    agent, witness, running = await talk(scene)
    agent.fails_to_start = ProviderError("it cannot be had again")
    agent.tell(ProviderError("it died"))
    async with asyncio.timeout(10):
        assert await running is EndReason.GIVEN_UP
    assert scene.telephone.sound.endswith(tone(1, 5)), "the apology was not heard"
    assert scene.telephone.codes[0] == 1000
    assert witness.ended == [EndReason.GIVEN_UP]


# -- from the office's thread --------------------------------------------------------------------------------


@pytest.fixture
def office() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Socket:
    """The office's end of a stream."""

    def __init__(self, door: MediaStreamDoor, office: asyncio.AbstractEventLoop) -> None:
        self.office = office
        self.door = door
        self.sent: list[str] = []
        self.codes: list[int] = []
        self.leg: Bridge | None = None

    async def do(self, work: Callable[[Bridge], None]) -> None:
        async def there() -> None:
            assert self.leg is not None
            work(self.leg)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self.office))

    async def open(self) -> None:
        async def there() -> None:
            self.leg = self.door.open(ATTEMPT, StreamStarted(SID), self.sent.append, self.codes.append)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self.office))


@asynccontextmanager
async def open_door(
    office: asyncio.AbstractEventLoop,
) -> AsyncIterator[tuple[MediaStreamDoor, Socket, list[MediaStreamCall]]]:
    calls: list[MediaStreamCall] = []
    door = MediaStreamDoor(TimerWheel(), calls.append)
    yield door, Socket(door, office), calls
    for call in calls:
        await call.close()


async def media_of(call: MediaStreamCall, line: RecordingLine) -> Media:
    media = await call.transport.invite(SLIN8).connected({})
    media.attach(line)
    return media


async def test_a_stream_crosses_to_the_call_loop_and_back(office: asyncio.AbstractEventLoop) -> None:
    async with open_door(office) as (door, socket, calls):
        await socket.open()
        await until(lambda: calls)
        line = RecordingLine(voice(9))
        await media_of(calls[0], line)
        for number in range(5):
            await socket.do(lambda leg, n=number: leg.received(SoundReceived(tone(n), n * 20)))  # type: ignore[misc]
        await socket.do(lambda leg: leg.received(KeyPressed("#")))
        await until(lambda: len(line.heard) == 5)
        assert line.heard == [voice(number) for number in range(5)]
        await until(lambda: any('"media"' in text for text in socket.sent))
        await socket.do(lambda leg: leg.received(StreamStopped()))
        await socket.do(lambda leg: leg.ended("stopped"))
        assert [event async for event in calls[0].events()] == [DigitReceived("#"), CallerHungUp()]
        assert door.counters["streams"] == 1


async def test_every_event_arrives_however_the_threads_meet(office: asyncio.AbstractEventLoop) -> None:
    async with open_door(office) as (_, socket, calls):
        await socket.open()
        await until(lambda: calls)
        for _ in range(50):
            await socket.do(lambda leg: leg.received(KeyPressed("1")))
        seen = 0
        async with asyncio.timeout(5):
            async for _ in calls[0].events():
                seen += 1
                if seen == 50:
                    break


async def test_after_a_stall_old_sound_is_not_heard(office: asyncio.AbstractEventLoop) -> None:
    async with open_door(office) as (door, socket, calls):
        await socket.open()
        await until(lambda: calls)
        line = RecordingLine()
        await media_of(calls[0], line)
        bridge = socket.leg
        assert bridge is not None
        for number in range(60):  # this thread is the call loop: it stands still meanwhile
            bridge.received(SoundReceived(tone(number), number * 20))
            if number == 30:
                bridge.received(KeyPressed("7"))
        await until(lambda: line.heard)
        assert [frame for frame in line.heard if frame != SLIN8.silence()] == [voice(n) for n in range(50, 60)]
        assert door.counters["stale_sounds"] == 50
        async for event in calls[0].events():
            assert event == DigitReceived("7")
            break


async def test_one_long_sound_is_not_stale(office: asyncio.AbstractEventLoop) -> None:
    async with open_door(office) as (door, socket, calls):
        await socket.open()
        await until(lambda: calls)
        line = RecordingLine()
        await media_of(calls[0], line)
        await socket.do(lambda leg: leg.received(SoundReceived(tone(3, 50))))
        await until(lambda: len(line.heard) == 50)
        assert door.counters["stale_sounds"] == 0


async def test_a_call_loop_that_stands_still_costs_no_memory(office: asyncio.AbstractEventLoop) -> None:
    async with open_door(office) as (door, socket, calls):
        await socket.open()
        await until(lambda: calls)
        bridge = socket.leg
        assert bridge is not None
        for _ in range(3000):
            bridge.received(SoundReceived(tone(1)))
        assert socket.codes == []
        for _ in range(3000):
            bridge.received(KeyPressed("1"))
        assert socket.codes[0] == 1008
        assert door.counters["stalled_sounds"] == 2500
        assert len(bridge._waiting) <= 1000


async def test_a_door_that_is_closed(office: asyncio.AbstractEventLoop) -> None:
    async with open_door(office) as (door, socket, _):
        door.close()
        with pytest.raises(PeerError, match="no more calls"):
            await socket.open()


async def test_a_call_loop_that_is_gone() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    bridge = Bridge(loop, lambda _: None, Counter())
    bridge.received(SoundReceived(b""))
    bridge.ended("gone")
    assert not bridge.cross(lambda: None)


async def test_who_cannot_hold_a_call_closes_it(office: asyncio.AbstractEventLoop) -> None:
    def refuse(_: MediaStreamCall) -> None:
        raise ZeroDivisionError

    door = MediaStreamDoor(TimerWheel(), refuse)
    socket = Socket(door, office)
    await socket.open()
    await until(lambda: socket.codes)
    assert (socket.codes, door.counters["faults"]) == ([1011], 1)


def _pieces(sound: bytes, size: int) -> Iterator[bytes]:
    return (sound[start : start + size] for start in range(0, len(sound), size))

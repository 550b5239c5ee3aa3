"""The ports of a call session, scripted: what it asks for is written down, what happens is up to the test."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.call.events import CallEvent, ReplyAudio, ReplyBegan, ReplyEnded, ReplyId, ReplyText
from ai_engine.errors import CallGone, MediaError, PeerError, ProviderError
from ai_engine.jobs.ports import Assignment
from ai_engine.session.media_path import Downstream, Way
from ai_engine.session.ports import Briefing, ConsultLeg, Leg, Line, Outcome, Topology

VOICE = b"\x10\x27" * SLIN8.frame_samples
"""A loud frame at 8 kHz."""
QUIET = SLIN8.silence()


class FakeControl:
    """Implements ``CallControl``."""

    channel_id = "chan-1"
    caller_number = "1000"
    dialled = "100"
    variables: Mapping[str, str] = {"agent": "reception"}
    assignment: Assignment | None = None

    def __init__(self, *, reaches_human: bool = True) -> None:
        self.reaches_human = reaches_human
        self.done: list[str] = []
        self.shown: dict[str, str] = {}
        self.kept_alive = 0
        self.fails: dict[str, Exception] = {}
        self.playing: list[str] = []
        """Ids of playbacks, the one that is heard first."""
        self.human = FakeConsultLeg()
        """Whoever is asked to take the call."""
        self._events: asyncio.Queue[CallEvent | None] = asyncio.Queue()

    def tell(self, event: CallEvent) -> None:
        self._events.put_nowait(event)

    async def _do(self, what: str) -> None:
        if "close" in self.done and what != "close":
            raise CallGone("closed before")
        self.done.append(what)
        if what in self.fails:
            raise self.fails[what]

    async def answer(self) -> None:
        await self._do("answer")

    async def create_leg(self, leg: Leg) -> Mapping[str, str]:
        await self._do(f"create_leg {leg.transport}")
        return {}

    async def join(self, topology: Topology) -> None:
        await self._do(f"join {topology}")

    async def drop_leg(self) -> None:
        self.done.append("drop_leg")
        await asyncio.sleep(0.002)

    async def play(self, playback_id: str, uri: str) -> None:
        await self._do(f"play {uri}")
        self.playing.append(playback_id)

    async def pause_playback(self, playback_id: str) -> None:
        await self._do("pause")

    async def resume_playback(self, playback_id: str) -> None:
        await self._do("resume")

    async def stop_playback(self, playback_id: str) -> None:
        await self._do("stop")

    async def send_digits(self, digits: str) -> None:
        await self._do(f"send_digits {digits}")

    async def set_variables(self, values: Mapping[str, str]) -> None:
        self.shown |= values

    async def keep_alive(self, seconds: int) -> None:
        self.kept_alive += 1

    async def transfer(self, context: str, extension: str) -> None:
        await self._do(f"transfer {context},{extension}")

    def consult_leg(self) -> ConsultLeg:
        if "consult_leg" in self.fails:
            raise self.fails["consult_leg"]
        return self.human

    async def arrange_meeting(self, leg: ConsultLeg) -> tuple[str, str]:
        await self._do("arrange_meeting")
        return "attended", "join"

    async def hang_up(self) -> None:
        await self._do("hang_up")

    async def events(self) -> AsyncIterator[CallEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        await self._do("close")


class FakeConsultLeg:
    """Implements ``ConsultLeg``: rings until ``settle`` says what came of it."""

    def __init__(self) -> None:
        self.rang: tuple[str, str, float] | None = None
        self.heard: list[str] = []
        self.hung_up = 0
        self._settled: asyncio.Future[Outcome | Exception | None] = asyncio.get_running_loop().create_future()
        self._keys: asyncio.Queue[str | None] = asyncio.Queue()

    def settle(self, outcome: Outcome | Exception | None) -> None:
        """They answer (None), or do not."""
        self._settled.set_result(outcome)

    def press(self, key: str | None) -> None:
        """None: they hang up."""
        self._keys.put_nowait(key)

    async def ring(self, context: str, extension: str, seconds: float) -> Outcome | None:
        self.rang = context, extension, seconds
        outcome = await self._settled
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def play(self, uri: str) -> None:
        self.heard.append(uri)

    async def key(self) -> str | None:
        return await self._keys.get()

    async def hang_up(self) -> None:
        self.hung_up += 1


class FakeMedia:
    """Implements ``Media``; ``run`` is the metronome and the phone in one."""

    format = SLIN8
    transport = "fake"

    def __init__(self) -> None:
        self.line: Line | None = None
        self.sent: list[bytes | None] = []
        self.closed = False
        self.flushed = 0
        self.lag_ms = 0.0

    def attach(self, line: Line) -> None:
        self.line = line

    def flush(self) -> None:
        self.flushed += 1

    def close(self) -> None:
        self.closed = True

    async def run(self, ms: int, caller: bytes | None = QUIET) -> None:
        """Let ``ms`` go by with the caller sounding like ``caller`` (None: the phone sends nothing)."""
        for _ in range(ms // 20):
            if self.line is not None and not self.closed:
                if caller is not None:
                    self.line.frame_received(caller)
                self.sent.append(self.line.next_frame())
            await asyncio.sleep(0.02)

    def heard_ms(self) -> int:
        """How much agent sound the caller got."""
        return 20 * sum(frame is not None and any(frame) for frame in self.sent)


class ScriptedAgent:
    """Implements ``Agent``: answers every turn with the next of ``replies`` (text, milliseconds)."""

    provider = "scripted"
    patience_seconds = 0.0
    input_format = SLIN8
    output_format = SLIN8

    def __init__(self, *replies: tuple[str, int]) -> None:
        self.replies = list(replies)
        self.heard = 0
        self.told: list[str] = []
        self.briefings: list[Briefing] = []
        self.interrupted: list[tuple[ReplyId, float]] = []
        self.fails_to_start: ProviderError | None = None
        self.start_seconds = 0.0
        self.takes_no_advice = ""
        """Why not."""
        self.closed = 0
        self._next = 0
        self._events: asyncio.Queue[CallEvent | ProviderError] = asyncio.Queue()

    def tell(self, event: CallEvent | ProviderError) -> None:
        self._events.put_nowait(event)

    def reply(self, text: str, ms: int, *, ends: bool = True) -> ReplyId:
        self._next += 1
        reply = ReplyId(self._next)
        self.tell(ReplyBegan(reply))
        self.tell(ReplyText(reply, text))
        self.tell(ReplyAudio(reply, VOICE * (ms // 20)))
        if ends:
            self.tell(ReplyEnded(reply))
        return reply

    async def start(self, briefing: Briefing) -> None:
        self.briefings.append(briefing)
        await asyncio.sleep(self.start_seconds)
        if self.fails_to_start is not None:
            raise self.fails_to_start

    def _answer(self) -> None:
        if self.replies:
            self.reply(*self.replies.pop(0))

    def greet(self) -> None:
        self.told.append("greet")
        self._answer()

    def respond(self, text: str) -> None:
        self.told.append(f"respond {text}")
        self._answer()

    def hear(self, pcm: bytes) -> None:
        self.heard += 1

    def caller_spoke(self) -> None:
        self.told.append("spoke")

    def caller_paused(self, *, brief: bool = False) -> None:
        self.told.append("paused briefly" if brief else "paused")
        if not brief:
            self._answer()

    def caller_dismissed(self) -> None:
        self.told.append("dismissed")

    def digit(self, digit: str) -> None:
        self.told.append(f"digit {digit}")

    def nudge(self, *, last: bool = False) -> None:
        self.told.append("last nudge" if last else "nudge")
        self._answer()

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        self.interrupted.append((reply, heard_ms))

    def advise(self, text: str) -> str:
        if self.takes_no_advice:
            return self.takes_no_advice
        self.told.append(f"advise {text}")
        return ""

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool = False) -> None:
        self.told.append(f"tool {id} {result['ok']}{' last' * last}")

    async def events(self) -> AsyncIterator[CallEvent]:
        while True:
            event = await self._events.get()
            if isinstance(event, ProviderError):
                raise event
            yield event

    async def close(self) -> None:
        self.closed += 1


class Witness:
    """Implements ``Observer``."""

    def __init__(self) -> None:
        self.events: list[CallEvent] = []
        self.ended: list[str] = []
        self.frame_count = 0

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None:
        self.facts = facts

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        self.events.append(event)

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        self.frame_count += 1

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        self.lines = lines

    def call_ended(self, call_id: str, reason: str, now: float) -> None:
        self.ended.append(reason)

    def saw(self, kind: type[CallEvent]) -> list[CallEvent]:
        return [event for event in self.events if isinstance(event, kind)]


class LoudnessScorer:
    """Speech is what is loud."""

    def is_speech(self, frame: bytes) -> bool:
        return any(frame)


class FakeTransport:
    """Implements ``Transport``: gives ``media`` one after the other; an error in their place is raised, None: nobody
    connects."""

    topology = Topology.BRIDGED

    def __init__(self, *media: FakeMedia | Exception | None, name: str = "fake") -> None:
        self.name = name
        self.media = list(media)
        self.withdrawn = 0

    def invite(self, format: AudioFormat) -> "FakeInvitation":
        return FakeInvitation(self, self.media.pop(0) if self.media else None)


class FakeInvitation:
    """Implements ``Invitation``."""

    def __init__(self, transport: FakeTransport, media: FakeMedia | Exception | None) -> None:
        self.leg = Leg(UUID(int=7), "slin", "127.0.0.1:8090", "audiosocket", transport.name)
        self._transport = transport
        self._media = media

    async def connected(self, facts: Mapping[str, str]) -> FakeMedia:
        if isinstance(self._media, Exception):
            raise self._media
        if self._media is None:
            await asyncio.Event().wait()
            raise PeerError("not reached")
        return self._media

    def withdraw(self) -> None:
        self._transport.withdrawn += 1


class FakeStore:
    """Implements ``SoundStore``."""

    def __init__(self) -> None:
        self.sounds: dict[str, bytes] = {}
        self.put_ms: list[float] = []
        self.full = False

    async def put(self, name: str, pcm: bytes, format: AudioFormat) -> str:
        if self.full:
            raise MediaError("no space left")
        uri = f"sound:/sounds/{name}"
        self.sounds[uri] = pcm
        self.put_ms.append(format.ms(len(pcm)))
        return uri

    def remove(self, uri: str) -> None:
        self.sounds.pop(uri, None)


def stream_over(*transports: FakeTransport) -> list[Way]:
    """Ways that speak frame by frame."""
    return [Way(transport, Downstream.STREAM) for transport in transports]


GONE = CallGone("hung up")

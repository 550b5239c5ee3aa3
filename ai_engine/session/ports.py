"""The doors of the hall: what a call session needs from the adapters around it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallEvent, ReplyId
from ai_engine.call.transcript import Speaker
from ai_engine.jobs.ports import Assignment
from ai_engine.remote.http import SharedHttp


class Line(Protocol):
    """The session as its media transport sees it. All methods are called on the call loop and return at once."""

    def next_frame(self) -> bytes | None:
        """The frame due now in the transport's format, or None for silence. Asked exactly every 20 ms."""
        ...

    def upcoming(self, frames: int) -> Sequence[bytes]:
        """Up to ``frames`` frames that fall due after the last one of ``next_frame``, as far as they are made.

        For a transport on which Asterisk keeps the time: what it is sent early it is sent from here, and each of these
        is still given by ``next_frame`` when it is due. ``Media.flush`` takes them back. Asking changes nothing.
        """
        ...

    def frame_received(self, pcm: bytes) -> None:
        """20 ms of the caller's voice in the transport's format."""
        ...

    def digit_received(self, digit: str) -> None:
        """The transport itself carried a key."""
        ...

    def media_lost(self, reason: str) -> None:
        """The connection ended, and not by our ``close()``. Called at most once."""
        ...


class Media(Protocol):
    """Sound in and out of Asterisk for one call."""

    format: AudioFormat
    transport: str

    @property
    def lag_ms(self) -> float:
        """How long after ``next_frame`` gave it a frame is really played, as measured; 0 where it leaves at once."""
        ...

    def attach(self, line: Line) -> None:
        """From now on frames are fetched from and delivered to ``line``; until then silence is sent."""
        ...

    def flush(self) -> None:
        """What was sent early and is not due yet must not be heard: the agent was stopped, or waits."""
        ...

    def close(self) -> None:
        """End the connection; may be called more than once. ``line`` is not called again."""
        ...


class Topology(StrEnum):
    """How a media leg is joined to its caller."""

    BRIDGED = "bridged"
    """Caller and leg in one bridge."""
    WHISPERED = "whispered"
    """The leg is bridged with a snoop channel that hears the caller and whispers to them."""
    LISTENING = "listening"
    """The leg is bridged with a snoop channel that only hears the caller, to whom files are played."""


@dataclass(frozen=True, slots=True)
class Leg:
    """The media channel Asterisk is asked to create, in the words of ARI's ``externalMedia``."""

    uuid: UUID
    """Names everything that belongs to this leg, in Asterisk and here."""
    codec: str
    """``slin`` or ``slin16``."""
    external_host: str
    encapsulation: str
    """``audiosocket``, ``rtp`` or ``none``."""
    transport: str
    """``tcp``, ``udp`` or ``websocket``."""
    connection_type: str = "client"
    """``client``: Asterisk connects; ``server``: we do."""
    data: str = ""
    transport_data: str = ""


class Invitation(Protocol):
    """One media connection that is about to be made, and only once."""

    leg: Leg

    async def connected(self, facts: Mapping[str, str]) -> Media:
        """The connection, once it stands; ``facts`` are the channel variables Asterisk answered the leg with.

        Raises PeerError when it cannot be had. The caller says how long it may take, by cancelling.
        """
        ...

    def withdraw(self) -> None:
        """Nobody may connect any more, and what has connected is closed. May be called more than once."""
        ...


class Transport(Protocol):
    """A way for sound to travel between Asterisk and us."""

    name: str
    """As ``audio_transport`` names it."""
    topology: Topology
    """For speaking frame by frame; where files are played it is ``LISTENING`` for every transport."""

    def invite(self, format: AudioFormat) -> Invitation:
        """Get ready for one connection with sound in ``format``."""
        ...


class SoundStore(Protocol):
    """Where sentences are laid down for Asterisk to play."""

    async def put(self, name: str, pcm: bytes, format: AudioFormat) -> str:
        """Write a sound whole or not at all, and return its ``sound:`` URI. Raises MediaError (a full disk)."""
        ...

    def remove(self, uri: str) -> None:
        """Forget the sound; returns at once, never raises, and may be called more than once."""
        ...


class Player(Protocol):
    """Plays sounds on the caller's own channel. Every method may raise ``CallGone`` or ``AsteriskError``."""

    async def play(self, playback_id: str, uri: str) -> None:
        """Begin; ``PlaybackEnded`` happens when it is over, however it ends."""
        ...

    async def pause_playback(self, playback_id: str) -> None: ...

    async def resume_playback(self, playback_id: str) -> None: ...

    async def stop_playback(self, playback_id: str) -> None:
        """Nothing is wrong when it is already over."""
        ...


class Outcome(StrEnum):
    """What came of asking a human to take a call."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Consultation:
    """A human who is to be asked whether they take the call."""

    context: str
    """Where in the dialplan, with ``extension``."""
    extension: str
    briefing: str = ""
    """What they are told before they decide."""
    ring_seconds: float = 25.0


class ConsultLeg(Protocol):
    """The channel of a human who is asked whether they take the call; ``ring`` comes first, and once."""

    async def ring(self, context: str, extension: str, seconds: float) -> Outcome | None:
        """Call them, as the caller; None: they answered. Raises AsteriskError when they cannot be called."""
        ...

    async def play(self, uri: str) -> None:
        """Begin to play a sound to them. Raises AsteriskError."""
        ...

    async def key(self) -> str | None:
        """The next key they press; None: they hung up."""
        ...

    async def hang_up(self) -> None:
        """Let them go, ringing or not; may be called more than once, never raises."""
        ...


class CallControl(Player, Protocol):
    """Command of one caller's channel in Asterisk.

    Every method may raise ``CallGone`` (the channel is no longer there) or ``AsteriskError``.
    """

    channel_id: str
    caller_number: str
    dialled: str
    variables: Mapping[str, str]
    """The arguments of ``Stasis(app,key=value,…)``, e.g. ``agent``."""
    assignment: Assignment | None
    """What the call is about, where it was we who placed it."""

    @property
    def reaches_human(self) -> bool:
        """Whether ``transfer`` leads to a human; where it does not, nobody is to be promised one."""
        ...

    async def answer(self) -> None: ...

    async def create_leg(self, leg: Leg) -> Mapping[str, str]:
        """Have Asterisk create the media leg; returns the channel variables it answers with."""
        ...

    async def join(self, topology: Topology) -> None:
        """Wait until the leg that was created last is in our application, and join it to the caller."""
        ...

    async def drop_leg(self) -> None:
        """Release leg, bridge and snoop, so that another leg may be created; never raises."""
        ...

    async def set_variables(self, values: Mapping[str, str]) -> None:
        """Channel variables an operator can see with ``core show channel``."""
        ...

    async def keep_alive(self, seconds: int) -> None:
        """The dead-man switch: without another call within ``seconds`` Asterisk sends the caller to a human."""
        ...

    async def send_digits(self, digits: str) -> None:
        """Press keys (``0-9*#A-D``) towards the caller."""
        ...

    async def transfer(self, context: str, extension: str) -> None:
        """Send the caller back to the dialplan (``context,extension,1``)."""
        ...

    def consult_leg(self) -> ConsultLeg:
        """A new leg for a human to be asked; released by ``close`` at the latest. Raises AsteriskError."""
        ...

    async def arrange_meeting(self, leg: ConsultLeg) -> tuple[str, str]:
        """Context and extension that join the caller with ``leg`` once they are sent there by ``transfer``.

        The two are then Asterisk's, and stay together whatever becomes of us. Raises AsteriskError.
        """
        ...

    async def hang_up(self) -> None: ...

    def events(self) -> AsyncIterator[CallEvent]:
        """``DigitReceived``, ``CallerHeld``, ``CallerUnheld``, ``PlaybackEnded`` and ``MediaLost``; at last
        ``CallerHungUp`` or ``TakenBack``.

        After our own ``transfer`` or ``close`` it ends without a last event.
        """
        ...

    async def close(self) -> None:
        """Release what this call holds in Asterisk; may be called more than once."""
        ...


class ToolSpec(Protocol):
    """What an agent is told of a tool."""

    name: str
    """``^[a-zA-Z0-9_-]{1,64}$``, which every provider takes."""
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments, an object."""


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of a call's history."""

    speaker: Speaker
    text: str
    """What was heard; of a tool, ``name(arguments) -> result`` in JSON; of an operator, what the agent was advised."""


@dataclass(frozen=True, slots=True)
class Briefing:
    """What an agent is told before it starts."""

    call_id: str
    agent: Mapping[str, Any]
    """The agent's section of the configuration, as plain data (name, language, voice, prompt, intents …)."""
    greeting: str
    prompt: str
    caller_number: str = ""
    dialled: str = ""
    history: tuple[Said, ...] = ()
    """What happened so far, when this agent takes over from another."""
    tools: tuple[ToolSpec, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """What pre-call tools found out, by name; an empty text where they did not."""

    @property
    def agent_name(self) -> str:
        return str(self.agent.get("name", ""))

    @property
    def language(self) -> str:
        """BCP 47."""
        return str(self.agent.get("language", "en-US"))


@dataclass(frozen=True, slots=True)
class Fitting:
    """What an agent is made with beside its own settings."""

    line: AudioFormat
    """The format of the call's sound."""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Secrets by the name of the environment variable that held them."""
    preroll_ms: int = 400
    """Sound from before the onset of speech that is sent along, so that the first syllable is kept."""
    heartbeat_seconds: float = 10.0
    """How often a connection is tried with a ping."""
    local_url: str = "ws://127.0.0.1:8765/v1"
    """Where ``local_ai_server`` is, unless a section says otherwise."""
    http: SharedHttp = field(default_factory=SharedHttp, repr=False, compare=False)


class Agent(Protocol):
    """The AI on the other side: it hears the caller, and answers with events.

    One agent is one session. It begins a reply with ``ReplyBegan``, and ends each one with ``ReplyEnded``, whatever
    happens to it; ids are its own and grow. Before it asks for a tool it ends the reply that led to it.
    """

    provider: str
    input_format: AudioFormat
    """Known once ``start`` has returned, as ``output_format``."""
    output_format: AudioFormat
    patience_seconds: float
    """How much longer than we do it may take the caller's turn to last, having ears of its own; 0 when it has none."""

    async def start(self, briefing: Briefing) -> None:
        """Open the session. Raises ProviderError. Cancelled when it takes too long; ``close`` follows in any case."""
        ...

    def greet(self) -> None:
        """Speak first: ``Briefing.greeting``, word for word where the provider can."""
        ...

    def respond(self, text: str) -> None:
        """The caller said ``text``, which is not in ``Briefing.history``: answer it."""
        ...

    def hear(self, pcm: bytes) -> None:
        """One 20 ms frame of the caller in ``input_format``. Never blocks; called for every frame of the call."""
        ...

    def caller_spoke(self) -> None:
        """The engine heard the caller begin, up to a pre-roll before the frames that follow.

        It ends with ``caller_paused``, ``caller_dismissed``, the next ``caller_spoke``, or a ``ReplyBegan`` of its own.
        """
        ...

    def caller_paused(self, *, brief: bool = False) -> None:
        """The caller's turn is over: answer it, or with ears of its own, when it finds so too.

        ``brief``: it was a short sound into our own words, which wait. Say with ``CallerSaid`` what it was (an empty
        text for a cough), and answer only what asks for an answer.
        """
        ...

    def caller_dismissed(self) -> None:
        """What began with ``caller_spoke`` was no speech: forget it."""
        ...

    def digit(self, digit: str) -> None: ...

    def nudge(self, *, last: bool = False) -> None:
        """Nobody has spoken for a while: break the silence; ``last``: say goodbye, the call ends with it."""
        ...

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        """``reply`` was stopped on the line after ``heard_ms``; stop making it, and remember only what was heard."""
        ...

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool = False) -> None:
        """What came of a ``ToolAsked``: go on, with a reply where one is due; none is when this was the ``last``
        thing to do in the call."""
        ...

    def advise(self, text: str) -> str:
        """An operator wants it to know ``text``, which the caller does not hear and which asks for no reply: it does
        from its next reply on. Returns why it cannot be told that; empty: it was."""
        ...

    def events(self) -> AsyncIterator[CallEvent]:
        """Everything the agent says and asks. Ends, or raises ProviderError, when the session is lost."""
        ...

    async def close(self) -> None:
        """May be called more than once, and before ``start`` has returned."""
        ...


class Tool(ToolSpec, Protocol):
    """Something the agent may ask for."""

    timeout_seconds: float

    async def run(self, arguments: Mapping[str, Any], call: "ToolContext") -> Mapping[str, Any]:
        """``{"ok": true, …}`` or ``{"ok": false, "error": sentence}``; ``arguments`` fit ``parameters``."""
        ...


class ToolContext(Protocol):
    """What a tool may know of the call it was asked in, and do to it."""

    call_id: str

    @property
    def caller_speaking(self) -> bool: ...

    @property
    def reaches_human(self) -> bool:
        """Whether there is anybody to transfer the caller to, or any place."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """``agent``, ``caller`` (number), ``dialled``, ``channel``, and what pre-call tools found out."""
        ...

    @property
    def history(self) -> tuple[Said, ...]:
        """What was said and heard so far."""
        ...

    def happened(self, event: CallEvent) -> None: ...

    async def consult(self, consultation: Consultation) -> str:
        """Ask a human to take the call while the caller waits: one of ``Outcome``, or ``failed: reason``.

        When they accept, the two are joined and the call leaves us.
        """
        ...

    async def press(self, digits: str) -> str:
        """Press keys (``0-9*#A-D``) towards the caller; empty, or why they could not be pressed."""
        ...


class Observer(Protocol):
    """Somebody who watches a call; must return at once and never raise."""

    def call_started(self, call_id: str, facts: Mapping[str, str], now: float) -> None: ...

    def happened(self, call_id: str, event: CallEvent, now: float) -> None:
        """Every event of the call except single frames, at loop time ``now`` (seconds)."""
        ...

    def frames(self, call_id: str, caller: bytes | None, agent: bytes | None, rate: int) -> None:
        """The 20 ms that just went by on the line: what came from the caller, and what was sent."""
        ...

    def transcript(self, call_id: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """What was said and heard, as ``Transcript.lines()`` has it; once, before ``call_ended``."""
        ...

    def call_ended(self, call_id: str, reason: str, now: float) -> None: ...

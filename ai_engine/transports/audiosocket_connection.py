"""One AudioSocket connection: what is sent, what is heard, and every way it can end."""

import asyncio
import socket
from struct import pack
from typing import Protocol, cast
from uuid import UUID

import structlog

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.framing import Framer
from ai_engine.audio.resample import Resampler
from ai_engine.errors import PeerError
from ai_engine.protocol.audiosocket import (
    Audio,
    AudioSocketParser,
    Dtmf,
    Failure,
    HungUp,
    Message,
    Uuid,
    WholeFrames,
    encode_hangup,
)
from ai_engine.transports.addresses import host_port
from ai_engine.transports.attached import Attached
from ai_engine.transports.tcp import LINGER_SECONDS, SLOW_SECONDS, Timer, tune, without_stale
from ai_engine.transports.wheel import Seat, TimerWheel

_RESET_ON_CLOSE = pack("ii", 1, 0)
"""``SO_LINGER`` of 0 s: a socket that ends without our goodbye, be it because the process is killed, ends with a reset.
The dialplan's ``TryExec(AudioSocket())`` fails then and goes on to a human; after a mere FIN it would succeed."""

_FORMAT_SECONDS = 0.1
"""How long the first sound of a connection nobody invited is waited for; it tells the rate."""

_EVERY_ASTERISK = WholeFrames(SLIN8)
"""Until it is known which call a connection is for: one that knows wideband resamples this for a moment, and one that
does not would drop the leg at the first frame of any other kind."""

log = structlog.get_logger()


class Owner(Protocol):
    """Who has a connection for a call of its own: its keys and its end are told here, and not to the line."""

    def digit_received(self, digit: str) -> None: ...

    def connection_ended(self, reason: str, *, failed: bool) -> None:
        """Called at most once. ``failed``: it was we who reset it; otherwise Asterisk ended it, or we said goodbye."""
        ...


class Door(Protocol):
    """What a connection asks of the listener it came through."""

    wheel: TimerWheel
    counters: dict[str, int]
    handshake_seconds: float

    def admit(self, connection: "AudioSocketConnection", peer: str) -> bool:
        """Whether a connection from the address ``peer`` may come in."""
        ...

    def introduce(self, connection: "AudioSocketConnection") -> bool:
        """Whether there is a use for its ``uuid``; ``agree`` or ``learn_format`` is called on the way."""
        ...

    def offer(self, connection: "AudioSocketConnection") -> bool:
        """Whether somebody takes a connection nobody invited; its format is known."""
        ...

    def forget(self, connection: "AudioSocketConnection") -> None:
        """It is gone."""
        ...

    def refuse(self, counter: str, reason: str, peer: str) -> None:
        """Count and log why a peer was shut out."""
        ...


class AudioSocketConnection(Attached, asyncio.Protocol):
    """One connection of Asterisk (a ``Media``): a frame leaves every 20 ms from accept until close, silence too."""

    transport = "audiosocket"
    lag_ms = 0.0
    """Asterisk passes on what it gets, at once."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self.format = SLIN8
        """As agreed; upstream, nothing else is taken."""
        self.uuid: UUID
        """Which call it is for; there since ``introduce``."""
        self.lost = asyncio.Event()
        """Set when the connection is gone."""
        self._door = door
        self._parser = AudioSocketParser()
        self._frames = _EVERY_ASTERISK
        self._framer = Framer(SLIN8)
        self._resampler: Resampler | None = None
        self._owner: Owner | None = None
        self._identified = False
        self._agreed = False
        """Whether the format is settled."""
        self._guessed = False
        """It is, but only because nothing was heard that could tell."""
        self._in_step = False
        """Everything is settled and the next message begins with the next byte: a whole frame may skip the parser."""
        self._failed = False
        self._peer = ""
        self._tcp: asyncio.Transport
        self._seat: Seat | None = None
        self._timer = Timer()
        """Of the handshake, then of the first sound, then of a peer that does not read, at last of closing."""

    # -- Media ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Nothing is ever sent early."""

    def close(self) -> None:
        """Ask Asterisk to end its side, and wait for that; ``line`` is not called again."""
        self._let_go()
        if self._end is None:
            self._finish("closed by us")
            self._tcp.write(encode_hangup())
            # It stays open for reading: the caller's next frame, were it refused, would turn this end into an error.
            self._tcp.write_eof()
            self._timer.set(LINGER_SECONDS, self._tcp.abort)

    # -- what else an owner may ask ---------------------------------------------------------------------------

    def own(self, owner: Owner) -> None:
        """From now on keys, and the end of the connection, are told to ``owner``."""
        self._owner = owner

    def detach(self) -> None:
        """``line`` is not called again, and silence is sent until another is attached."""
        self._line = None

    def reset(self) -> None:
        """End the connection with an error, so that a ``TryExec`` in the dialplan goes on; ``line`` hears nothing."""
        self._let_go()
        if self._end is None:
            self._failed = True
            self._leave("reset by us")

    # -- what the listener says -------------------------------------------------------------------------------

    def agree(self, format: AudioFormat) -> None:
        """Sound has this format from now on, both ways."""
        self.format = format
        self._frames = WholeFrames(format)
        self._framer = Framer(format)
        self._agreed = True

    def learn_format(self) -> None:
        """Be offered as a call with the first sound, in its format, or after a while without any."""
        self._timer.set(_FORMAT_SECONDS, self._offer_unheard)

    # -- asyncio.Protocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tcp = cast(asyncio.Transport, transport)
        sock = self._tcp.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        peer = self._tcp.get_extra_info("peername")
        if peer is None:
            self._leave("gone before it was accepted")
            return
        host, port = peer[:2]
        self._peer = host_port(host, port)
        if not self._door.admit(self, host):
            self._leave("refused")
            return
        tune(self._tcp)
        self._seat = self._door.wheel.join(self._send_frame, self._fault)
        self._timer.set(self._door.handshake_seconds, self._handshake_timed_out)
        self._door.counters["accepted"] += 1

    def data_received(self, data: bytes) -> None:
        try:
            frame = self._frames.decode(data) if self._in_step else None
            if frame is None:
                self._read(data)
            elif self._line is not None:
                self._line.frame_received(frame)
        except PeerError as error:
            self._shut_out("protocol_errors", str(error))
        except Exception as error:  # noqa: BLE001 - a fault of one call is the end of that call alone
            self._fault(error)

    def pause_writing(self) -> None:
        if self._end is None:
            self._timer.set(SLOW_SECONDS, self._too_slow)

    def resume_writing(self) -> None:
        if self._end is None:
            self._timer.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(f"connection lost: {exc}" if exc else "closed by Asterisk")
        self._timer.stop()
        self._door.forget(self)
        self.lost.set()
        log.info("AudioSocket connection closed", peer=self._peer, reason=self._end)
        self._tell_lost()

    # -- what happens on it -----------------------------------------------------------------------------------

    def _send_frame(self) -> None:
        frame = self._line.next_frame() if self._line is not None else None
        if self._end is None:
            self._tcp.write(self._frames.silence if frame is None else self._frames.encode(frame))

    def _read(self, data: bytes) -> None:
        if self._end is not None:
            return
        messages = self._parser.feed(data)
        fresh = without_stale(messages, _is_sound)
        if len(fresh) < len(messages):
            self._door.counters["stale_frames"] += len(messages) - len(fresh)
        for message in fresh:
            self._handle(message)
            if self._end is not None:
                return
        self._in_step = self._agreed and not self._parser.waiting_bytes and not self._framer.waiting_bytes

    def _handle(self, message: Message) -> None:
        if not self._identified:
            self._identify(message)
            return
        match message:
            case Audio(rate, pcm):
                self._hear(rate, pcm)
            case Dtmf(digit):
                if listener := self._owner or self._line:
                    listener.digit_received(digit)
            case HungUp():
                self._leave("hung up by Asterisk")
            case Failure(code):
                self._leave(f"Asterisk reported error {code}")
            case Uuid():
                raise PeerError("a second uuid")

    def _identify(self, message: Message) -> None:
        if not isinstance(message, Uuid):
            raise PeerError(f"{type(message).__name__} before the uuid")
        self.uuid = message.uuid
        self._identified = True
        self._timer.stop()
        if self._door.introduce(self):
            log.info("AudioSocket connection accepted", uuid=str(message.uuid), peer=self._peer)
        else:
            self._shut_out("refused_unknown_uuid", f"unknown uuid {message.uuid}")

    def _hear(self, rate: int, pcm: bytes) -> None:
        if not self._agreed and rate in (SLIN8.rate, SLIN16.rate):
            self._offer(AudioFormat(rate))
        if rate != self.format.rate:
            pcm = self._convert(rate, pcm)
        for frame in self._framer.push(pcm):
            if self._line is not None:
                self._line.frame_received(frame)

    def _convert(self, rate: int, pcm: bytes) -> bytes:
        """Sound of a format that nobody could know of when the call began."""
        if not self._guessed or rate != SLIN16.rate:
            raise PeerError(f"sound at {rate} Hz where {self.format.rate} Hz was agreed")
        if self._resampler is None:
            self._resampler = Resampler(SLIN16, self.format)
        return self._resampler.process(pcm)

    def _offer_unheard(self) -> None:
        self._guessed = True
        try:
            self._offer(SLIN8)
        except Exception as error:  # noqa: BLE001 - or the caller would hear silence for ever
            self._fault(error)

    def _offer(self, format: AudioFormat) -> None:
        self._timer.stop()
        self.agree(format)
        if not self._door.offer(self):
            self._shut_out("refused_uninvited", f"nobody takes uuid {self.uuid}")

    def _handshake_timed_out(self) -> None:
        self._shut_out("handshake_timeouts", "no uuid in time")

    def _too_slow(self) -> None:
        self._shut_out("slow_peers", "peer does not read")

    def _fault(self, error: Exception) -> None:
        log.error("AudioSocket connection failed", peer=self._peer, exc_info=error)
        self._door.counters["faults"] += 1
        self._failed = True
        self._leave(f"internal error: {error!r}")

    def _shut_out(self, counter: str, reason: str) -> None:
        if self._end is None:
            self._door.refuse(counter, reason, self._peer)
            self._failed = True
            self._leave(reason)

    def _leave(self, reason: str) -> None:
        self._finish(reason)
        self._tcp.abort()

    def _finish(self, reason: str) -> None:
        """Send no more, hear no more."""
        if self._end is None:
            self._end = reason
        self._in_step = False
        if self._seat is not None:
            self._seat.leave()

    def _tell_lost(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            self._line = None
            owner.connection_ended(self._end or "", failed=self._failed)
        super()._tell_lost()


def _is_sound(message: Message) -> bool:
    return isinstance(message, Audio)

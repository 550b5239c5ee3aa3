"""The caller's sound on its way into the provider's input buffer."""

from collections.abc import Callable

from ai_engine.audio.preroll import PreRoll
from ai_engine.providers.openai_realtime import wire
from ai_engine.providers.openai_realtime.wire import Codec, Message

_PARCEL_MS = 100
"""Sound sent in one message: a fifth of the work, and no later, since the turn's end sends what is left."""

_LEAST_MS = 120.0
"""A shorter turn is refused (the vendor's bar is 100 ms): silence fills it up."""


class CallerSound:
    """Turn by turn, each with its pre-roll; or all of it, where the provider has ears of its own."""

    def __init__(self, codec: Codec, preroll_ms: int, send: Callable[[Message], None], *, always: bool) -> None:
        self._codec = codec
        self._preroll = PreRoll(codec.format, preroll_ms)
        self._send = send
        self._flows = always
        self._parcel = bytearray()
        self._parcel_bytes = 0 if always else codec.format.byte_count(_PARCEL_MS)
        self._buffered_ms = 0.0
        """Sent since the last turn, and in none yet."""

    def hear(self, frame: bytes) -> None:
        """20 ms of PCM16."""
        self._preroll.push(frame)
        if not self._flows:
            return
        self._parcel += frame
        if len(self._parcel) >= self._parcel_bytes:
            self._send_parcel()

    def begin(self) -> None:
        """What follows belongs to a turn, as does the pre-roll."""
        if self._flows:
            self.drop()
        self._flows = True
        self._parcel += b"".join(self._preroll.take())
        self._send_parcel()

    def end(self) -> None:
        """The turn is over, and becomes an item of the conversation."""
        self._send_parcel()
        if self._buffered_ms < _LEAST_MS:
            self._parcel += bytes(self._codec.format.byte_count(_LEAST_MS - self._buffered_ms))
            self._send_parcel()
        self._send(wire.COMMIT)
        self._preroll.take()  # belongs to this turn
        self._flows = False
        self._buffered_ms = 0.0

    def drop(self) -> None:
        """The turn was none."""
        self._flows = False
        self._parcel.clear()
        if self._buffered_ms:
            self._send(wire.CLEAR)
            self._buffered_ms = 0.0

    def _send_parcel(self) -> None:
        if self._parcel:
            self._buffered_ms += self._codec.format.ms(len(self._parcel))
            self._send(wire.append(self._codec.encode(bytes(self._parcel))))
            self._parcel.clear()

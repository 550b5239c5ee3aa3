"""Packets in any order and at any time in, one frame per 20 ms out: the late are waited for, the lost are hidden."""

from collections.abc import MutableMapping

from ai_engine.audio.conceal import MOST_CONCEALED, Concealer, squeeze
from ai_engine.audio.format import FRAME_MS, AudioFormat

COUNTERS = ("duplicates", "late", "lost", "concealed", "squeezed", "stale", "strays", "resynchronised")
"""What a buffer counts; ``late`` came after its time (or for a second time), ``stale`` was given up in a burst,
``strays`` belonged to no stream we follow, ``squeezed`` are pairs of frames made one to lose delay."""

_MOST_AHEAD = 50
"""Frames (1 s) a packet may be early: what claims to be further away belongs to another count."""

_MOST_BEHIND = 100

_MOST_SKEW_FRAMES = 4
"""By which timestamps may be off while packets are numbered without a gap; Asterisk itself lets them slide so far."""

_MOST_WAITING = 10
"""Frames (200 ms) kept in a burst; older sound is stale."""

_LEAST_MARGIN_MS, _MOST_MARGIN_MS = 5.0, 80.0
"""Between the coming of a frame and its being due; the most, and the frame that is due, make a window of 100 ms."""

_MARGIN_JITTERS = 3.0
"""The margin, in mean deviations: no more than a few packets in a hundred are later than that."""

_LEAST_PROOF, _MOST_PROOF = 250, 3000
"""Ticks (5 s and 1 min) for which nobody needed a frame of delay, until it is given up; one of n frames in a n²th of
the time."""

_JITTER_GAIN = 1 / 16
"""RFC 3550, section 6.4.1."""

_WORST_JITTER_MS = 200.0
"""A single outage counts for no more than this."""


class JitterBuffer:
    """The sound of one sender. ``push`` what comes, when it comes; ``pull`` every 20 ms.

    It is given out in order, and whole as long as a frame is there when one is due. A missing one is concealed. Its
    successors do not wait for it: once as many frames were concealed as are missing, the sound goes on in time; but a
    missing frame that comes before that is played, and everything after it 20 ms later. When one comes after that, the
    next is waited for as long as this one would have needed. So delay grows with need; where frames waited for long
    without need, two are squeezed into one.
    """

    def __init__(self, format: AudioFormat, counters: MutableMapping[str, int] | None = None) -> None:
        """``counters`` has the keys of ``COUNTERS`` and may be shared between buffers."""
        self.counters = dict.fromkeys(COUNTERS, 0) if counters is None else counters
        self.jitter_ms = 0.0
        """Mean deviation of the interval between packets, as in RFC 3550."""
        self._timeline = _Timeline(format)
        self._beginnings = 0
        """Of the timeline, as far as noticed."""
        self._concealer = Concealer(format)
        self._frames: dict[int, tuple[bytes, float]] = {}
        """What waits, and since when, by position; see ``_Timeline``."""
        self._due = 0
        """The position that is given out next."""
        self._last_arrival = (0.0, 0)
        """When the last packet came, in seconds, and its position."""
        self._flowing = False
        self._waited_ticks = 0
        """For which the first frames of a stretch have waited."""
        self._missed = 0
        """Frames concealed in place of the one that is due."""
        self._given_up: set[int] = set()
        """Positions left out not long ago."""
        self._patience = 0
        """Frames for which the next hole is waited for longer than it lasts."""
        self._proof = 0
        """Grows with every tick whose frame could have been given out earlier, until one could not."""
        self._needed_proof = _LEAST_PROOF

    @property
    def waiting(self) -> int:
        """Frames that wait."""
        return len(self._frames)

    @property
    def margin_ms(self) -> float:
        """How long a frame should wait before it is due, for the jitter measured."""
        return min(max(_LEAST_MARGIN_MS, _MARGIN_JITTERS * self.jitter_ms), _MOST_MARGIN_MS)

    def push(self, ssrc: int, sequence: int, timestamp: int, frame: bytes, now: float) -> None:
        """A packet of exactly one frame came at ``now`` (seconds)."""
        position = self._timeline.place(ssrc, sequence, timestamp, self._due)
        if position is None:
            self.counters["strays"] += 1
            return
        self._note_arrival(position, now)
        if position < self._due:
            self._come_late(position)
        elif position in self._frames:
            self.counters["duplicates"] += 1
        else:
            self._frames[position] = (frame, now)

    def pull(self, now: float) -> bytes | None:
        """The frame for the 20 ms that begin at ``now``; None while there is no stream."""
        if not self._flowing and not self._begin():
            return None
        if len(self._frames) > _MOST_WAITING:
            self._drop_stale()
        if self._due not in self._frames and not self._catch_up():
            return self._bridge()
        return self._give(now)

    def _note_arrival(self, position: int, now: float) -> None:
        last, place = self._last_arrival
        self._last_arrival = (now, position)
        if self._timeline.beginnings == self._beginnings:
            deviation_ms = abs((now - last) * 1000 - (position - place) * FRAME_MS)
            self.jitter_ms += (min(deviation_ms, _WORST_JITTER_MS) - self.jitter_ms) * _JITTER_GAIN
            return
        if self._beginnings:
            self.counters["resynchronised"] += 1
        self._beginnings = self._timeline.beginnings

    def _come_late(self, position: int) -> None:
        self.counters["late"] += 1
        if position in self._given_up:
            self._given_up.remove(position)
            self._patience = max(self._patience, min(self._due - position - 1, MOST_CONCEALED))

    def _begin(self) -> bool:
        """Whether a stretch has begun, and its first frames have waited long enough."""
        if not self._frames:
            return False
        self._waited_ticks += 1
        if self._waited_ticks <= max(1, round(self.margin_ms / FRAME_MS)):
            return False
        self._flowing = True
        self._waited_ticks = 0
        self._missed = 0
        self._skip_to(min(self._frames))
        return True

    def _catch_up(self) -> bool:
        """Leave out what is missing, if that was concealed as long as it lasted or can be."""
        if not self._frames:
            return False
        there = min(self._frames)
        if self._missed < min(there - self._due, MOST_CONCEALED) + self._patience:
            return False
        self._skip_to(there)
        self._missed = self._patience = 0
        return True

    def _bridge(self) -> bytes | None:
        self._missed += 1
        self._proof = 0
        if self._missed <= MOST_CONCEALED:
            self.counters["concealed"] += 1
        elif not self._frames:
            self._flowing = False
        return self._concealer.conceal()

    def _give(self, now: float) -> bytes:
        frame, since = self._take()
        if self._missed:
            # It came too late: to wait for less again must be proved safe for longer.
            self._missed = self._patience = 0
            self._needed_proof = min(2 * self._needed_proof, _MOST_PROOF)
        if self._is_spare((now - since) * 1000) and self._due in self._frames:
            self._proof = 0
            self.counters["squeezed"] += 1
            frame = squeeze(frame, self._take()[0])
        return self._concealer.hear(frame)

    def _take(self) -> tuple[bytes, float]:
        self._due += 1
        return self._frames.pop(self._due - 1)

    def _is_spare(self, waited_ms: float) -> bool:
        """Whether a frame of delay has been of no use for long enough."""
        spare = int((waited_ms - self.margin_ms) / FRAME_MS)
        self._proof = self._proof + spare**2 if spare > 0 else 0
        return self._proof >= self._needed_proof

    def _drop_stale(self) -> None:
        for position in sorted(self._frames)[:-_MOST_WAITING]:
            self._skip_to(position)
            self._take()
            self.counters["stale"] += 1

    def _skip_to(self, position: int) -> None:
        missing = position - self._due
        if missing:
            self.counters["lost"] += missing
            recent = range(position - _MOST_WAITING, position)
            self._given_up = {old for old in self._given_up if old in recent}.union(range(self._due, position))
        self._due = position


class _Timeline:
    """Counts frames from 0 on, whatever the sender's own counts do: wrap, jump, or begin again.

    A packet that does not continue the stream we follow is a stray; only when the very next one continues that stray
    has the sender begun anew, so a single packet from nowhere moves nothing.
    """

    def __init__(self, format: AudioFormat) -> None:
        self.beginnings = 0
        """How often a count began."""
        self._samples = format.frame_samples
        self._most_skew = _MOST_SKEW_FRAMES * format.frame_samples
        self._newest = (0, 0, 0)
        """SSRC, sequence and timestamp of the packet that is furthest ahead."""
        self._position = -1
        """Its position."""
        self._stray: tuple[int, int, int] | None = None

    def place(self, ssrc: int, sequence: int, timestamp: int, due: int) -> int | None:
        """The position of a packet while ``due`` is given out next, or None for a stray."""
        packet = (ssrc, sequence, timestamp)
        if not self.beginnings:
            return self._begin(packet, due)
        steps = self._steps(self._newest, packet)
        if steps is None or not -_MOST_BEHIND <= self._position + steps - due < _MOST_AHEAD:
            if self._stray is not None and self._steps(self._stray, packet) == 1:
                return self._begin(packet, due)
            self._stray = packet
            return None
        self._stray = None
        position = self._position + steps
        if steps > 0:
            self._newest, self._position = packet, position
        return position

    def _begin(self, packet: tuple[int, int, int], due: int) -> int:
        """What comes now follows all that was there before."""
        self.beginnings += 1
        self._newest, self._stray = packet, None
        self._position = max(self._position + 1, due)
        return self._position

    def _steps(self, earlier: tuple[int, int, int], later: tuple[int, int, int]) -> int | None:
        """How many packets ``later`` is ahead; None when they are not of one count."""
        steps = (later[1] - earlier[1] + 0x8000 & 0xFFFF) - 0x8000
        skew = (later[2] - earlier[2] - steps * self._samples + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if later[0] != earlier[0] or abs(skew) > self._most_skew:
            return None
        return steps

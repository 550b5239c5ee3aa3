"""How much sound is gathered before a reply begins, learned from how unevenly it comes."""

from dataclasses import dataclass

from ai_engine.audio.format import FRAME_MS


@dataclass(frozen=True, slots=True)
class JitterSettings:
    """In milliseconds of sound."""

    least_ms: float = 60.0
    """Gathered before a reply begins, until a call has shown that more is needed."""
    most_ms: float = 400.0
    """The most that is ever waited for; where ``least_ms`` is more than this, it stays at that."""
    low_water_ms: float = 40.0
    """Gathered after a hole in a reply before it goes on."""


@dataclass(slots=True)
class _Course:
    """How one reply fares."""

    gathered_ms: float = 0.0
    """As it began."""
    clean: bool = False
    """Had no hole so far, though it could have: one that was whole when it began proves nothing."""
    in_hole: bool = False
    holes_ms: float = 0.0
    """All the silence in its middle: by so much it is behind the time at which it began."""
    late_ms: float = 0.0
    """How much later than its time, counted from the beginning, the latest piece of it came."""


class JitterDepth:
    """Is told how the reply that is being heard fares, and says what must be gathered.

    After a hole it grows to what would have covered it, and so to the lateness of the latest piece of a reply. After
    a reply without a hole it falls by a quarter of what it has grown, and at least by a frame. A hole in the same reply
    after the first doubles the low-water mark: who starves again and again is slow, and a few longer pauses are easier
    to listen to than a stutter.
    """

    def __init__(self, settings: JitterSettings) -> None:
        self.prebuffer_ms = settings.least_ms
        """What a reply has to gather before it begins."""
        self.low_water_ms = settings.low_water_ms
        """What it has to gather to go on after a hole."""
        self._settings = settings
        self._most_ms = max(settings.least_ms, settings.most_ms)
        self._course = _Course()

    def began(self, gathered_ms: float, *, whole: bool) -> None:
        """A reply begins with ``gathered_ms`` of it waiting; ``whole``: no more of it comes."""
        self._course = _Course(gathered_ms, clean=not whole)

    def missed(self, *, empty: bool) -> None:
        """A frame of the reply was due and not given: nothing waits (``empty``), or less than the low-water mark."""
        course = self._course
        if not course.in_hole:
            course.in_hole = True
            mark_ms = self.low_water_ms * 2 if course.holes_ms else self._settings.low_water_ms
            self.low_water_ms = min(self._most_ms, mark_ms)
        course.holes_ms += FRAME_MS
        if empty:
            course.late_ms = course.holes_ms

    def went_on(self) -> None:
        """The reply goes on after a hole.

        A reply that had gathered more than the most we wait for would have begun at the same time in any case: it is
        no reason to wait.
        """
        course = self._course
        course.in_hole = course.clean = False
        if course.gathered_ms < self._most_ms:
            covering_ms = min(self._most_ms, course.gathered_ms + course.late_ms)
            self.prebuffer_ms = max(self.prebuffer_ms, covering_ms)

    def drained(self) -> None:
        """The reply was heard to its end; a hole before a late end was no hole."""
        if self._course.clean:
            grown_ms = self.prebuffer_ms - self._settings.least_ms
            self.prebuffer_ms -= min(grown_ms, max(FRAME_MS, grown_ms / 4))
        self._course = _Course()

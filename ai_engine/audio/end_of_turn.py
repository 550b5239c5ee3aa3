"""How long a caller may be quiet before the turn is taken for over."""

_SHORTEST_PAUSE_MS = 100.0
"""Less is the closure of a consonant."""

_TELLING_MS = 1000.0
"""A shorter turn tells nothing by having no pause."""

_MARGIN_MS = 120.0
"""Above the pauses this caller is wont to make."""

_UP, _DOWN = 0.45, 0.2
"""How much of the way one turn takes us: who is cut off loses more than who has to wait."""

_UP_MOST_MS = 120.0

_RESUMED_MS = 1000.0
"""Who goes on within this after the end of a turn was not done with it."""

_RESUMED = 0.6

_RESUMED_LEAST_MS, _RESUMED_MOST_MS = 100.0, 250.0


class EndOfTurn:
    """Adapts ``silence_ms``, the quiet that ends a turn, to the pauses this caller makes inside turns.

    It moves once per turn, towards the longest pause in it and some more: up faster than down, and clearly up when
    the caller goes on just after a turn was ended. So it comes to rest above nearly all pauses, and one odd turn does
    not decide. It stays between ``min_ms`` and ``max_ms``; where a call begins belongs to them.
    """

    def __init__(self, start_ms: float, min_ms: float, max_ms: float) -> None:
        self.silence_ms = float(start_ms)
        self._min_ms, self._max_ms = min(min_ms, start_ms), max(max_ms, start_ms)
        self._longest_ms = 0.0
        """Pause inside the open turn."""
        self._ended_ms = 0.0
        """Silence that ended the last turn."""
        self._lesson_ms: float | None = None
        """The longest pause of the last turn, once it had ended; learned when it turns out to have been its end."""

    def went_on(self, pause_ms: float) -> None:
        """After a pause the same turn goes on."""
        if pause_ms >= _SHORTEST_PAUSE_MS:
            self._longest_ms = max(self._longest_ms, pause_ms)

    def ended(self, turn_ms: float, silence_ms: float) -> None:
        """A turn was ended, ``turn_ms`` after its beginning, by quiet of ``silence_ms``."""
        telling = self._longest_ms > 0 or turn_ms - silence_ms >= _TELLING_MS
        self._lesson_ms = self._longest_ms if telling else None
        self._longest_ms, self._ended_ms = 0.0, silence_ms

    def began(self, after_ms: float) -> None:
        """A turn began, ``after_ms`` after the last one was ended (infinite for the first)."""
        if self._ended_ms and after_ms < _RESUMED_MS:
            self._resumed(self._ended_ms + after_ms)
        elif self._lesson_ms is not None:
            self._learn(self._lesson_ms + _MARGIN_MS)
        self._ended_ms, self._lesson_ms = 0.0, None

    def forget(self) -> None:
        """The open turn and the last one tell nothing."""
        self._longest_ms = self._ended_ms = 0.0
        self._lesson_ms = None

    def _learn(self, target_ms: float) -> None:
        away = target_ms - self.silence_ms
        self._move(min(_UP * away, _UP_MOST_MS) if away > 0 else _DOWN * away)

    def _resumed(self, pause_ms: float) -> None:
        """What was taken for the end was a pause, and the turn that begins is the same one."""
        away = pause_ms + _MARGIN_MS - self.silence_ms
        self._move(min(max(_RESUMED * away, _RESUMED_LEAST_MS), _RESUMED_MOST_MS))
        # This pause has had its effect; when the turn ends it only keeps it from being taken for one without pauses.
        self._longest_ms = max(self._lesson_ms or 0.0, min(pause_ms, self.silence_ms - _MARGIN_MS))

    def _move(self, by_ms: float) -> None:
        moved = self.silence_ms + by_ms
        self.silence_ms = min(max(moved, self._min_ms), self._max_ms)

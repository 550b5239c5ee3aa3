"""Where an appointment fits between what is busy, on the clock of a place."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ai_engine.jobs.request import WorkingHours
from ai_engine.jobs.times import day_of_week, minutes_of

_DAY = timedelta(days=1)
_MIDNIGHT = time()


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of time: ``end`` is the first moment that is no part of it.

    Kept in UTC, since Python compares two times of one zone by what their clocks show.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        object.__setattr__(self, "end", self.end.astimezone(UTC))

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end

    def within(self, other: "Span") -> bool:
        return other.start <= self.start and self.end <= other.end


@dataclass(frozen=True, slots=True)
class Buffers:
    """What is to stay free around an appointment."""

    before: timedelta = timedelta()
    after: timedelta = timedelta()

    def around(self, span: Span) -> Span:
        return Span(span.start - self.before, span.end + self.after)


class Busy:
    """What is taken, by whatever."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []
        for span in sorted(span for span in spans if span.start < span.end):
            if self._ends and span.start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], span.end)
            else:
                self._starts.append(span.start)
                self._ends.append(span.end)

    def blocks(self, span: Span) -> bool:
        first = bisect_right(self._ends, span.start)
        return first < len(self._ends) and self._starts[first] < span.end


@dataclass(frozen=True, slots=True)
class Wish:
    """What kind of time is looked for."""

    here: ZoneInfo
    """Whose clock counts."""
    duration: timedelta
    """Really elapsed, whatever the clocks do meanwhile."""
    step: timedelta
    """Distance of the times that are tried, on the clock."""
    hours: WorkingHours | None = None
    """None: at any time."""
    buffers: Buffers = Buffers()


def find_slots(wish: Wish, window: Span, busy: Busy) -> Iterator[Span]:
    """Times within ``window`` that are free, in order.

    Beginnings are tried every ``wish.step`` of the clock, from that of ``window.start`` (in whole minutes) on: a time
    that the clocks skip is none, and of one that they show twice it is the first.
    """
    anchor = _whole_minute(_on_clock(window.start, wish.here))
    for opening in _openings(wish, window):
        for start in _grid(anchor, wish, opening):
            slot = Span(start, start + wish.duration)
            if slot.end > opening.end:
                break
            if not busy.blocks(wish.buffers.around(slot)):
                yield slot


def alternatives(
    wish: Wish, asked: Span, busy: Busy, *, earliest: datetime, reach: timedelta, most: int = 3
) -> list[Span]:
    """Free times around one that is not, the closest first; of two as close as each other, the later one.

    They lie on the marks of the clock (``wish.step`` from midnight on), at most ``reach`` away and not before
    ``earliest``, and apart from each other, where there are at least two such.
    """
    midnight = datetime.combine(_on_clock(asked.start - reach, wish.here).date(), _MIDNIGHT)
    window = Span(first_moment(midnight, wish.here), asked.end + reach)
    earliest = max(earliest, asked.start - reach)
    found = [slot for slot in find_slots(wish, window, busy) if slot.start >= earliest and slot != asked]
    found.sort(key=lambda slot: (abs(slot.start - asked.start), slot.start < asked.start))
    apart: list[Span] = []
    for slot in found:
        if len(apart) == most:
            break
        if not any(slot.overlaps(other) for other in apart):
            apart.append(slot)
    return apart if len(apart) > 1 else found[:2]


def is_open(hours: WorkingHours, here: ZoneInfo, span: Span) -> bool:
    """Whether ``span`` lies within the hours of one day."""
    return any(span.within(opening) for opening in _hours_around(hours, here, span))


def moment(wall: datetime, here: ZoneInfo) -> datetime | None:
    """When the clock there shows ``wall``, a time without offset: in UTC, the first time where it does so twice.

    None: never, since it is set forward past it.
    """
    found = wall.replace(tzinfo=here, fold=0).astimezone(UTC)
    return found if _on_clock(found, here) == wall else None


def first_moment(wall: datetime, here: ZoneInfo) -> datetime:
    """The same; or when the clock is set forward past ``wall``."""
    found = moment(wall, here)
    if found is not None:
        return found
    # On either side of the change, as the offset after it and the one before it have it.
    before, after = (wall.replace(tzinfo=here, fold=fold).astimezone(UTC) for fold in (1, 0))
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if _on_clock(middle, here) < wall:
            before = middle
        else:
            after = middle
    return after


def _grid(anchor: datetime, wish: Wish, opening: Span) -> Iterator[datetime]:
    # Where the opening begins in a repeated hour, its clock time is repeated too: moments decide.
    wall = anchor + wish.step * max(0, -((anchor - _on_clock(opening.start, wish.here)) // wish.step))
    while True:
        start = moment(wall, wish.here)
        if start is not None and start >= opening.end:
            return
        if start is not None and start >= opening.start:
            yield start
        wall += wish.step


def _openings(wish: Wish, window: Span) -> Iterator[Span]:
    if wish.hours is None:
        yield window
        return
    for opening in _hours_around(wish.hours, wish.here, window):
        if opening.overlaps(window):
            yield Span(max(opening.start, window.start), min(opening.end, window.end))


def _hours_around(hours: WorkingHours, here: ZoneInfo, window: Span) -> Iterator[Span]:
    """The hours of each day from the one before ``window`` on, since those of a night go on past midnight."""
    first, last = (_on_clock(at, here).date() for at in (window.start, window.end))
    begin, end = minutes_of(hours.start), minutes_of(hours.end)
    for day in _days(first - _DAY, last):
        if day_of_week(datetime.combine(day, _MIDNIGHT)) in hours.days:
            until = end if end > begin else end + 24 * 60
            yield Span(_at(day, begin, here), _at(day, until, here))


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += _DAY


def _at(day: date, minutes: int, here: ZoneInfo) -> datetime:
    return first_moment(datetime.combine(day, _MIDNIGHT) + timedelta(minutes=minutes), here)


def _on_clock(at: datetime, here: ZoneInfo) -> datetime:
    return at.astimezone(here).replace(tzinfo=None, fold=0)


def _whole_minute(wall: datetime) -> datetime:
    """Up: nobody says seconds."""
    whole = wall.replace(second=0, microsecond=0)
    return whole if whole == wall else whole + timedelta(minutes=1)

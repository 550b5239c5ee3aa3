"""Free times, on the clocks of several places."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ai_engine.calendar.slots import Buffers, Busy, Span, Wish, alternatives, find_slots, first_moment, is_open, moment
from ai_engine.jobs.request import WorkingHours

BERLIN, NEW_YORK, LORD_HOWE = map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))
TOKYO = ZoneInfo("Asia/Tokyo")
MINUTE = timedelta(minutes=1)
ALL_DAYS = tuple(range(7))


def span(start: str, end: str, here: ZoneInfo = BERLIN) -> Span:
    """Of times with an offset, or else on the clock of ``here``."""
    moments = (datetime.fromisoformat(text) for text in (start, end))
    return Span(*(at if at.tzinfo else at.replace(tzinfo=here) for at in moments))


def found(
    window: Span,
    *,
    here: ZoneInfo = BERLIN,
    minutes: float = 30,
    step: float = 30,
    hours: WorkingHours | None = None,
    busy: tuple[Span, ...] = (),
    before: float = 0,
    after: float = 0,
) -> list[str]:
    """Beginnings, with their offsets."""
    buffers = Buffers(before * MINUTE, after * MINUTE)
    wish = Wish(here, minutes * MINUTE, step * MINUTE, hours, buffers)
    return [slot.start.astimezone(here).isoformat() for slot in find_slots(wish, window, Busy(busy))]


def clock(starts: list[str]) -> list[str]:
    return [start[11:16] for start in starts]


# -- the grid --------------------------------------------------------------------------------------------------


def test_from_the_beginning_of_the_window_to_its_end() -> None:
    window = span("2026-12-01T09:10", "2026-12-01T10:40")
    assert clock(found(window)) == ["09:10", "09:40", "10:10"]
    assert clock(found(window, step=15)) == ["09:10", "09:25", "09:40", "09:55", "10:10"]
    assert clock(found(window, minutes=90)) == ["09:10"]
    assert clock(found(window, minutes=91)) == []


def test_nobody_says_seconds() -> None:
    assert clock(found(span("2026-12-01T09:00:01", "2026-12-01T10:01"))) == ["09:01", "09:31"]


def test_what_is_busy_and_what_only_touches_it() -> None:
    window, busy = span("2026-12-01T09:00", "2026-12-01T12:00"), (span("2026-12-01T10:00", "2026-12-01T10:30"),)
    assert clock(found(window, busy=busy)) == ["09:00", "09:30", "10:30", "11:00", "11:30"]
    assert clock(found(window, busy=busy, before=1)) == ["09:00", "09:30", "11:00", "11:30"]
    assert clock(found(window, busy=busy, after=30)) == ["09:00", "10:30", "11:00", "11:30"]
    assert clock(found(window, busy=busy, before=30, after=31)) == ["11:00", "11:30"]


# -- working hours ---------------------------------------------------------------------------------------------

WEEK = span("2026-11-28T00:00", "2026-12-05T00:00")
"""Saturday to Friday."""


def test_a_day_of_work() -> None:
    hours = WorkingHours(start="09:00", end="10:30", days=(1, 2))
    assert [start[5:16] for start in found(WEEK, hours=hours, minutes=60)] == [
        *("11-30T09:00", "11-30T09:30"),
        *("12-01T09:00", "12-01T09:30"),
    ]


def test_sunday_is_day_0_and_saturday_day_6() -> None:
    sunday, saturday = (found(WEEK, hours=WorkingHours(days=(day,)), minutes=60, step=60) for day in (0, 6))
    assert {start[:10] for start in sunday} == {"2026-11-29"}
    assert {start[:10] for start in saturday} == {"2026-11-28"}


def test_a_time_that_ends_at_midnight_belongs_to_its_day() -> None:
    hours = WorkingHours(start="23:00", end="24:00", days=(1,))
    assert [start[5:16] for start in found(WEEK, hours=hours)] == ["11-30T23:00", "11-30T23:30"]


def test_the_whole_of_a_day_and_no_more() -> None:
    hours = WorkingHours(start="00:00", end="24:00", days=(1,))
    starts = found(WEEK, hours=hours, minutes=60, step=60)
    assert (len(starts), starts[0][5:16], starts[-1][5:16]) == (24, "11-30T00:00", "11-30T23:00")


def test_hours_of_a_night_belong_to_the_day_on_which_they_begin() -> None:
    night = WorkingHours(start="22:00", end="02:00", days=(5,))  # Friday
    window = span("2026-12-03T00:00", "2026-12-06T00:00")
    starts = found(window, hours=night, minutes=60, step=60)
    assert [start[5:16] for start in starts] == ["12-04T22:00", "12-04T23:00", "12-05T00:00", "12-05T01:00"]
    assert is_open(night, BERLIN, span("2026-12-04T23:30", "2026-12-05T00:30"))
    assert not is_open(night, BERLIN, span("2026-12-05T22:00", "2026-12-05T23:00"))
    assert not is_open(night, BERLIN, span("2026-12-04T01:00", "2026-12-04T02:00"))


def test_a_night_that_has_begun_before_the_window() -> None:
    night = WorkingHours(start="22:00", end="06:00", days=ALL_DAYS)
    window = span("2026-12-01T04:00", "2026-12-01T12:00")
    assert clock(found(window, hours=night, minutes=60, step=60)) == ["04:00", "05:00"]


def test_hours_are_those_of_the_place() -> None:
    hours = WorkingHours(start="09:00", end="10:00", days=ALL_DAYS)
    window = span("2026-12-01T00:00+00:00", "2026-12-02T00:00+00:00")
    assert found(window, here=TOKYO, hours=hours, minutes=60, step=60) == ["2026-12-01T09:00:00+09:00"]


# -- when the clocks are changed -----------------------------------------------------------------------------------

FORWARD = [
    # zone, window, what is offered; times that the clocks skip are none
    (
        BERLIN,
        ("2027-03-28T01:00", "2027-03-28T04:30"),
        ["01:00+01:00", "01:30+01:00", "03:00+02:00", "03:30+02:00", "04:00+02:00"],
    ),
    (
        NEW_YORK,
        ("2027-03-14T01:00", "2027-03-14T04:00"),
        ["01:00-05:00", "01:30-05:00", "03:00-04:00", "03:30-04:00"],
    ),
    (
        LORD_HOWE,  # by half an hour
        ("2026-10-04T01:00", "2026-10-04T03:30"),
        ["01:00+10:30", "01:30+10:30", "02:30+11:00", "03:00+11:00"],
    ),
]
BACK = [
    # Of a time that the clocks show twice, the first is offered; the second hour is free, and not offered.
    (
        BERLIN,
        ("2026-10-25T01:30", "2026-10-25T03:30"),
        ["01:30+02:00", "02:00+02:00", "02:30+02:00", "03:00+01:00"],
    ),
    (
        NEW_YORK,
        ("2026-11-01T00:30", "2026-11-01T02:30"),
        ["00:30-04:00", "01:00-04:00", "01:30-04:00", "02:00-05:00"],
    ),
    (
        LORD_HOWE,
        ("2027-04-04T01:00", "2027-04-04T03:00"),
        ["01:00+11:00", "01:30+11:00", "02:00+10:30", "02:30+10:30"],
    ),
]


@pytest.mark.parametrize(("here", "window", "starts"), [*FORWARD, *BACK])
def test_the_grid_over_a_change(here: ZoneInfo, window: tuple[str, str], starts: list[str]) -> None:
    offered = found(span(*window, here=here), here=here)
    assert [start[11:16] + start[19:] for start in offered] == starts


@pytest.mark.parametrize(
    ("here", "before", "after"),
    [
        (BERLIN, "2027-03-27", "2027-03-29"),
        (BERLIN, "2026-10-24", "2026-10-26"),
        (NEW_YORK, "2027-03-13", "2027-03-15"),
        (NEW_YORK, "2026-10-31", "2026-11-02"),
        (LORD_HOWE, "2026-10-03", "2026-10-05"),
        (LORD_HOWE, "2027-04-03", "2027-04-05"),
    ],
)
def test_office_hours_stay_where_they_are(here: ZoneInfo, before: str, after: str) -> None:
    hours = WorkingHours(start="09:00", end="11:00", days=ALL_DAYS)
    window = span(f"{before}T09:00", f"{after}T23:00", here=here)
    starts = found(window, here=here, hours=hours, minutes=60, step=60)
    assert clock(starts) == ["09:00", "10:00"] * 3
    assert len({start[19:] for start in starts}) == 2


@pytest.mark.parametrize(
    ("here", "day", "hours"),
    [
        (BERLIN, "2027-03-28", 23),
        (BERLIN, "2026-10-25", 25),
        (NEW_YORK, "2027-03-14", 23),
        (LORD_HOWE, "2026-10-04", 23.5),
        (LORD_HOWE, "2027-04-04", 24.5),
    ],
)
def test_a_day_is_as_long_as_it_really_is(here: ZoneInfo, day: str, hours: float) -> None:
    whole = WorkingHours(start="00:00", end="24:00", days=ALL_DAYS)
    window = span(f"{day}T00:00", f"{day}T23:59", here=here)
    window = Span(window.start, window.end + MINUTE)
    assert found(window, here=here, hours=whole, minutes=hours * 60) == [window.start.astimezone(here).isoformat()]
    assert found(window, here=here, hours=whole, minutes=hours * 60 + 1) == []


def test_an_hour_over_the_change_is_an_hour() -> None:
    [slot] = find_slots(Wish(BERLIN, 60 * MINUTE, 60 * MINUTE), span("2027-03-28T01:30", "2027-03-28T03:30"), Busy())
    assert slot.end - slot.start == 60 * MINUTE
    assert slot.end.astimezone(BERLIN).isoformat() == "2027-03-28T03:30:00+02:00"


def test_hours_that_begin_while_there_is_no_such_time_begin_after_it() -> None:
    hours = WorkingHours(start="02:30", end="04:00", days=ALL_DAYS)
    window = span("2027-03-28T00:00", "2027-03-28T12:00")
    assert clock(found(window, hours=hours)) == ["03:00", "03:30"]


def test_a_day_that_a_place_leaves_out() -> None:
    """Samoa crossed the date line: there was no 30 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    hours = WorkingHours(start="09:00", end="10:00", days=ALL_DAYS)
    starts = found(span("2011-12-29T00:00", "2012-01-01T00:00", here=apia), here=apia, hours=hours, minutes=60, step=60)
    assert [start[:10] for start in starts] == ["2011-12-29", "2011-12-31"]


def test_moments_of_clock_times() -> None:
    skipped, twice = datetime(2027, 3, 28, 2, 30), datetime(2026, 10, 25, 2, 30)
    assert moment(skipped, BERLIN) is None
    assert first_moment(skipped, BERLIN) == datetime(2027, 3, 28, 1, 0, tzinfo=UTC)
    assert moment(twice, BERLIN) == first_moment(twice, BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


# -- alternatives ----------------------------------------------------------------------------------------------


def near(asked: Span, busy: tuple[Span, ...], **wish: object) -> list[str]:
    fields = {"here": BERLIN, "duration": asked.end - asked.start, "step": 15 * MINUTE, **wish}
    slots = alternatives(
        Wish(**fields),  # type: ignore[arg-type]
        asked,
        Busy(busy),
        earliest=span("2026-12-01T08:00", "2026-12-01T09:00").start,
        reach=timedelta(days=7),
    )
    return [slot.start.astimezone(BERLIN).strftime("%d %H:%M") for slot in slots]


ASKED = span("2026-12-01T10:00", "2026-12-01T10:30")


def test_the_closest_first_and_of_two_the_later() -> None:
    assert near(ASKED, (ASKED,)) == ["01 10:30", "01 09:30", "01 11:00"]
    assert near(ASKED, (span("2026-12-01T10:15", "2026-12-01T11:00"),)) == ["01 09:45", "01 09:15", "01 11:00"]


def test_never_before_the_earliest() -> None:
    busy = (span("2026-12-01T08:30", "2026-12-02T00:00"),)
    assert near(ASKED, busy) == ["01 08:00", "02 00:00", "02 00:30"]


def test_within_working_hours_and_reach() -> None:
    hours = WorkingHours(start="09:00", end="10:30", days=(1, 2, 3, 4, 5))
    busy = (span("2026-12-01T00:00", "2026-12-02T00:00"),)
    assert near(ASKED, busy, hours=hours) == ["02 09:00", "02 09:30", "02 10:00"]
    assert near(ASKED, (span("2026-11-01T00:00", "2027-01-01T00:00"),)) == []


def test_what_overlaps_only_where_there_is_nothing_else() -> None:
    busy = (span("2026-11-01T00:00", "2026-12-01T11:00"), span("2026-12-01T11:45", "2027-01-01T00:00"))
    assert near(ASKED, busy) == ["01 11:00", "01 11:15"]


# -- whatever is asked -----------------------------------------------------------------------------------------

ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, TOKYO, ZoneInfo("Asia/Kolkata"), ZoneInfo("UTC")])
ODD_DAYS = ["2026-10-25", "2026-11-01", "2026-10-04", "2027-03-28", "2027-03-14", "2027-04-04", "2026-12-01"]
CLOCK_TIMES = st.sampled_from(["00:00", "01:30", "02:00", "02:30", "09:00", "12:15", "17:00", "23:30", "24:00"])
AGAIN = datetime(2026, 10, 25, 1, tzinfo=UTC)
"""When the clock of Berlin shows two for the second time."""
HOURS = st.builds(
    WorkingHours,
    start=CLOCK_TIMES,
    end=CLOCK_TIMES,
    days=st.lists(st.integers(0, 6), unique=True, max_size=7).map(tuple),
)


@st.composite
def windows(draw: st.DrawFn) -> Span:
    day = datetime.fromisoformat(draw(st.sampled_from(ODD_DAYS))).replace(tzinfo=UTC)
    start = day + draw(st.integers(-24 * 60, 24 * 60)) * MINUTE
    return Span(start, start + draw(st.integers(1, 3 * 24 * 60)) * MINUTE)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Wish, Span, list[Span]]:
    window = draw(windows())
    length = (window.end - window.start) // MINUTE
    starts = draw(st.lists(st.integers(-60, length), max_size=8))
    busy = [Span(window.start + at * MINUTE, window.start + (at + draw(st.integers(1, 240))) * MINUTE) for at in starts]
    minutes = st.sampled_from([0, 5, 15, 60])
    wish = Wish(
        draw(ZONES),
        draw(st.integers(1, 180)) * MINUTE,
        draw(st.integers(1, 90)) * MINUTE,
        draw(st.none() | HOURS),
        Buffers(draw(minutes) * MINUTE, draw(minutes) * MINUTE),
    )
    return wish, window, busy


def on_clock(at: datetime, here: ZoneInfo) -> datetime:
    return at.astimezone(here).replace(tzinfo=None, fold=0)


@given(questions())
def test_every_slot_is_free_and_as_it_was_wished(question: tuple[Wish, Span, list[Span]]) -> None:
    wish, window, busy = question
    slots = list(find_slots(wish, window, Busy(busy)))
    assert slots == sorted(set(slots))
    for slot in slots:
        assert slot.within(window)
        assert slot.end - slot.start == wish.duration
        assert not any(wish.buffers.around(slot).overlaps(other) for other in busy)
        away = on_clock(slot.start, wish.here) - on_clock(window.start, wish.here)
        assert away % wish.step == timedelta()
        if wish.hours is not None:
            assert is_open(wish.hours, wish.here, slot)


@given(questions())
@example((Wish(BERLIN, MINUTE, MINUTE), Span(AGAIN, AGAIN + MINUTE), []))
@example((Wish(BERLIN, MINUTE, MINUTE), Span(AGAIN - MINUTE, AGAIN + 61 * MINUTE), []))
def test_nothing_that_is_free_is_left_out(question: tuple[Wish, Span, list[Span]]) -> None:
    """Against a search that tries every clock time, one after the other."""
    wish, window, busy = question
    expected = []
    wall = on_clock(window.start, wish.here)
    while wall <= on_clock(window.end, wish.here) + timedelta(days=1):
        start = wall.replace(tzinfo=wish.here).astimezone(UTC)
        slot = Span(start, start + wish.duration)
        exists = on_clock(start, wish.here) == wall
        is_free = not any(wish.buffers.around(slot).overlaps(other) for other in busy)
        opens = wish.hours is None or is_open(wish.hours, wish.here, slot)
        if exists and slot.within(window) and is_free and opens:
            expected.append(slot)
        wall += wish.step
    assert list(find_slots(wish, window, Busy(busy))) == expected


@given(HOURS, windows())
def test_hours_where_the_clocks_never_change(hours: WorkingHours, wanted: Span) -> None:
    """By the words of the contract: on one day, of a weekday that counts, from ``start`` to ``end``."""
    if hours.start >= hours.end:
        return
    start, end = on_clock(wanted.start, TOKYO), on_clock(wanted.end, TOKYO)
    last = (end - timedelta(microseconds=1)).date()
    is_midnight = end.time() == time()
    ends = "24:00" if is_midnight else end.strftime("%H:%M")
    expected = (
        start.date() == last
        and start.isoweekday() % 7 in hours.days
        and start.strftime("%H:%M") >= hours.start
        and ends <= hours.end
    )
    assert is_open(hours, TOKYO, wanted) == expected


@given(questions())
def test_alternatives_are_free_and_close(question: tuple[Wish, Span, list[Span]]) -> None:
    wish, window, busy = question
    asked = Span(window.start, window.start + wish.duration)
    busy = [*busy, asked]
    slots = alternatives(wish, asked, Busy(busy), earliest=window.start, reach=timedelta(days=2))
    assert len(slots) <= 3
    distances = [abs(slot.start - asked.start) for slot in slots]
    assert distances == sorted(distances)
    for slot in slots:
        assert window.start <= slot.start <= asked.start + timedelta(days=2)
        assert not any(wish.buffers.around(slot).overlaps(other) for other in busy)


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=20), st.integers(0, 200), st.integers(1, 30)
)
def test_busy_says_what_overlaps(taken: list[tuple[int, int]], at: int, minutes: int) -> None:
    begin = datetime(2026, 12, 1, tzinfo=UTC)
    spans = [Span(begin + start * MINUTE, begin + (start + length) * MINUTE) for start, length in taken]
    wanted = Span(begin + at * MINUTE, begin + (at + minutes) * MINUTE)
    # Nothing can be in the way of an appointment that takes no time.
    assert Busy(spans).blocks(wanted) == any(wanted.overlaps(other) for other in spans if other.start < other.end)

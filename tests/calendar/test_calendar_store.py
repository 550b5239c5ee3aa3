"""No time is given away twice, whoever asks for it and however often."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_engine.calendar.database import Database
from ai_engine.calendar.slots import Buffers, Span
from ai_engine.calendar.store import HELD, Appointment, Event, KeyUsed, Store, Taken, TimeTaken
from tests.calendar.bridge_parts import NOW, Clock

FORK = multiprocessing.get_context("fork")
MINUTE = timedelta(minutes=1)
NINE = NOW.replace(day=1, month=12, hour=9)
DAY = Span(NINE - timedelta(hours=9), NINE + timedelta(hours=15))
NO_BUFFERS = Buffers()


def at(minute: int, minutes: int = 30) -> Span:
    """So long after nine."""
    return Span(NINE + minute * MINUTE, NINE + (minute + minutes) * MINUTE)


def visit(span: Span, calendar_id: str = "primary", title: str = "Visit") -> Appointment:
    return Appointment(calendar_id, span, "Europe/Berlin", title)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with closing(Database(tmp_path / "calendar.sqlite", 5.0)) as database:
        yield Store(database, clock)


def spans(store: Store, calendar_id: str = "primary", key: str | None = None) -> list[Span]:
    return [taken.span for taken in store.taken([calendar_id], DAY, key)]


# -- appointments ----------------------------------------------------------------------------------------------


def test_a_time_is_taken_once(store: Store) -> None:
    store.create(visit(at(0)), NO_BUFFERS, "a")
    with pytest.raises(TimeTaken) as caught:
        store.create(visit(at(29)), NO_BUFFERS, "b")
    assert caught.value.by == [Taken(at(0), "Visit")]
    store.create(visit(at(30)), NO_BUFFERS, "c")
    store.create(visit(at(0), "other"), NO_BUFFERS, "d")
    assert spans(store) == [at(0), at(30)]


def test_buffers_count_when_it_is_entered(store: Store) -> None:
    store.create(visit(at(60)), NO_BUFFERS, "a")
    buffers = Buffers(before=15 * MINUTE, after=10 * MINUTE)
    for minute in (21, 104):
        with pytest.raises(TimeTaken):
            store.create(visit(at(minute)), buffers, f"at {minute}")
    for minute in (20, 105):
        store.create(visit(at(minute)), buffers, f"at {minute}")


def test_the_same_key_is_the_same_appointment(store: Store, clock: Clock) -> None:
    first = store.create(visit(at(0)), NO_BUFFERS, "a")
    assert store.create(visit(at(0)), NO_BUFFERS, "a") == first
    clock.now += 30 * 24 * 3600
    assert store.create(visit(at(0)), Buffers(60 * MINUTE, 60 * MINUTE), "a") == first
    assert spans(store) == [at(0)]


def test_the_same_key_in_another_offset(store: Store) -> None:
    first = store.create(visit(at(0)), NO_BUFFERS, "a")
    elsewhere = Span(*(moment.astimezone(NINE.tzinfo) for moment in (at(0).start, at(0).end)))
    assert store.create(visit(elsewhere), NO_BUFFERS, "a") == first


@pytest.mark.parametrize(
    "other",
    [visit(at(30)), visit(at(0, 45)), visit(at(0), "other"), visit(at(0), title="Other")],
    ids=["start", "end", "calendar", "title"],
)
def test_a_key_of_another_appointment_is_refused(store: Store, other: Appointment) -> None:
    first = store.create(visit(at(0)), NO_BUFFERS, "a")
    with pytest.raises(KeyUsed) as caught:
        store.create(other, NO_BUFFERS, "a")
    assert caught.value.event == first
    assert spans(store) == [at(0)]
    assert spans(store, "other") == []


def test_what_is_canceled_is_free_again_and_its_key_is_not(store: Store, clock: Clock) -> None:
    first = store.create(visit(at(0)), NO_BUFFERS, "a")
    clock.now += 60
    canceled = store.cancel("primary", first.id)
    assert canceled is not None
    assert (canceled.canceled, canceled.sequence) == (True, 1)
    assert canceled.changed_at - canceled.created_at == MINUTE
    assert store.cancel("primary", first.id) == canceled
    assert spans(store) == []
    with pytest.raises(KeyUsed):
        store.create(visit(at(0)), NO_BUFFERS, "a")
    assert store.create(visit(at(0)), NO_BUFFERS, "b").id != first.id


def test_only_in_its_own_calendar_can_it_be_canceled(store: Store) -> None:
    first = store.create(visit(at(0)), NO_BUFFERS, "a")
    assert store.cancel("other", first.id) is None
    assert store.cancel("primary", "nothing") is None
    assert spans(store) == [at(0)]


def test_it_is_known_to_the_next_process(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "calendar.sqlite"
    with closing(Database(path, 5.0)) as database:
        first = Store(database, clock).create(visit(at(0), title="Z\u00fcrich; a,b\n\\c"), NO_BUFFERS, "a")
    with closing(Database(path, 5.0)) as database:
        assert Store(database, clock).events(["primary"], DAY) == [first]


# -- holds -----------------------------------------------------------------------------------------------------


def test_a_hold_is_in_everybodys_way_but_its_own(store: Store) -> None:
    until = store.hold(["primary"], at(0), NO_BUFFERS, "A", 180)
    assert until == NOW + timedelta(seconds=180)
    assert store.taken(["primary"], at(0)) == [Taken(at(0), HELD)]
    assert store.taken(["primary"], at(0), "A") == []
    assert store.hold(["primary"], at(15), NO_BUFFERS, "B", 180) == [Taken(at(0), HELD)]
    with pytest.raises(TimeTaken):
        store.create(visit(at(0)), NO_BUFFERS, "b", "B")
    store.create(visit(at(0)), NO_BUFFERS, "a", "A")
    assert store.taken(["primary"], at(0), "A") == [Taken(at(0), "Visit")]


def test_a_hold_ends(store: Store, clock: Clock) -> None:
    store.hold(["primary"], at(0), NO_BUFFERS, "A", 180)
    clock.now += 179
    assert spans(store) == [at(0)]
    clock.now += 1
    assert spans(store) == []
    assert not store.release("A")
    assert isinstance(store.hold(["primary"], at(0), NO_BUFFERS, "B", 180), datetime)
    assert store.release("B")
    assert spans(store) == []


def test_one_time_at_a_time(store: Store) -> None:
    store.hold(["primary", "other"], at(0), NO_BUFFERS, "A", 180)
    assert spans(store, "other") == [at(0)]
    store.hold(["primary"], at(60), NO_BUFFERS, "A", 180)
    assert (spans(store), spans(store, "other")) == ([at(60)], [])


def test_what_cannot_be_held_leaves_what_is(store: Store) -> None:
    store.create(visit(at(60)), NO_BUFFERS, "x")
    store.hold(["primary"], at(0), NO_BUFFERS, "A", 180)
    assert store.hold(["primary"], at(60), NO_BUFFERS, "A", 180) == [Taken(at(60), "Visit")]
    assert spans(store) == [at(0), at(60)]


def test_the_same_calendar_twice_is_one(store: Store) -> None:
    assert isinstance(store.hold(["primary", "primary"], at(0), NO_BUFFERS, "A", 180), datetime)
    assert spans(store) == [at(0)]


# -- calendars elsewhere ---------------------------------------------------------------------------------------


def test_what_is_busy_elsewhere_is_so_in_every_calendar(store: Store) -> None:
    store.sources = ["x"]
    store.replace_imported("x", [Taken(at(0), "Dentist")])
    store.replace_imported("y", [Taken(at(60), "of a calendar that does not count any more")])
    assert spans(store) == spans(store, "other") == [at(0)]
    with pytest.raises(TimeTaken):
        store.create(visit(at(0)), NO_BUFFERS, "a")
    store.replace_imported("x", [])
    assert spans(store) == []


# -- at the same time ------------------------------------------------------------------------------------------


def without_overlap(events: list[Event]) -> bool:
    return not any(one.span.overlaps(other.span) for one, other in combinations(events, 2))


def race(store: Store, who: int) -> list[str]:
    """Everybody wants many times, in another order; every third with a hold first. Gives what was entered."""
    made = []
    for step in range(12):
        minute = (step * 7 + who * 5) % 12 * 20
        key, hold_key = f"{who}:{minute}", f"{who}" if step % 3 == 0 else None
        if hold_key and not isinstance(store.hold(["primary"], at(minute), NO_BUFFERS, hold_key, 60), datetime):
            continue
        try:
            made.append(store.create(visit(at(minute)), NO_BUFFERS, key, hold_key).id)
        except TimeTaken:
            assert hold_key is None, "what is held cannot be taken by somebody else"
    return made


def test_threads_that_want_the_same_times(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [one for found in pool.map(lambda who: race(store, who), range(8)) for one in found]
    events = store.events(["primary"], DAY)
    assert sorted(made) == sorted(event.id for event in events)
    assert without_overlap(events)
    assert len(events) > 3


def _race_in_a_process(path: Path, who: int, found: Any) -> None:
    with closing(Database(path, 20.0)) as database:
        found.put(race(Store(database, Clock()), who))


def test_processes_that_want_the_same_times(tmp_path: Path) -> None:
    """On a file that none of them has seen before."""
    path, found = tmp_path / "new" / "calendar.sqlite", FORK.Queue()
    children = [FORK.Process(target=_race_in_a_process, args=(path, who, found)) for who in range(4)]
    for child in children:
        child.start()
    made = [one for _ in children for one in found.get(timeout=60)]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    with closing(Database(path, 5.0)) as database:
        events = Store(database, Clock()).events(["primary"], DAY)
    assert sorted(made) == sorted(event.id for event in events)
    assert without_overlap(events)


def test_the_same_key_from_everywhere_is_one_appointment(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: store.create(visit(at(0)), NO_BUFFERS, "a").id, range(16)))
    assert len(made) == 1
    assert spans(store) == [at(0)]


# -- whatever is asked, in whatever order ----------------------------------------------------------------------

KEYS = st.sampled_from("ABC")
SPANS = st.builds(at, st.integers(0, 12).map(lambda n: n * 15), st.sampled_from([15, 30, 60]))
CALENDARS = st.sampled_from(["primary", "other"])
BUFFERS = st.sampled_from([NO_BUFFERS, Buffers(15 * MINUTE, timedelta()), Buffers(15 * MINUTE, 15 * MINUTE)])
STEPS = st.one_of(
    st.tuples(st.just("create"), CALENDARS, SPANS, st.sampled_from("abcdef"), KEYS | st.none(), BUFFERS),
    st.tuples(st.just("hold"), CALENDARS, SPANS, KEYS, st.integers(1, 5), BUFFERS),
    st.tuples(st.just("release"), KEYS),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 5)),
)


class Paper:
    """What the store should do, as a list would."""

    def __init__(self) -> None:
        self.now = 0
        self.events: list[tuple[str, Span, str, bool]] = []  # calendar, span, key, canceled
        self.holds: dict[str, tuple[str, Span, int]] = {}

    def is_free(self, calendar: str, span: Span, buffers: Buffers, key: str | None) -> bool:
        wide = buffers.around(span)
        booked = (taken for where, taken, _, canceled in self.events if where == calendar and not canceled)
        held = (
            taken
            for whose, (where, taken, until) in self.holds.items()
            if where == calendar and whose != key and until > self.now
        )
        return not any(wide.overlaps(taken) for taken in (*booked, *held))


def play(store: Store, clock: Clock, paper: Paper, step: tuple[Any, ...]) -> None:
    match step:
        case "create", calendar, span, key, hold_key, buffers:
            known = next((event for event in paper.events if event[2] == key), None)
            if known is not None and known != (calendar, span, key, False):
                with pytest.raises(KeyUsed):
                    store.create(visit(span, calendar), buffers, key, hold_key)
            elif known is not None or paper.is_free(calendar, span, buffers, hold_key):
                assert store.create(visit(span, calendar), buffers, key, hold_key).span == span
                if known is None:
                    paper.events.append((calendar, span, key, False))
                    paper.holds.pop(hold_key, None)
            else:
                with pytest.raises(TimeTaken):
                    store.create(visit(span, calendar), buffers, key, hold_key)
        case "hold", calendar, span, key, seconds, buffers:
            is_free = paper.is_free(calendar, span, buffers, key)
            assert isinstance(store.hold([calendar], span, buffers, key, seconds), datetime) == is_free
            if is_free:
                paper.holds[key] = (calendar, span, paper.now + seconds)
        case "release", key:
            was_held = key in paper.holds and paper.holds.pop(key)[2] > paper.now
            assert store.release(key) == was_held
        case "cancel", which if which < len(paper.events):
            calendar, span, key, canceled = paper.events[which]
            if not canceled:
                event = store.create(visit(span, calendar), NO_BUFFERS, key)
                assert store.cancel(calendar, event.id) is not None
                paper.events[which] = (calendar, span, key, True)
        case "wait", seconds:
            paper.now += seconds
            clock.now += seconds


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=20))
def test_whatever_happens_it_is_as_on_paper(steps: list[tuple[Any, ...]]) -> None:
    clock, paper = Clock(), Paper()
    with tempfile.TemporaryDirectory() as folder, closing(Database(Path(folder) / "c.sqlite", 5.0)) as database:
        store = Store(database, clock)
        for step in steps:
            play(store, clock, paper, step)
        for calendar in ("primary", "other"):
            booked = [span for where, span, _, canceled in paper.events if where == calendar and not canceled]
            held = [span for where, span, until in paper.holds.values() if where == calendar and until > paper.now]
            assert spans(store, calendar) == sorted((*booked, *held))

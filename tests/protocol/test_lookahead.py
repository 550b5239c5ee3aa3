"""What Asterisk is sent early, by hand-turned ticks."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.protocol.lookahead import Commands, Lookahead

SILENCE = bytes(2)
FLUSH = '{"command":"FLUSH_MEDIA"}'


def mark(number: int) -> str:
    return f'{{"command":"MARK_MEDIA","correlation_id":"{number}"}}'


def voice(number: int) -> bytes:
    """A frame of one sample."""
    return number.to_bytes(2, "little")


def sound(first: int, last: int) -> bytes:
    return b"".join(voice(number) for number in range(first, last + 1))


class Speaker:
    """A voice with ``made`` frames, numbered from 1; held it dies away, as a ``Playout`` does."""

    def __init__(self, made: int = 0) -> None:
        self.made = made
        self.given = 0
        self.asked = 0
        self.fade: bytes | None = None
        self.held = False

    def next_frame(self) -> bytes | None:
        self.asked += 1
        if self.fade is not None:
            frame, self.fade = self.fade, None
            return frame
        if self.held or self.given == self.made:
            return None
        self.given += 1
        return voice(self.given)

    def upcoming(self, frames: int) -> Sequence[bytes]:
        if self.fade is not None:
            return [self.fade]
        if self.held:
            return ()
        return [voice(number) for number in range(self.given + 1, min(self.made, self.given + frames) + 1)]


class Bench:
    """Ticks every 20 ms from 0."""

    def __init__(self, speaker: Speaker | None, ahead_ms: int = 100, *, is_json: bool = True) -> None:
        self.speaker = speaker
        self.lookahead = Lookahead(ahead_ms, SILENCE, is_json=is_json)
        self.now = 0.0

    def hold(self, later_ms: float = 0.0, *, fade: bytes | None = None) -> list[str | bytes]:
        """As a session does, so long after the last tick; returns what is sent."""
        assert self.speaker is not None
        self.speaker.held, self.speaker.fade = True, fade
        return self.flush(later_ms)

    def flush(self, later_ms: float = 0.0) -> list[str | bytes]:
        return self.lookahead.flush(self.speaker, self.now - 0.02 + later_ms / 1000)

    def tick(self, times: int = 1) -> list[str | bytes]:
        out: list[str | bytes] = []
        for _ in range(times):
            out += self.lookahead.tick(self.speaker, self.now)
            self.now += 0.02
        return out


def test_silence_goes_frame_by_frame() -> None:
    assert Bench(None).tick(3) == [SILENCE] * 3
    speaker = Speaker()
    assert Bench(speaker).tick(3) == [SILENCE] * 3
    assert speaker.asked == 3


def test_a_reply_begins_with_a_burst_and_ends_with_a_mark() -> None:
    speaker = Speaker()
    bench = Bench(speaker)
    bench.tick(5)
    speaker.made = 12
    assert bench.tick() == [FLUSH, mark(1), sound(1, 6)], "what waits before it is silence"
    assert bench.lookahead.early == 5
    assert bench.tick() == []
    assert bench.tick() == [mark(2), sound(7, 8)]
    assert bench.tick(8) == [sound(9, 10), sound(11, 12)]
    assert bench.lookahead.early == 1
    assert bench.tick() == []
    assert bench.tick() == [mark(3), SILENCE]
    assert bench.tick() == [SILENCE]
    assert speaker.asked == 5 + 14


@pytest.mark.parametrize(("ahead_ms", "frames"), [(60, 3), (99, 4), (200, 10)])
def test_how_far_ahead(ahead_ms: int, frames: int) -> None:
    bench = Bench(Speaker(100), ahead_ms)
    assert bench.tick() == [mark(1), sound(1, 1 + frames)]
    for _ in range(50):
        bench.tick()
        assert frames - 1 <= bench.lookahead.early <= frames


def test_speech_that_is_made_no_faster_than_it_is_spoken() -> None:
    speaker = Speaker()
    bench = Bench(speaker)
    out: list[str | bytes] = []
    for _ in range(20):
        speaker.made += 1
        out += bench.tick()
    pieces = [piece for piece in out if isinstance(piece, bytes)]
    assert b"".join(pieces) == sound(1, 20)
    assert pieces == [voice(number) for number in range(1, 21)]


def test_every_frame_leaves_once_whatever_the_pace() -> None:
    speaker = Speaker()
    bench = Bench(speaker)
    out: list[str | bytes] = []
    for made in (3, 3, 3, 4, 20, 20, 20, 21, 40, *[40] * 40):
        speaker.made = made
        out += bench.tick()
    assert b"".join(piece for piece in out if isinstance(piece, bytes)).replace(SILENCE, b"") == sound(1, 40)


def test_what_is_taken_back_is_sent_again() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    assert bench.hold() == [FLUSH]
    assert bench.flush() == [], "nothing is left to take back"
    assert bench.tick(4) == [SILENCE, SILENCE, SILENCE, SILENCE]
    speaker.held = False
    assert bench.tick() == [FLUSH, mark(2), sound(2, 7)]


def test_the_sound_dies_away_at_once_and_only_once() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    assert bench.hold(fade=voice(999)) == [FLUSH, voice(999)]
    assert bench.lookahead.early == 1
    assert bench.flush() == [], "stopped as soon as it is held"
    assert bench.tick() == []
    assert bench.tick(3) == [mark(2), SILENCE, SILENCE, SILENCE]
    speaker.held = False
    assert bench.tick() == [FLUSH, mark(3), sound(2, 7)]


def test_what_comes_after_a_sound_that_dies_away_follows_it() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    bench.hold(fade=voice(999))
    speaker.held = False  # stopped, and the next reply waits already
    assert bench.tick() == [mark(2), sound(2, 6)]
    assert speaker.asked == 2


@pytest.mark.parametrize(
    ("lag_ms", "later_ms", "again"),
    [
        pytest.param(8, 3, sound(2, 2), id="not played yet"),
        pytest.param(8, 12, b"", id="played"),
        pytest.param(28, 3, sound(1, 2), id="two not played"),
        pytest.param(28, 12, sound(2, 2), id="the last of two"),
        pytest.param(90, 3, b"", id="silence is urgent"),
    ],
)
def test_what_was_given_but_not_played_is_sent_again_before_it_dies_away(
    lag_ms: float, later_ms: float, again: bytes
) -> None:
    bench = Bench(Speaker(100))
    bench.tick(2)
    bench.lookahead.mark_processed("1", lag_ms / 1000)
    assert bench.hold(later_ms, fade=voice(999)) == [FLUSH, again + voice(999)]


def test_it_goes_on_although_it_was_to_die_away() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    bench.hold(fade=voice(999))
    speaker.held, speaker.fade = False, None
    assert bench.tick() == [sound(2, 7)], "nothing is missing"


def test_frames_from_before_a_pause_are_not_sent_again() -> None:
    speaker = Speaker(2)
    bench = Bench(speaker)
    bench.tick(3)
    bench.lookahead.mark_processed("1", 0.035)
    speaker.made = 100
    bench.tick()
    assert bench.hold(fade=voice(999)) == [FLUSH, voice(999)], "two frames wait, and only one is of these words"


def test_a_flush_when_nothing_was_sent_early() -> None:
    bench = Bench(Speaker(1))
    bench.tick()
    assert bench.lookahead.flush() == []


def test_the_end_of_speech_is_never_flushed_with_the_silence() -> None:
    speaker = Speaker(1)
    bench = Bench(speaker)
    bench.tick(2)
    bench.lookahead.mark_processed("1", 0.055)  # played 55 ms after it was due
    speaker.made = 2
    assert bench.tick() == [mark(3), voice(2)]
    bench.tick(4)
    speaker.made = 3
    assert bench.tick() == [FLUSH, mark(5), voice(3)]


def test_announced_frames_that_do_not_come_are_taken_back() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    speaker.held = True
    assert bench.tick() == [FLUSH, SILENCE]
    assert bench.lookahead.early == 0


def test_a_session_that_flushes_while_it_is_asked() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    flushed: list[str | bytes] = []
    give = speaker.next_frame

    def stopped() -> bytes | None:
        frame = give()
        speaker.fade = voice(999)  # what follows the frame that is given now
        flushed.extend(bench.lookahead.flush(speaker, bench.now))
        return frame

    speaker.next_frame = stopped  # type: ignore[method-assign]
    assert bench.tick() == [mark(2), voice(2) + voice(999)], "the frame itself was taken back too"
    assert flushed == [FLUSH]


def test_lag_is_from_when_a_frame_was_due_to_when_it_is_played() -> None:
    bench = Bench(Speaker(100))
    assert bench.lookahead.lag_ms == 0
    bench.tick()  # mark 1 before frame 1, due at 0
    bench.lookahead.mark_processed("1", 0.012)
    assert bench.lookahead.lag_ms == pytest.approx(12)
    bench.tick(6)  # mark 2 before frame 7, due at 0.12
    bench.lookahead.mark_processed("2", 0.12 + 0.032)
    assert bench.lookahead.lag_ms == pytest.approx(22), "one late message does not weigh too much"
    bench.lookahead.mark_processed("2", 9.0)
    bench.lookahead.mark_processed("77", 9.0)
    bench.lookahead.mark_processed("0", 9.0)
    bench.lookahead.mark_processed("²", 9.0)
    assert bench.lookahead.lag_ms == pytest.approx(22)


def test_the_first_mark_of_a_stretch_forgets_the_last_stretch() -> None:
    speaker = Speaker(1)
    bench = Bench(speaker)
    bench.tick()
    bench.lookahead.mark_processed("1", 0.2)
    bench.tick(20)
    speaker.made = 2
    due = bench.now
    assert bench.tick() == [FLUSH, mark(3), voice(2)]
    bench.lookahead.mark_processed("3", due + 0.005)
    assert bench.lookahead.lag_ms == pytest.approx(5)


def test_marks_that_were_flushed_never_come_and_do_not_disturb() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick(3)
    bench.lookahead.flush()
    bench.lookahead.mark_processed("2", 9.0)
    assert bench.lookahead.lag_ms == 0
    due = bench.now
    bench.tick()
    bench.lookahead.mark_processed("3", due + 0.01)
    assert bench.lookahead.lag_ms == pytest.approx(10)


def test_after_we_stood_still_we_catch_up_with_asterisk() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    assert bench.tick(3) == [mark(1), sound(1, 6), mark(2), sound(7, 8)]
    bench.lookahead.mark_processed("2", 0.12)  # frame 7 is played, and frame 3 was the last we were asked for
    assert bench.lookahead.lag_ms == 0
    assert bench.lookahead._owed == 3
    bench.tick()
    assert speaker.given == 7
    assert speaker.asked == 7


def test_plain_text_has_no_marks() -> None:
    speaker = Speaker(20)
    bench = Bench(speaker, is_json=False)
    out = bench.tick(3)
    speaker.held = True
    out += bench.lookahead.flush()
    assert out == [sound(1, 6), sound(7, 8), "FLUSH_MEDIA"]


class Listener:
    """Asterisk and its caller: a frame is played ``phase_ms`` after every tick, and marks come back at once."""

    def __init__(self, bench: Bench, phase_ms: float) -> None:
        self.bench = bench
        self.phase_ms = phase_ms
        self.waiting: list[bytes | str] = []
        self.heard: list[int] = []
        """The numbers of frames, 0 for silence."""

    def take(self, out: list[str | bytes]) -> None:
        for piece in out:
            if isinstance(piece, bytes):
                self.waiting.extend(piece[at : at + 2] for at in range(0, len(piece), 2))
            elif piece == FLUSH:
                self.waiting.clear()
            else:
                self.waiting.append(piece)

    def play(self) -> None:
        while self.waiting and isinstance(self.waiting[0], str):
            id = str(self.waiting.pop(0)).split('"')[-2]
            self.bench.lookahead.mark_processed(id, self.bench.now - 0.02 + self.phase_ms / 1000)
        frame = self.waiting.pop(0) if self.waiting else SILENCE
        assert isinstance(frame, bytes)
        self.heard.append(int.from_bytes(frame, "little"))

    def turn(self, event_ms: float = 0.0, event: str = "") -> None:
        """20 ms: a tick, and what happens after it, in time."""
        self.take(self.bench.tick())
        if event_ms >= self.phase_ms:
            self.play()
            self.happen(event, event_ms)
        else:
            self.happen(event, event_ms)
            self.play()

    def happen(self, event: str, at_ms: float) -> None:
        speaker = self.bench.speaker
        assert speaker is not None
        match event:
            case "make":
                speaker.made += 4
            case "hold" if not speaker.held:
                speaks = bool(self.bench.lookahead.early)
                self.take(self.bench.hold(at_ms, fade=voice(DYING + speaker.given + 1) if speaks else None))
            case "resume":
                speaker.held = False
            case "flush":
                self.take(self.bench.flush(at_ms))


DYING = 10_000
"""Added to the number of a frame that dies away instead of being heard."""

turns = st.tuples(st.sampled_from(["", "", "make", "hold", "resume"]), st.integers(0, 19))


@given(st.lists(turns, max_size=100), st.integers(0, 19).map(lambda ms: ms + 0.5))
def test_however_it_is_held_what_is_heard_never_jumps(happenings: list[tuple[str, int]], phase_ms: float) -> None:
    """Each frame is heard after the one before it, or the one before it died away; none is missing or heard twice."""
    speaker = Speaker(4)
    bench = Bench(speaker)
    listener = Listener(bench, phase_ms)
    listener.turn()  # how late Asterisk is has to be known
    for event, at_ms in happenings:
        listener.turn(at_ms, event)
    listener.happen("resume", 0)
    for _ in range(speaker.made - speaker.given + 20):
        listener.turn()
    heard = listener.heard
    for before, frame in zip(heard, heard[1:], strict=False):
        if frame > DYING:
            assert before == frame - DYING - 1
    words = [frame for frame in heard if 0 < frame < DYING]
    assert words == list(range(1, speaker.made + 1))


@given(st.lists(st.sampled_from(["tick", "make", "flush", "hold", "resume", "mark"]), max_size=200))
def test_whatever_happens_asterisk_plays_what_was_given(steps: list[str]) -> None:
    """A queue beside it: what Asterisk plays in the end is every frame given, in order, none twice."""
    speaker = Speaker()
    bench = Bench(speaker)
    waiting: list[bytes] = []
    heard: list[int] = []

    def take(out: list[str | bytes]) -> None:
        for piece in out:
            if isinstance(piece, bytes):
                waiting.extend(piece[at : at + 2] for at in range(0, len(piece), 2))
            elif piece == FLUSH:
                waiting.clear()

    for step in [*steps, "resume", "make", *["tick"] * 300]:
        match step:
            case "tick":
                take(bench.tick())
                if waiting and (number := int.from_bytes(waiting.pop(0), "little")):
                    heard.append(number)
            case "make":
                speaker.made += 4
            case "flush":
                take(bench.lookahead.flush())
            case "hold":
                speaker.held = True
                take(bench.lookahead.flush())
            case "resume":
                speaker.held = False
            case "mark":
                bench.lookahead.mark_processed(str(bench.lookahead._mark_number), bench.now)
        assert bench.lookahead.early <= 5
        assert bench.lookahead.early >= 0
    assert heard == sorted(set(heard)), "nothing is heard twice, nor out of order"
    assert speaker.given == speaker.made
    if "mark" not in steps:  # a mark that lies makes us believe that more was played
        assert heard == list(range(1, speaker.made + 1))


def test_a_peer_that_plays_silence_by_itself_has_words_of_its_own() -> None:
    speaker = Speaker()
    bench = Bench(speaker)
    bench.lookahead = Lookahead(100, b"", commands=Commands("clear", lambda name: f"mark {name}"))
    assert bench.tick(5) == []
    speaker.made = 7
    assert bench.tick() == ["mark 1", sound(1, 6)], "no silence waits before it"
    assert bench.hold(fade=voice(90)) == ["clear", voice(90)]


def test_a_peer_that_knows_no_marks() -> None:
    bench = Bench(Speaker(3))
    bench.lookahead = Lookahead(100, b"", commands=Commands("clear", None))
    assert bench.tick(8) == [sound(1, 3)]
    bench.lookahead.mark_processed("1", 5.0)
    assert bench.lookahead.lag_ms == 0.0

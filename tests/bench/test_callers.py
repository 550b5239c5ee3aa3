"""A caller knows every frame: what was lost, doubled, late, unanswered, and when the agent fell silent."""

import pytest

from ai_engine.audio.fade import faded_out
from ai_engine.audio.format import SLIN8
from ai_engine.protocol.audiosocket import WholeFrames
from scripts.bench import marks, voices
from scripts.bench.agent import tone
from scripts.bench.callers import MESSAGE_BYTES, SILENCE, Caller, Part, interrupt, talk
from scripts.bench.figures import Window

FRAME = 0.02
ANSWER = 10
SPEECH = [bytes([1, 2]) * 160] * 5
SOUND = tone(SLIN8)
CODEC = WholeFrames(SLIN8)


class Talk:
    """A caller at a line whose other end is the test."""

    def __init__(self, part: Part) -> None:
        self.window = Window()
        self.caller = Caller(part, self.window)
        self.part = part
        self.now = 100.0

    def until_asked(self) -> marks.Ask:
        """Send until a question went out, and return it."""
        while True:
            message = self.caller.next_message(self.now)
            if mark := marks.asked(message[3:]):
                return mark
            self.now += FRAME

    def hear(self, *frames: bytes, gap: float = FRAME) -> None:
        for frame in frames:
            self.now += gap
            self.caller.receive(CODEC.encode(frame), self.now)


def _talk() -> Talk:
    return Talk(talk(SPEECH, voices.hiss(), ANSWER, 0.0))


def _answer(mark: marks.Ask, missed: int = 0) -> list[bytes]:
    return marks.answer(mark.number, mark.frames, missed, SOUND)


def test_an_answer_that_comes_whole() -> None:
    line = _talk()
    mark = line.until_asked()
    line.hear(*_answer(mark))
    again = line.until_asked()
    assert (again.number, again.heard) == (mark.number + 1, len(line.part.messages))
    assert line.window.whole
    assert line.window.pieces == ANSWER
    assert line.window.answers.max_ms == pytest.approx(20.0)
    assert line.window.gaps.total == ANSWER - 1


def test_the_first_question_asks_the_agent_not_to_check_what_came_before() -> None:
    assert _talk().until_asked().heard == 0


def test_pieces_lost_in_the_middle_and_at_the_end_are_counted() -> None:
    line = _talk()
    pieces = _answer(line.until_asked())
    line.hear(*pieces[:3], *pieces[5:8])
    line.until_asked()
    assert line.window.lost == 2 + 2


def test_pieces_that_come_again_are_counted() -> None:
    line = _talk()
    pieces = _answer(line.until_asked())
    line.hear(*pieces[:4], pieces[3], *pieces[4:])
    line.until_asked()
    assert (line.window.doubled, line.window.lost) == (1, 0)


def test_a_question_without_an_answer_is_counted() -> None:
    line = _talk()
    line.until_asked()
    line.hear(SLIN8.silence())
    line.until_asked()
    assert (line.window.unanswered, line.window.lost) == (1, 0)


def test_the_agent_tells_what_it_did_not_hear() -> None:
    line = _talk()
    line.hear(*_answer(line.until_asked(), missed=4))
    assert line.window.unheard == 4


def test_the_greeting_is_no_answer() -> None:
    line = _talk()
    line.hear(*marks.answer(0, 25, 0, SOUND))
    assert (line.window.pieces, line.window.doubled, line.window.frames) == (0, 0, 25)


def test_frames_are_put_together_from_any_pieces() -> None:
    line = _talk()
    mark = line.until_asked()
    stream = b"".join(CODEC.encode(pcm) for pcm in _answer(mark))
    for start in range(0, len(stream), 100):
        line.caller.receive(stream[start : start + 100], line.now)
    assert line.window.pieces == ANSWER


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="not a frame"):
        _talk().caller.receive(b"\xff" * MESSAGE_BYTES, 1.0)


def test_a_gap_over_a_time_when_nobody_looked_is_not_measured() -> None:
    line = _talk()
    line.hear(SLIN8.silence(), SLIN8.silence())
    line.window.blind_until = line.now + 0.05
    line.hear(SLIN8.silence(), gap=0.06)
    line.hear(SLIN8.silence())
    assert (line.window.unmeasured, line.window.gaps.total, line.window.gaps.max_ms) == (1, 2, pytest.approx(20.0))


def test_an_interruption_ends_with_the_last_sound() -> None:
    line = Talk(interrupt(SPEECH, voices.hiss(), 400, 0.0))
    mark = line.until_asked()
    pieces = _answer(mark)
    for number, message in enumerate(line.part.messages[1 : line.part.onset_at]):
        assert message != SILENCE
        line.now += FRAME
        line.caller.next_message(line.now)
        line.hear(pieces[number], gap=0.0)
    line.now += FRAME
    onset = line.now
    line.caller.next_message(onset)
    line.hear(pieces[60], faded_out(pieces[61], SLIN8), SLIN8.silence())
    line.until_asked()
    (stop,) = line.caller.stops
    assert stop.onset == onset
    assert stop.last_frame == pytest.approx(onset + 0.04)
    assert stop.last_frame + 0.003 < stop.silent <= stop.last_frame + 0.005
    assert (line.window.lost, line.window.unanswered) == (10, 0)


def test_callers_that_begin_together_do_not_speak_together() -> None:
    parts = [talk(SPEECH, voices.hiss(), 150, start) for start in (0.0, 0.5, 0.99)]
    before_speech = [len(part.messages) - part.start_at for part in parts]
    assert len(set(before_speech)) == 3
    assert min(before_speech) >= 60

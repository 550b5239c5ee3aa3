"""What those who look on are told, and in which order."""

from typing import Literal

from ai_engine.call.events import CallerPaused, CallerSaid, CallEvent, PlayoutDrained, ReplyId, ReplyText
from ai_engine.observe.live_transcript import LiveTranscript

ONE, TWO = ReplyId(1), ReplyId(2)


class Told:
    """A call of which everything is passed on."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.transcript = LiveTranscript(self._said)
        self.transcript.call_started("call", {"job": "job"}, 0.0)

    def _said(self, job: str, speaker: Literal["caller", "agent"], text: str) -> None:
        assert job == "job"
        self.lines.append((speaker, text))

    def happened(self, *events: CallEvent, at: float = 0.0) -> None:
        for event in events:
            self.transcript.happened("call", event, at)


def test_words_are_passed_on_as_they_come_and_nothing_of_calls_that_nobody_asked_for() -> None:
    told = Told()
    told.happened(ReplyText(ONE, "Hello."))
    told.happened(CallerSaid("ye", final=False), CallerSaid("yes"), CallerSaid(""))
    told.transcript.call_started("other", {}, 0.0)
    told.transcript.happened("other", ReplyText(ONE, "Nobody looks on."), 0.0)
    assert told.lines == [("agent", "Hello."), ("caller", "yes")]


def test_an_answer_that_comes_before_its_question_was_understood_is_told_after_it() -> None:
    told = Told()
    told.happened(ReplyText(ONE, "Hello."))
    told.happened(CallerPaused(), ReplyText(TWO, "Would"), CallerSaid("yes"), ReplyText(TWO, "Tuesday do?"))
    assert told.lines == [("agent", "Hello."), ("caller", "yes"), ("agent", "Would"), ("agent", "Tuesday do?")]


def test_an_answer_does_not_wait_long_for_words_that_do_not_come() -> None:
    told = Told()
    told.happened(CallerPaused(), ReplyText(ONE, "Would"), at=1.0)
    assert told.lines == []
    told.happened(PlayoutDrained(ONE), at=3.1)
    assert told.lines == [("agent", "Would")]
    told.happened(ReplyText(ONE, "Tuesday do?"), at=3.2)
    assert told.lines[1:] == [("agent", "Tuesday do?")]


def test_what_waits_when_the_call_ends_is_told() -> None:
    told = Told()
    told.happened(CallerPaused(), ReplyText(ONE, "Goodbye."))
    told.transcript.call_ended("call", "agent_hung_up", 0.1)
    assert told.lines == [("agent", "Goodbye.")]

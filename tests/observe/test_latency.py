"""The waterfall of a turn, from events with their times."""

from ai_engine.call.events import (
    AgentSpoke,
    AgentStarted,
    CallerHummed,
    CallerMeant,
    CallerMuttered,
    CallerPaused,
    CallerSaid,
    CallerSpoke,
    CallerStirred,
    CallEvent,
    FalseAlarm,
    PlayoutHeld,
    ReplyCut,
    ReplyId,
    Stage,
    StageReached,
)
from ai_engine.observe.latency import Waterfall

ONE, TWO = ReplyId(1), ReplyId(2)


def turns(*events: tuple[float, CallEvent]) -> list[dict[str, float | str | None]]:
    waterfall = Waterfall()
    for now, event in events:
        waterfall.happened(event, now)
    return [turn.plain() for turn in waterfall.turns]


def test_one_turn_step_by_step() -> None:
    [turn] = turns(
        (0.5, AgentStarted("local")),
        (1.0, AgentSpoke(ONE)),
        (10.06, CallerSpoke(confirmed_ms=60)),
        (11.0, CallerSaid("what are", final=False)),
        (12.5, CallerPaused(silence_ms=500)),
        (12.6, StageReached(Stage.TRANSCRIPT)),
        (12.61, CallerSaid("what are your hours")),
        (12.65, StageReached(Stage.FIRST_TOKEN)),
        (12.7, StageReached(Stage.FIRST_AUDIO)),
        (12.78, AgentSpoke(TWO)),
    )
    assert turn == {
        "text": "what are your hours",
        "onset": 10.0,
        "last_voice": 12.0,
        "end_of_turn_ms": 500.0,
        "transcript_ms": 600.0,
        "first_token_ms": 650.0,
        "first_audio_ms": 700.0,
        "first_frame_ms": 780.0,
        "barge_in_ms": None,
        "heard_ms": None,
    }


def test_agent_that_tells_no_stages_is_measured_by_what_it_says() -> None:
    [turn] = turns(
        (10.0, CallerSpoke()),
        (11.0, CallerPaused(silence_ms=400)),
        (11.1, CallerSaid("hello")),
        (11.2, AgentSpoke(ONE)),
    )
    assert (turn["transcript_ms"], turn["first_token_ms"], turn["first_frame_ms"]) == (500.0, None, 600.0)


def test_barge_in_is_onset_to_cut() -> None:
    [turn] = turns((10.1, CallerSpoke(confirmed_ms=100)), (10.12, ReplyCut(ONE, heard_ms=3210.0)))
    assert (turn["barge_in_ms"], turn["heard_ms"]) == (120.0, 3210.0)


def test_barge_in_is_onset_to_the_hold_although_it_is_cut_much_later() -> None:
    [turn] = turns(
        (10.1, CallerStirred(confirmed_ms=100)),
        (10.1, PlayoutHeld(ONE)),
        (10.5, CallerSpoke(confirmed_ms=500)),
        (10.5, ReplyCut(ONE, heard_ms=3210.0)),
    )
    assert (turn["onset"], turn["barge_in_ms"], turn["heard_ms"]) == (10.0, 100.0, 3210.0)


def test_a_word_that_was_meant_is_a_turn_and_a_cough_is_none() -> None:
    [turn] = turns(
        (9.0, CallerStirred(confirmed_ms=100)),
        (9.0, PlayoutHeld(ONE)),
        (9.3, FalseAlarm()),
        (10.1, CallerStirred(confirmed_ms=100)),
        (10.12, PlayoutHeld(ONE)),
        (10.6, CallerMuttered()),
        (10.7, CallerSaid("stop")),
        (10.7, CallerMeant()),
        (10.7, ReplyCut(ONE, heard_ms=3210.0)),
        (11.1, AgentSpoke(TWO)),
    )
    assert (turn["onset"], turn["barge_in_ms"], turn["heard_ms"]) == (10.0, 120.0, 3210.0)
    assert (turn["text"], turn["transcript_ms"], turn["first_frame_ms"]) == ("stop", 100.0, 500.0)


def test_a_hum_belongs_to_no_turn() -> None:
    [turn] = turns(
        (5.0, CallerSpoke()),
        (6.0, CallerPaused(500)),
        (6.1, CallerSaid("tell me")),
        (10.1, CallerStirred(confirmed_ms=100)),
        (10.6, CallerMuttered()),
        (10.7, CallerSaid("mm-hm")),
        (10.7, CallerHummed()),
    )
    assert turn["text"] == "tell me"


def test_cut_after_the_turn_is_no_barge_in() -> None:
    [turn] = turns((10.0, CallerSpoke()), (11.0, CallerPaused(500)), (11.5, ReplyCut(ONE, heard_ms=10.0)))
    assert turn["barge_in_ms"] is None


def test_stages_of_the_interrupted_answer_do_not_count() -> None:
    [turn] = turns(
        (10.0, CallerSpoke()),
        (10.1, StageReached(Stage.FIRST_AUDIO)),
        (12.0, CallerPaused(500)),
        (12.3, StageReached(Stage.FIRST_AUDIO)),
    )
    assert turn["first_audio_ms"] == 800.0


def test_caller_goes_on_before_the_answer() -> None:
    first, second = turns(
        (10.0, CallerSpoke()),
        (11.0, CallerPaused(500)),
        (11.2, CallerSpoke()),
        (12.0, CallerPaused(500)),
        (12.4, AgentSpoke(ONE)),
    )
    assert (first["first_frame_ms"], second["first_frame_ms"]) == (None, 900.0)


def test_only_the_first_answer_counts() -> None:
    [turn] = turns((10.0, CallerSpoke()), (11.0, CallerPaused(500)), (11.5, AgentSpoke(ONE)), (19.0, AgentSpoke(TWO)))
    assert turn["first_frame_ms"] == 1000.0


def test_before_the_first_turn_nothing_is_kept() -> None:
    assert turns((1.0, AgentSpoke(ONE)), (2.0, CallerPaused(500)), (3.0, CallerSaid("x"))) == []

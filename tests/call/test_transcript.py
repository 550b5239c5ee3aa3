"""What was heard, as against what was planned."""

from ai_engine.call.events import ReplyId
from ai_engine.call.transcript import Transcript

ONE, TWO = ReplyId(1), ReplyId(2)


def told() -> Transcript:
    transcript = Transcript()
    transcript.caller_said("what can you do", 1.0)
    transcript.agent_said(ONE, "We do many things.", 2.0)
    transcript.agent_sounded(ONE, 600)
    transcript.agent_sounded(ONE, 400)
    transcript.agent_said(ONE, "One two three four five.", 2.0)
    transcript.agent_sounded(ONE, 1000)
    return transcript


def test_a_reply_heard_to_its_end_is_whole() -> None:
    assert [said.text for said in told().utterances] == [
        "what can you do",
        "We do many things. One two three four five.",
    ]


def test_a_cut_reply_keeps_whole_clauses_and_then_words_in_proportion() -> None:
    transcript = told()
    transcript.reply_cut(ONE, 1400)
    said = transcript.utterances[-1]
    assert said.text == "We do many things. One two"
    assert said.cut


def test_what_comes_after_the_cut_is_not_kept() -> None:
    transcript = told()
    transcript.reply_cut(ONE, 500)
    assert transcript.utterances[-1].text == "We do"


def test_a_reply_of_which_nothing_was_heard_leaves_no_trace() -> None:
    transcript = told()
    transcript.reply_cut(ONE, 0)
    assert transcript.history() == (("caller", "what can you do"),)


def test_words_without_sound_were_not_heard() -> None:
    transcript = Transcript()
    transcript.agent_said(ONE, "Spoken.", 0.0)
    transcript.agent_sounded(ONE, 500)
    transcript.agent_said(ONE, "Still being made.", 0.0)
    transcript.reply_cut(ONE, 500)
    assert transcript.utterances[-1].text == "Spoken."


def test_a_cut_of_an_unknown_reply_changes_nothing() -> None:
    transcript = told()
    before = transcript.lines()
    transcript.reply_cut(TWO, 100)
    assert transcript.lines() == before


def test_speech_that_was_not_understood_is_on_record_but_not_in_the_briefing() -> None:
    transcript = Transcript()
    transcript.caller_said("", 0.5)
    assert transcript.lines() == [{"speaker": "caller", "text": "", "cut": False, "at": 0.5}]
    assert transcript.history() == ()


def test_words_that_come_after_the_answer_stand_before_it() -> None:
    transcript = Transcript()
    transcript.caller_paused(1.0)
    transcript.agent_said(ReplyId(1), "It is noon.", 2.0)
    transcript.caller_said("what time is it", 3.0)
    transcript.caller_said("thank you", 4.0)
    assert transcript.history() == (("caller", "what time is it"), ("agent", "It is noon."), ("caller", "thank you"))
    assert [said.at for said in transcript.utterances] == [1.0, 2.0, 4.0]

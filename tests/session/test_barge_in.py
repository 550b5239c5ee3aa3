"""Pause, then decide: what a caller's sound into the agent's words does to them."""

from ai_engine.call.actions import EndReason
from ai_engine.call.events import (
    CallerHeld,
    CallerHummed,
    CallerMeant,
    CallerSaid,
    CallerUnheld,
    DoubtElapsed,
    FalseAlarm,
    HangupAsked,
    PlayoutHeld,
    PlayoutResumed,
    ReplyCut,
)
from ai_engine.call.lifecycle import Phase
from ai_engine.call.turns import Floor
from ai_engine.session.settings import SessionSettings
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import Call, place

STORY_MS = 4000
FADES_MS = 20
"""A hold sends one frame in which the sound dies away, which is heard again, whole, on resuming."""


def story_teller() -> ScriptedAgent:
    return ScriptedAgent(("one two three four five six seven eight", STORY_MS))


def test_a_cough_makes_the_agent_wait_and_go_on_where_it_was() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(140)
        assert call.session.floor is Floor.CONTESTED
        assert call.media.sent[-1] is None, "the agent did not fall silent"
        await call.quiet(400)
        assert call.session.floor is Floor.AGENT
        await call.quiet(STORY_MS)
        assert call.media.heard_ms() == STORY_MS + FADES_MS, "words were lost or said twice"

    call = place(story, story_teller())
    assert call.agent.told == ["greet", "spoke", "dismissed"]
    assert call.agent.interrupted == []
    assert not call.session.transcript.utterances[0].cut
    assert len(call.witness.saw(PlayoutHeld)) == len(call.witness.saw(PlayoutResumed)) == 1
    assert len(call.witness.saw(FalseAlarm)) == 1


def test_a_hum_makes_it_wait_for_the_words_and_go_on() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(350)
        await call.quiet(400)
        assert call.session.floor is Floor.WEIGHED
        assert call.agent.told[-1] == "paused briefly"
        call.agent.tell(CallerSaid("mm-hm"))
        await call.quiet(STORY_MS)
        assert call.media.heard_ms() == STORY_MS + FADES_MS

    call = place(story, story_teller())
    assert len(call.witness.saw(CallerHummed)) == 1
    assert [said.text for said in call.session.transcript.utterances][1] == "mm-hm"


def test_a_sound_without_words_leaves_no_trace_in_the_transcript() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(350)
        await call.quiet(400)
        call.agent.tell(CallerSaid(""))
        await call.quiet(STORY_MS)

    assert len(place(story, story_teller()).session.transcript.utterances) == 1


def test_a_short_word_that_is_meant_stops_it_for_good() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(350)
        await call.quiet(400)
        heard = call.media.heard_ms()
        call.agent.tell(CallerSaid("stop"))
        await call.quiet(1000)
        assert call.session.floor is Floor.NOBODY
        assert call.media.heard_ms() == heard

    call = place(story, story_teller())
    assert len(call.witness.saw(CallerMeant)) == 1
    [cut] = call.witness.saw(ReplyCut)
    assert isinstance(cut, ReplyCut)
    assert 1000 <= cut.heard_ms <= 1140, "what was heard is what was heard when it was held"


def test_when_nobody_says_what_it_was_it_goes_on() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(350)
        await call.quiet(400 + 1600)
        assert call.session.floor is Floor.AGENT
        call.agent.tell(CallerSaid("mm-hm"))  # too late to matter
        await call.quiet(STORY_MS)
        assert call.media.heard_ms() == STORY_MS + FADES_MS

    assert len(place(story, story_teller()).witness.saw(DoubtElapsed)) == 1


def test_a_caller_who_goes_on_while_it_is_weighed_is_listened_to() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(350)
        await call.quiet(300)
        await call.speak(700)
        assert call.session.floor is Floor.CALLER
        await call.quiet(1200)
        assert call.agent.told[-1] == "paused"

    assert len(place(story, story_teller()).witness.saw(ReplyCut)) == 1


def test_four_replies_that_come_right_after_interruptions_are_all_heard() -> None:
    async def story(call: Call) -> None:
        await call.quiet(400)
        for ms in (140, 300, 600, 900):  # still in doubt, or sure
            await call.speak(ms)
            before = call.media.heard_ms()
            call.agent.reply("At once.", 600)
            await call.quiet(1400)
            assert call.media.heard_ms() == before + 600
            call.agent.reply("A long story.", STORY_MS)
            await call.quiet(400)

    place(story, story_teller())


def test_the_greeting_is_guarded_by_the_same_rule_and_by_no_timer() -> None:
    async def story(call: Call) -> None:
        await call.quiet(100)
        await call.speak(1000)
        assert call.session.floor is Floor.CALLER

    assert len(place(story, story_teller()).witness.saw(ReplyCut)) == 1


def test_a_cough_into_the_goodbye_does_not_keep_the_caller() -> None:
    async def story(call: Call) -> None:
        await call.quiet(500)
        call.session.happened(HangupAsked())
        await call.speak(140)
        assert await call.reason() is EndReason.AGENT_HUNG_UP
        assert call.media.heard_ms() == STORY_MS + FADES_MS

    place(story, story_teller())


def test_a_meant_word_into_the_goodbye_keeps_the_call() -> None:
    async def story(call: Call) -> None:
        await call.quiet(500)
        call.session.happened(HangupAsked())
        await call.speak(350)
        await call.quiet(300)
        call.agent.tell(CallerSaid("wait"))
        await call.quiet(1000)
        assert call.session.phase is Phase.TALKING

    place(story, story_teller())


def test_a_caller_on_hold_misses_nothing_and_loses_no_call() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        call.control.tell(CallerHeld())
        await call.media.run(30_000, None)
        assert call.session.floor is Floor.AWAY
        call.control.tell(CallerUnheld())
        await call.quiet(STORY_MS)
        assert call.media.heard_ms() == STORY_MS + FADES_MS

    place(story, story_teller(), settings=SessionSettings(level=None, no_input_seconds=5.0))


def test_a_question_asked_just_before_hold_is_answered_after_it() -> None:
    async def story(call: Call) -> None:
        await call.quiet(1000)
        await call.speak(500)
        call.control.tell(CallerHeld())
        await call.media.run(20_000, None)
        assert call.agent.told[-1] == "paused"
        heard = call.media.heard_ms()
        call.control.tell(CallerUnheld())
        await call.quiet(1000)
        assert call.media.heard_ms() == heard + 400

    place(story, ScriptedAgent(("Hello.", 400), ("Yes.", 400)), settings=SessionSettings(level=None, reply_seconds=4.0))

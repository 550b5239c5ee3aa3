"""A pipeline as one agent: each rule of its conversation as a story, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps

import pytest

from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.call.events import (
    CallerInterrupted,
    CallerSaid,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    UsageReported,
)
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.ports import Began, Eager, Final, Partial, Resumed, ToolCall, Usage
from ai_engine.providers.pipeline.record import INTERRUPTED
from ai_engine.session.ports import Said
from ai_engine.text.aside import aside
from ai_engine.text.keys import pressed
from tests.fakes.pipeline_parts import WORD_SECONDS, PipelineCall, ScriptedEar, ScriptedModel
from tests.fakes.virtual_time import run_virtual

WEATHER = ToolCall("a", "weather", '{"town": "Bern"}')
OPEN = "We are open, from nine to five. Come in."
ONE = ReplyId(1)


def virtual(story: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    @wraps(story)
    def run() -> None:
        async def main() -> None:
            await story()

        run_virtual(main())

    del run.__wrapped__  # type: ignore[attr-defined]  # else pytest takes it for a coroutine
    return run


def told(call: PipelineCall, round: int = -1) -> list[tuple[str, str]]:
    """What the model was asked, but for its instructions."""
    return [(message.role, message.text) for message in call.model.asked[round][1:]]


# -- an answer ------------------------------------------------------------------------------------------------


@virtual
async def test_a_turn_is_answered() -> None:
    async with PipelineCall(ScriptedModel(OPEN)) as call:
        await call.turn("are you open")
    assert call.story() == [
        "caller: are you open", "<1", "1: We are open,", "1: from nine to five.", "1: Come in.", "1>",
    ]  # fmt: skip
    assert call.sound_ms(1) == 9 * 200
    assert call.stages() == ["transcript", "first_token", "first_audio"]
    assert told(call) == [("user", "are you open")]
    assert call.model.asked[0][0].text.startswith("Be kind.\n\nThis is a telephone call")
    assert call.model.tools == [["weather", "hangup"]]
    assert call.ear.told == ["began", "ended"]


@virtual
async def test_the_first_clause_sounds_while_the_model_still_writes() -> None:
    model = ScriptedModel(["We ", "are ", "open, ", "from ", 3.0, "nine ", "to ", "five."])
    async with PipelineCall(model) as call:
        await call.turn("are you open", seconds=1.0)
        assert (model.open, call.sound_ms(1)) == (1, 3 * 200)
        await asyncio.sleep(3.0)
        assert call.story()[-2:] == ["1: from nine to five.", "1>"]


@virtual
async def test_a_voice_gets_words_and_a_reader_figures() -> None:
    async with PipelineCall(ScriptedModel("It **costs** $3.50 \U0001f600.")) as call:
        await call.turn("how much")
        await call.turn("what", seconds=0.1)
    assert call.story()[2] == "1: It costs $3.50."
    assert call.speaker.clauses[0] == "It costs three dollars and fifty cents."
    assert told(call)[1] == ("assistant", "It costs $3.50.")


@virtual
async def test_formats_are_those_of_the_parts_and_sound_goes_straight_in() -> None:
    async with PipelineCall(ScriptedModel()) as call:
        call.agent.hear(b"\1\0" * 160)
    assert (call.agent.input_format, call.agent.output_format) == (SLIN8, SLIN16)
    assert call.agent.patience_seconds == 0.5
    assert call.ear.frames == [b"\1\0" * 160]


@virtual
async def test_partial_transcripts_are_told() -> None:
    async with PipelineCall(ScriptedModel()) as call:
        call.ear.says(Partial("are"), Partial("are you"))
        await asyncio.sleep(0.1)
    assert call.story() == ["caller perhaps: are", "caller perhaps: are you"]


@virtual
async def test_what_the_model_costs_is_reported() -> None:
    async with PipelineCall(ScriptedModel(["Fine. ", Usage({"input_tokens": 9})])) as call:
        await call.turn("hi")
    assert [e for _, e in call.events if isinstance(e, UsageReported)] == [UsageReported("nova", {"input_tokens": 9})]


# -- without the model, or without the caller's voice ---------------------------------------------------------


@virtual
async def test_the_greeting_is_said_word_for_word_and_remembered() -> None:
    async with PipelineCall(ScriptedModel("Fine.")) as call:
        call.agent.greet()
        await asyncio.sleep(1.0)
        assert call.story() == ["<1", "1: Hello, this is Nova.", "1>"]
        assert call.stages() == ["first_audio"]
        await call.turn("hi")
    assert told(call) == [("assistant", "Hello, this is Nova."), ("user", "hi")]


@virtual
async def test_a_nudge_and_the_last_one() -> None:
    async with PipelineCall(ScriptedModel()) as call:
        call.agent.nudge()
        call.agent.nudge(last=True)
        await asyncio.sleep(1.0)
    assert call.story() == ["<1", "1: Still there?", "1>", "<2", "2: Goodbye then.", "2>"]


@virtual
async def test_an_empty_greeting_is_a_reply_without_a_sound() -> None:
    async with PipelineCall(ScriptedModel(), nudge="") as call:
        call.agent.nudge()
        await asyncio.sleep(1.0)
    assert call.story() == ["<1", "1>"]


@virtual
async def test_words_that_another_agent_left_unanswered_are_answered() -> None:
    async with PipelineCall(ScriptedModel("Yes.")) as call:
        call.agent.respond("are you open")
        await asyncio.sleep(1.0)
    assert call.story() == ["<1", "1: Yes.", "1>"]
    assert told(call) == [("user", "are you open")]


@virtual
async def test_history_is_told_to_the_model() -> None:
    call = PipelineCall(ScriptedModel("Yes."))
    call.history = (Said("agent", "Hello."), Said("caller", "hi"))
    async with call:
        call.agent.respond("open?")
        await asyncio.sleep(1.0)
    assert told(call) == [("assistant", "Hello."), ("user", "hi"), ("user", "open?")]


@virtual
async def test_keys_are_answered_after_a_pause() -> None:
    async with PipelineCall(ScriptedModel("Thank you.")) as call:
        for digit in "42":
            call.agent.digit(digit)
            await asyncio.sleep(1.4)
        assert call.model.asked == []
        await asyncio.sleep(1.0)
    assert told(call) == [("user", pressed("42"))]
    assert call.story()[1] == "1: Thank you."


@virtual
async def test_keys_pressed_into_a_reply_are_answered_after_it() -> None:
    async with PipelineCall(ScriptedModel(["Press one. ", 4.0, "Or two."], "Thank you.")) as call:
        await call.turn("hi", seconds=0.2)
        call.agent.digit("1")
        await asyncio.sleep(6.0)
    assert call.story()[-5:] == ["1: Or two.", "1>", "<2", "2: Thank you.", "2>"]
    assert told(call)[-1] == ("user", pressed("1"))


@virtual
async def test_who_speaks_after_pressing_keys_is_answered_once() -> None:
    async with PipelineCall(ScriptedModel(["Press one. ", 4.0, "Or two."], "Thank you.", "Twice.")) as call:
        await call.turn("hi", seconds=0.5)
        call.agent.digit("1")
        await asyncio.sleep(2.0)
        await call.turn("I mean two", brief=True, seconds=4.0)
    assert told(call)[-2:] == [("user", pressed("1")), ("user", "I mean two")]
    assert call.story()[-2:] == ["2: Thank you.", "2>"]


@virtual
async def test_only_so_many_turns_are_remembered() -> None:
    async with PipelineCall(ScriptedModel(*["Yes."] * 4), most_history=2) as call:
        for number in range(4):
            await call.turn(f"question {number}")
    assert told(call) == [("user", "question 2"), ("assistant", "Yes."), ("user", "question 3")]


# -- not understood -------------------------------------------------------------------------------------------


@virtual
async def test_speech_without_a_word_is_asked_for_again_and_at_last_handed_to_a_person() -> None:
    async with PipelineCall(ScriptedModel("Yes.")) as call:
        await call.turn("")
        await call.turn("")
    once = ["caller: ", "<1", "1: Say that again please.", "1>"]
    assert call.story()[:4] == once
    assert call.story()[4:] == ["caller: ", "<2", "2: Say that again please.", "2>", "tool tool-1 transfer {} at last"]
    assert call.model.asked == []


@virtual
async def test_an_answer_in_between_counts_anew() -> None:
    async with PipelineCall(ScriptedModel("Yes.")) as call:
        await call.turn("")
        await call.turn("open")
        await call.turn("")
    assert not any(line.startswith("tool") for line in call.story())


@virtual
async def test_a_model_without_a_word_has_the_caller_asked_again() -> None:
    async with PipelineCall(ScriptedModel(["\U0001f600", " "], "Yes.")) as call:
        await call.turn("hi")
        assert call.story() == ["caller: hi", "<2", "2: Say that again please.", "2>"]
        await call.turn("open")
    assert told(call) == [("user", "hi"), ("assistant", "Say that again please."), ("user", "open")]


# -- interrupted ----------------------------------------------------------------------------------------------


@virtual
async def test_an_interrupted_answer_ends_at_once_and_only_what_was_heard_is_remembered() -> None:
    model = ScriptedModel(["We are open. ", "From nine ", 9.0, "to five."], "Yes.")
    async with PipelineCall(model) as call:
        await call.turn("hi", seconds=0.5)
        call.agent.interrupt(ONE, 400.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (model.open, call.speaker.open) == (0, 0)
        await asyncio.sleep(0.1)
        assert call.story() == ["caller: hi", "<1", "1: We are open.", "1>"]
        await call.turn("what")
    assert told(call) == [("user", "hi"), ("assistant", f"We are {INTERRUPTED}"), ("user", "what")]


@virtual
async def test_nothing_of_a_reply_comes_after_its_end() -> None:
    async with PipelineCall(ScriptedModel("one two three four five six seven. " * 5)) as call:
        call.agent.caller_spoke()
        call.agent.caller_paused()
        call.ear.says(Final("hi"))
        for _ in range(200):
            await asyncio.sleep(0.01)
            if call.sound_ms(1) > 1000:
                break
        call.agent.interrupt(ONE, 800.0)
        await asyncio.sleep(2.0)
    kinds = [type(event) for _, event in call.events if isinstance(event, ReplyAudio | ReplyText | ReplyEnded)]
    assert kinds[-1] is ReplyEnded
    assert kinds.count(ReplyEnded) == 1


@virtual
async def test_a_reply_made_long_ago_is_cut_in_the_record() -> None:
    async with PipelineCall(ScriptedModel(OPEN, "Yes.")) as call:
        await call.turn("hi")
        call.agent.interrupt(ONE, 1000.0)
        await call.turn("what")
    assert told(call)[1] == ("assistant", f"We are open, from nine {INTERRUPTED}")
    assert call.story().count("1>") == 1


@virtual
async def test_the_interruption_is_in_the_record_when_its_words_are_answered() -> None:
    async with PipelineCall(ScriptedModel(["We are open. ", 9.0], "Of course.")) as call:
        await call.turn("hi", seconds=1.0)
        call.busy_seconds = 0.01
        call.on(CallerSaid, lambda _: call.agent.interrupt(ONE, 400.0))  # as a session does that weighs the words
        await call.turn("what about Sunday", brief=True)
    assert told(call)[1] == ("assistant", f"We are {INTERRUPTED}")
    assert call.story()[3:] == ["caller: what about Sunday", "1>", "<2", "2: Of course.", "2>"]


@virtual
async def test_an_answer_that_has_not_begun_does_not_begin_into_the_callers_words() -> None:
    async with PipelineCall(ScriptedModel([1.0, "To the first."], "To both.")) as call:
        await call.turn("first", seconds=0.2)
        await call.turn("second")
    assert call.story() == ["caller: first", "caller: second", "<2", "2: To both.", "2>"]
    assert told(call) == [("user", "first"), ("user", "second")]
    assert call.model.ended == 2
    assert call.speaker.most_open == 1


@virtual
async def test_a_request_has_ended_before_the_next_one_begins() -> None:
    model = ScriptedModel([9.0], "To all.")
    model.hangup_seconds = 1.0
    async with PipelineCall(model) as call:
        for text in ("first", "second", "third"):
            await call.turn(text, seconds=0.1)
        await asyncio.sleep(3.0)
    assert model.most_open == 1
    assert call.story()[-2:] == ["3: To all.", "3>"]


@pytest.mark.parametrize("what", ["dismissed", "empty", "hum", "brief hum"])
def test_an_answer_that_was_prepared_is_given_when_the_caller_says_nothing_more(what: str) -> None:
    async def story() -> None:
        async with PipelineCall(ScriptedModel([0.5, OPEN])) as call:
            await call.turn("first", seconds=0.2)
            call.agent.caller_spoke()
            await asyncio.sleep(1.0)
            assert call.story() == ["caller: first"]
            await over(call, what)
        assert "1: We are open," in call.story()
        assert len(call.model.asked) == 1

    run_virtual(story())


@pytest.mark.parametrize("what", ["dismissed", "empty", "hum", "brief hum"])
def test_an_answer_of_which_nothing_was_heard_is_made_again_when_the_caller_says_nothing_more(what: str) -> None:
    async def story() -> None:
        async with PipelineCall(ScriptedModel(OPEN, "We are.")) as call:
            await call.turn("first", seconds=1.0)
            call.agent.interrupt(ONE, 0.0)
            call.agent.caller_spoke()
            await asyncio.sleep(0.2)
            await over(call, what)
        assert call.story()[-3:] == ["<2", "2: We are.", "2>"]
        assert told(call)[0] == ("user", "first")
        assert all(role == "user" for role, _ in told(call))

    run_virtual(story())


@virtual
async def test_an_answer_of_which_something_was_heard_is_not_made_again() -> None:
    async with PipelineCall(ScriptedModel(OPEN, "We are.")) as call:
        await call.turn("first", seconds=1.0)
        call.agent.interrupt(ONE, 300.0)
        call.agent.caller_spoke()
        await over(call, "dismissed")
    assert len(call.model.asked) == 1


@virtual
async def test_a_greeting_of_which_nothing_was_heard_is_no_answer_that_is_owed() -> None:
    async with PipelineCall(ScriptedModel("What?")) as call:
        call.agent.greet()
        await asyncio.sleep(1.0)
        call.agent.interrupt(ONE, 0.0)
        call.agent.caller_spoke()
        await over(call, "dismissed")
    assert call.model.asked == []


async def over(call: PipelineCall, what: str) -> None:
    if what == "dismissed":
        call.agent.caller_dismissed()
    else:
        call.agent.caller_paused(brief=what.startswith("brief"))
        await asyncio.sleep(0.1)
        call.ear.says(Final("" if what == "empty" else "mm-hm"))
    await asyncio.sleep(2.0)


# -- short sounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "mm-hm", "okay, right"])
def test_a_short_sound_that_asks_for_nothing_is_only_told(text: str) -> None:
    async def story() -> None:
        async with PipelineCall(ScriptedModel(OPEN)) as call:
            await call.turn("hi", seconds=0.15)
            await call.turn(text, brief=True)
        assert [line for line in call.story() if line.startswith(("caller", "<"))] == [
            "caller: hi", "<1", f"caller: {text}",
        ]  # fmt: skip
        assert call.sound_ms(1) == 9 * 200

    run_virtual(story())


@virtual
async def test_what_a_short_sound_was_is_not_told_when_the_caller_has_begun_again() -> None:
    async with PipelineCall(ScriptedModel(OPEN)) as call:
        await call.turn("hi")
        call.agent.caller_spoke()
        call.agent.caller_paused(brief=True)
        call.agent.caller_spoke()
        call.ear.says(Final("mm-hm"))
        await asyncio.sleep(1.0)
    assert call.story().count("caller: mm-hm") == 0


@virtual
async def test_a_dismissed_turn_is_dropped() -> None:
    async with PipelineCall(ScriptedModel()) as call:
        call.agent.caller_spoke()
        call.agent.caller_dismissed()
        call.agent.caller_dismissed()
        call.agent.caller_paused()
    assert call.ear.told == ["began", "dropped"]


# -- tools ----------------------------------------------------------------------------------------------------


@virtual
async def test_a_tool_is_asked_after_the_reply_that_led_to_it_and_its_result_is_spoken_of() -> None:
    async with PipelineCall(ScriptedModel(["One moment. ", WEATHER], "It is sunny.")) as call:
        await call.turn("weather?")
        assert call.story()[1:] == ["<1", "1: One moment.", "1>", "tool tool-1 weather {'town': 'Bern'}"]
        call.agent.answer_tool("tool-1", {"sky": "blue"})
        call.agent.answer_tool("tool-1", {"sky": "grey"})
        await asyncio.sleep(1.0)
    assert call.story()[5:] == ["<2", "2: It is sunny.", "2>"]
    assert told(call)[1:] == [("assistant", "One moment."), ("tool", '{"sky": "blue"}')]
    assert call.model.asked[1][2].calls == (WEATHER,)
    assert call.stages() == ["transcript", "first_token", "first_audio"]


@virtual
async def test_the_model_goes_on_when_all_tools_are_answered() -> None:
    other = ToolCall("b", "news", "")
    async with PipelineCall(ScriptedModel([WEATHER, other], "Sunny.")) as call:
        await call.turn("hi")
        assert call.story()[1:] == ["tool tool-1 weather {'town': 'Bern'}", "tool tool-2 news {}"]
        call.agent.answer_tool("tool-2", {})
        await asyncio.sleep(1.0)
        assert len(call.model.asked) == 1
        call.agent.answer_tool("tool-1", {})
        await asyncio.sleep(1.0)
    assert call.story()[-2:] == ["2: Sunny.", "2>"]


@virtual
async def test_a_model_that_writes_broken_arguments_is_told_so_once() -> None:
    broken = ToolCall("a", "weather", '{"town": ')
    async with PipelineCall(ScriptedModel([broken], [WEATHER], "Sunny.")) as call:
        await call.turn("hi")
        assert call.story()[1:] == ["tool tool-1 weather {'town': 'Bern'}"]
        assert "no JSON object" in told(call)[-1][1]
    async with PipelineCall(ScriptedModel([broken], [broken])) as call:
        await call.turn("hi")
    assert call.story()[1:] == ["<3", "3: Say that again please.", "3>"]


@virtual
async def test_a_model_that_never_has_enough_of_tools_is_stopped() -> None:
    async with PipelineCall(ScriptedModel(*[[WEATHER]] * 9)) as call:
        await call.turn("hi")
        for number in range(1, 9):
            call.agent.answer_tool(f"tool-{number}", {})
            await asyncio.sleep(1.0)
    assert len(call.model.asked) == 5
    assert call.story()[-2:] == ["6: Say that again please.", "6>"]


@virtual
async def test_nothing_is_said_after_hanging_up_unless_it_failed() -> None:
    hangup = ToolCall("h", "hangup", "{}")
    async with PipelineCall(ScriptedModel(["Bye. ", hangup], ["Bye. ", hangup], "Sorry?")) as call:
        await call.turn("bye")
        assert call.story()[-1] == "tool tool-1 hangup {} at last"
        call.agent.answer_tool("tool-1", {"ok": True})
        await asyncio.sleep(1.0)
        assert len(call.model.asked) == 1
        await call.turn("bye")
        call.agent.answer_tool("tool-2", {"ok": False, "error": "no"})
        await asyncio.sleep(1.0)
    assert call.story()[-2:] == ["3: Sorry?", "3>"]


@virtual
async def test_nothing_is_said_after_hanging_up_though_another_tool_was_used_before() -> None:
    hangup = ToolCall("h", "hangup", "{}")
    async with PipelineCall(ScriptedModel([WEATHER], ["Sunny. ", hangup], "What?")) as call:
        await call.turn("weather?")
        call.agent.answer_tool("tool-1", {})
        await asyncio.sleep(1.0)
        call.agent.answer_tool("tool-2", {"ok": True})
        await asyncio.sleep(1.0)
    assert call.story()[-1] == "tool tool-2 hangup {} at last"


@virtual
async def test_who_speaks_while_a_tool_is_used_is_answered_with_its_result_if_it_comes_soon() -> None:
    async with PipelineCall(ScriptedModel([WEATHER], "Sunny, and yes.")) as call:
        await call.turn("weather?", seconds=0.5)
        await call.turn("hello?", seconds=0.5)
        assert len(call.model.asked) == 1
        call.agent.answer_tool("tool-1", {})
        await asyncio.sleep(3.0)
    assert [role for role, _ in told(call)] == ["user", "assistant", "tool", "user"]
    assert call.story()[-2:] == ["2: Sunny, and yes.", "2>"]
    assert len(call.model.asked) == 2


@virtual
async def test_who_speaks_while_a_tool_takes_long_is_answered_without_its_result() -> None:
    async with PipelineCall(ScriptedModel([WEATHER], "Still looking.", "Sunny.")) as call:
        await call.turn("weather?", seconds=0.5)
        await call.turn("hello?", seconds=4.0)
        assert call.story()[-2:] == ["2: Still looking.", "2>"]
        call.agent.answer_tool("tool-1", {})
        await asyncio.sleep(1.0)
    assert call.story()[-2:] == ["3: Sunny.", "3>"]


@virtual
async def test_the_result_of_a_tool_is_spoken_of_after_what_is_being_said() -> None:
    async with PipelineCall(ScriptedModel([WEATHER], ["Still looking. ", 2.0, "Wait."], "Sunny.")) as call:
        await call.turn("weather?", seconds=0.5)
        await call.turn("hello?", seconds=3.0)
        assert call.story()[-1] == "2: Still looking."
        call.agent.answer_tool("tool-1", {})
        await asyncio.sleep(3.0)
    assert call.story()[-5:] == ["2: Wait.", "2>", "<3", "3: Sunny.", "3>"]


@virtual
async def test_the_result_of_a_tool_is_not_spoken_into_the_callers_words() -> None:
    async with PipelineCall(ScriptedModel([WEATHER], "Sunny.")) as call:
        await call.turn("weather?", seconds=0.5)
        call.agent.caller_spoke()
        call.agent.answer_tool("tool-1", {})
        await asyncio.sleep(2.0)
        assert "<2" not in call.story()
        call.agent.caller_dismissed()
        await asyncio.sleep(1.0)
    assert call.story()[-2:] == ["2: Sunny.", "2>"]


# -- a transcriber with ears of its own -----------------------------------------------------------------------


def flux(*scripts: str | list[str | float]) -> PipelineCall:
    return PipelineCall(ScriptedModel(*scripts), ear=ScriptedEar(own_turns=True))


@virtual
async def test_its_turns_are_answered_without_the_engines_ear() -> None:
    async with flux(OPEN) as call:
        call.ear.says(Began(), Partial("are"), Final("are you open"))
        await asyncio.sleep(2.0)
    assert call.story()[1:4] == ["caller: are you open", "<1", "1: We are open,"]


@virtual
async def test_who_speaks_into_a_reply_interrupts_it() -> None:
    async with flux(["We are open. ", 9.0], "Yes.") as call:
        call.ear.says(Began(), Final("hi"))
        await asyncio.sleep(0.5)
        call.on(CallerInterrupted, lambda _: call.agent.interrupt(ONE, 400.0))
        call.ear.says(Began())
        await asyncio.sleep(0.1)
        assert call.story()[-2:] == ["interrupted", "1>"]
        assert (call.model.open, call.speaker.open) == (0, 0)
        call.ear.says(Final("what"))
        await asyncio.sleep(1.0)
    assert told(call) == [("user", "hi"), ("assistant", f"We are {INTERRUPTED}"), ("user", "what")]


@virtual
async def test_who_speaks_while_a_reply_still_sounds_interrupts_it() -> None:
    async with flux("One two three four five.") as call:
        call.ear.says(Began(), Final("hi"))
        await asyncio.sleep(0.5)
        assert call.story()[-1] == "1>"
        call.ear.says(Began())
        await asyncio.sleep(0.1)
        assert call.story()[-1] == "interrupted"


@virtual
async def test_a_reply_that_was_stopped_is_not_interrupted_again() -> None:
    async with flux("One two three four five.") as call:
        call.ear.says(Began(), Final("hi"))
        await asyncio.sleep(0.5)
        call.agent.interrupt(ONE, 100.0)
        call.ear.says(Began())
        await asyncio.sleep(0.1)
    assert "interrupted" not in call.story()


@virtual
async def test_an_answer_that_gave_way_to_one_in_advance_is_made_again_when_that_was_for_nothing() -> None:
    async with flux([2.0, "To the first."], ["Wrong. ", 9.0], "To the first again.") as call:
        call.ear.says(Began(), Final("first"))
        await asyncio.sleep(0.5)
        call.ear.says(Began(), Eager("perhaps"))
        await asyncio.sleep(0.5)
        call.ear.says(Final(""))
        await asyncio.sleep(2.0)
    assert told(call) == [("user", "first")]
    assert call.story()[-2:] == ["3: To the first again.", "3>"]


@virtual
async def test_who_speaks_into_silence_interrupts_nothing() -> None:
    async with flux("One two three four five.") as call:
        call.ear.says(Began(), Final("hi"))
        await asyncio.sleep(5.0)
        call.ear.says(Began())
        await asyncio.sleep(0.1)
    assert "interrupted" not in call.story()


@virtual
async def test_what_both_ears_hear_is_the_sessions_to_decide() -> None:
    async with flux(["We are open. ", 2.0, "Come in."]) as call:
        call.ear.says(Began(), Final("hi"))
        await asyncio.sleep(0.5)
        call.agent.caller_spoke()
        call.ear.says(Began())
        await asyncio.sleep(0.1)
        call.agent.caller_paused(brief=True)
        call.ear.says(Final("mm-hm"))
        await asyncio.sleep(4.0)
    assert call.story()[2:] == ["1: We are open.", "interrupted", "caller: mm-hm", "1: Come in.", "1>"]


@virtual
async def test_an_answer_in_advance_is_given_at_once_when_it_was_right() -> None:
    async with flux(["We are. "]) as call:
        call.ear.says(Began(), Eager("are you open"))
        await asyncio.sleep(1.0)
        assert call.story() == []
        call.ear.says(Final("are you open"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert call.story() == ["caller: are you open", "<1", "1: We are.", "1>"]
        assert call.stages() == ["transcript", "first_token", "first_audio"]
        await call_again(call)
    assert told(call) == [("user", "are you open"), ("assistant", "We are."), ("user", "again")]


@virtual
async def test_an_answer_in_advance_goes_on_when_it_was_right() -> None:
    async with flux(["We are. ", 2.0, "Come in."]) as call:
        call.ear.says(Began(), Eager("open"))
        await asyncio.sleep(0.5)
        call.ear.says(Final("open"))
        await asyncio.sleep(3.0)
    assert call.story() == ["caller: open", "<1", "1: We are.", "1: Come in.", "1>"]
    assert len(call.model.asked) == 1


@virtual
async def test_an_answer_in_advance_is_made_anew_when_it_was_wrong() -> None:
    async with flux(["Wrong. ", 9.0], "Right.") as call:
        call.ear.says(Began(), Eager("are you open"))
        await asyncio.sleep(0.5)
        call.ear.says(Final("are you open on Sunday"))
        await asyncio.sleep(1.0)
    assert call.story() == ["caller: are you open on Sunday", "<2", "2: Right.", "2>"]
    assert told(call) == [("user", "are you open on Sunday")]
    assert call.speaker.most_open == 1


@virtual
async def test_an_answer_in_advance_is_dropped_when_the_caller_goes_on() -> None:
    async with flux(["Wrong. ", 9.0], "Right.") as call:
        call.ear.says(Began(), Eager("are you"))
        await asyncio.sleep(0.5)
        assert call.model.open == 1
        call.ear.says(Resumed())
        await asyncio.sleep(0.1)
        assert (call.model.open, call.speaker.open) == (0, 0)
        call.ear.says(Eager("are you open"), Final("are you open"))
        await asyncio.sleep(1.0)
    assert call.story()[-2:] == ["2: Right.", "2>"]


@virtual
async def test_an_unheard_answer_is_made_again_when_only_the_engines_ear_heard_something() -> None:
    async with flux(OPEN, "We are.") as call:
        call.ear.says(Began(), Final("open"))
        await asyncio.sleep(1.0)
        call.agent.interrupt(ONE, 0.0)
        call.agent.caller_spoke()
        await asyncio.sleep(0.3)
        call.agent.caller_paused()
        await asyncio.sleep(2.0)
    assert call.story()[-3:] == ["<2", "2: We are.", "2>"]


async def call_again(call: PipelineCall) -> None:
    await asyncio.sleep(3.0)
    call.ear.says(Began(), Final("again"))
    await asyncio.sleep(1.0)


# -- failing --------------------------------------------------------------------------------------------------


@virtual
async def test_the_parts_start_at_the_same_time() -> None:
    call = PipelineCall(ScriptedModel())
    for part in (call.ear, call.model, call.speaker):
        part.start_seconds = 1.0
    async with call:
        assert asyncio.get_running_loop().time() == pytest.approx(1.0)


@pytest.mark.parametrize(("kind", "name"), [("stt", "ear"), ("llm", "model"), ("tts", "voice")])
def test_a_part_that_does_not_start_is_named_and_the_others_are_closed(kind: str, name: str) -> None:
    async def story() -> None:
        call = PipelineCall(ScriptedModel())
        parts = {"stt": call.ear, "llm": call.model, "tts": call.speaker}
        for part in parts.values():
            part.start_seconds = 1.0
        parts[kind].start_seconds = 0.1
        parts[kind].refusal = ProviderError("wrong key", 401)
        with pytest.raises(ProviderError, match=f"^pipeline nova: {kind} {name}: wrong key$") as failed:
            await call.agent.start(call.briefing)
        assert failed.value.status == 401
        assert [part.cancelled for part in parts.values()].count(True) == 2
        assert [part.closed for part in parts.values()] == [1, 1, 1]

    run_virtual(story())


@virtual
async def test_a_start_that_is_given_up_can_be_closed() -> None:
    call = PipelineCall(ScriptedModel())
    call.ear.start_seconds = 9.0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await call.agent.start(call.briefing)
    await call.agent.close()
    await call.agent.close()
    assert call.ear.cancelled
    assert call.ear.closed == 2


@virtual
async def test_a_lost_transcriber_ends_the_agent() -> None:
    async with PipelineCall(ScriptedModel()) as call:
        call.ear.says(ProviderError("gone", 1011))
        await asyncio.sleep(0.1)
    assert str(call.failure) == "pipeline nova: stt ear: gone"
    assert call.failure is not None
    assert call.failure.status == 1011


@virtual
async def test_a_lost_model_ends_the_agent_and_the_reply_is_not_said_to_be_complete() -> None:
    async with PipelineCall(ScriptedModel(["We are open. ", 0.5, ProviderError("overloaded", 529)])) as call:
        await call.turn("hi")
    assert str(call.failure) == "pipeline nova: llm model: overloaded"
    assert call.story() == ["caller: hi", "<1", "1: We are open."]


@virtual
async def test_a_lost_speaker_ends_the_agent() -> None:
    call = PipelineCall(ScriptedModel(["We are open. ", 9.0]))
    call.speaker.failure = ProviderError("no such voice")
    async with call:
        await call.turn("hi")
        assert call.model.open == 0
    assert str(call.failure) == "pipeline nova: tts voice: no such voice"


@virtual
async def test_closing_ends_every_request() -> None:
    call = PipelineCall(ScriptedModel(["We are open. ", 9.0]))
    async with call:
        await call.turn("hi", seconds=0.5)
        assert (call.model.open, call.speaker.open) == (1, 1)
    await call.agent.close()
    assert [part.closed for part in (call.ear, call.model, call.speaker)] == [2, 2, 2]
    assert len(asyncio.all_tasks()) == 1


@virtual
async def test_the_first_sound_is_as_soon_as_its_parts_allow() -> None:
    async with PipelineCall(ScriptedModel("Yes. " + OPEN)) as call:
        await call.turn("hi")
        # the second token tells that the first was a sentence; then one word is made
        assert call.when(ReplyAudio) - call.when(CallerSaid) == pytest.approx(2 * 0.01 + 0.02)
        assert call.when(ReplyBegan) < call.when(ReplyAudio)


@virtual
async def test_a_reply_that_is_dropped_as_it_begins_does_not_begin() -> None:
    """Whatever its making has come to by then."""
    for steps in range(20):
        async with PipelineCall(ScriptedModel(OPEN), ear=ScriptedEar(own_turns=True)) as call:
            call.ear.says(Final(""))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.ear.says(Eager("are you open"), Resumed())
            await asyncio.sleep(5.0)
            began = [event.reply for _, event in call.events if isinstance(event, ReplyBegan)]
            assert [event.reply for _, event in call.events if isinstance(event, ReplyEnded)] == began


@virtual
async def test_nothing_is_said_of_a_reply_after_its_end() -> None:
    """Not even the sound that is made in the same instant."""
    in_that_instant = WORD_SECONDS - 1e-10
    async with PipelineCall(ScriptedModel("one two three four. Five six.")) as call:
        loop = asyncio.get_running_loop()
        call.on(ReplyAudio, lambda _: loop.call_later(in_that_instant, call.agent.interrupt, ONE, 100.0))
        await call.turn("are you open")
        assert call.events[-1][1] == ReplyEnded(ONE)


# -- an operator's advice -----------------------------------------------------------------------------------


@virtual
async def test_advice_is_known_from_the_next_answer_on_and_asks_for_none() -> None:
    async with PipelineCall(ScriptedModel(OPEN)) as call:
        assert call.agent.advise("They are a regular.") == ""
        await asyncio.sleep(5)
        assert call.model.asked == []
        await call.turn("are you open")
    assert call.model.asked[0][0].text.endswith(aside("They are a regular."))


@virtual
async def test_a_model_that_reads_no_prompt_cannot_be_advised() -> None:
    model = ScriptedModel(OPEN)
    model.reads_prompt = False
    async with PipelineCall(model) as call:
        assert "reads no prompt" in call.agent.advise("They are a regular.")
        await call.turn("are you open")
    assert "regular" not in call.model.asked[0][0].text

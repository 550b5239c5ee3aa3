"""The small dialog with tools: what it asks for, what it says of the answers, and what means something only then."""

from typing import Any

import pytest

from local_ai_server.agent import read_agent
from local_ai_server.llm.base import Act
from local_ai_server.llm.happenings import Used, read_use
from local_ai_server.llm.intents import Intents
from local_ai_server.llm.templates import fill, fill_arguments
from tests.local_ai_server.booking_agent import BOOKED, FOUND, FREE, TAKEN, Talk

NOTHING = ("", None)


async def test_a_time_that_is_free_is_read_back_confirmed_and_booked() -> None:
    talk = Talk()
    said, act = await talk.says("can i come on tuesday at ten")
    assert said == "One moment, I will look."
    assert act == Act("calendar_check_slot", {"day": "tuesday", "time": "ten"})
    said, nothing = await talk.came(act, FREE)
    assert (said, nothing) == ("That is free. Shall I book Tuesday, March tenth, at ten for you?", None)
    _, act = await talk.says("yes please")
    assert act == Act("calendar_create_event", {"start": FREE["start"], "title": "Garden visit"})
    said, act = await talk.came(act, BOOKED)
    assert said == "It is booked, Tuesday, March tenth, at ten. Thank you, and goodbye."
    assert act == Act("hangup")


@pytest.mark.parametrize(("answer", "start"), [("the first one", "10:30"), ("yes i take the second one", "11:00")])
async def test_a_time_that_is_taken_has_others_offered(answer: str, start: str) -> None:
    talk = Talk()
    _, act = await talk.says("how about tuesday at ten thirty")
    assert act == Act("calendar_check_slot", {"day": "tuesday", "time": "ten thirty"})
    said, _ = await talk.came(act, TAKEN)
    assert said.startswith("I am sorry, that time is taken. I can offer Tuesday at ten thirty, or Tuesday at eleven.")
    _, act = await talk.says(answer)
    assert act == Act("calendar_check_slot", {"start": f"2026-03-10T{start}:00+01:00"})
    said, _ = await talk.came(act, FREE)
    assert said.startswith("That is free.")
    _, act = await talk.says("yes please")
    assert act is not None
    assert act.name == "calendar_create_event"


@pytest.mark.parametrize("text", ["yes please", "the first one", "book it", "neither"])
async def test_nothing_was_offered_yet(text: str) -> None:
    talk = Talk()
    assert await talk.says(text) == NOTHING
    assert not Intents().understands(talk.agent, text, (), exactly=False)


async def test_what_was_offered_last_is_meant() -> None:
    talk = Talk()
    _, act = await talk.says("can i come on tuesday at ten")
    await talk.came(act, TAKEN)
    said, act = await talk.says("what times do you have on wednesday")
    assert (said, act) == ("Let me see.", Act("calendar_find_slots", {"day": "wednesday"}))
    said, _ = await talk.came(act, FOUND)
    assert said == "I can offer Wednesday at nine, or Wednesday at two. Which one would you like?"
    _, act = await talk.says("the first one please")
    assert act == Act("calendar_check_slot", {"start": "2026-03-11T09:00:00+01:00"})
    await talk.came(act, TAKEN)
    _, act = await talk.says("the first one please")
    assert act == Act("calendar_check_slot", {"start": "2026-03-10T10:30:00+01:00"})


async def test_an_hour_alone_is_of_the_day_that_was_spoken_of() -> None:
    talk = Talk()
    _, act = await talk.says("what times do you have on wednesday")
    await talk.came(act, FOUND)
    _, act = await talk.says("at three please")
    assert act == Act("calendar_check_slot", {"day": "2026-03-11", "time": "three"})


async def test_day_and_hour_one_after_the_other() -> None:
    talk = Talk()
    assert await talk.says("at three please") == ("On which day, please?", None)
    _, act = await talk.says("on wednesday please")
    assert act == Act("calendar_find_slots", {"day": "wednesday"})
    await talk.came(act, FOUND)
    _, act = await talk.says("at three please")
    assert act == Act("calendar_check_slot", {"day": "2026-03-11", "time": "three"})
    said, _ = await talk.came(act, {"ok": False, "missing": "time", "error": "at what time?"})
    assert said == "At what time, please?"


async def test_yes_means_nothing_after_a_time_that_was_taken() -> None:
    talk = Talk()
    _, act = await talk.says("can i come on tuesday at ten")
    await talk.came(act, TAKEN)
    assert await talk.says("yes please") == NOTHING


async def test_two_meanings_of_no() -> None:
    talk = Talk()
    _, act = await talk.says("can i come on tuesday at ten")
    await talk.came(act, FREE)
    said, act = await talk.says("no")
    assert (said, act) == ("All right. Which other day and time would suit you?", None)


async def test_a_calendar_that_does_not_answer() -> None:
    talk = Talk()
    _, act = await talk.says("can i come on tuesday at ten")
    said, act = await talk.came(act, {"ok": False, "error": "the calendar cannot be reached"})
    assert "I cannot look into the calendar" in said
    assert act == Act("transfer")


async def test_a_booking_that_is_completed_later_is_not_offered_again() -> None:
    talk = Talk()
    _, act = await talk.says("can i come on tuesday at ten")
    await talk.came(act, FREE)
    _, act = await talk.says("yes please")
    said, act = await talk.came(act, {"ok": False, "pending": True, "spoken": "Tuesday at ten"})
    assert (said, act) == (
        "I have noted Tuesday at ten, and it will be confirmed to you. Thank you, and goodbye.",
        Act("hangup"),
    )


async def test_words_that_mean_nothing_do_not_lose_what_a_tool_came_to() -> None:
    talk = Talk()
    _, act = await talk.says("can i come on tuesday at ten")
    assert act is not None
    talk.record.append(("tool", f'{act.name}({{}}) -> {{"available": true, "spoken": "Tuesday"}}'))
    said, _ = await talk.says("banana")
    assert said == "That is free. Shall I book Tuesday for you?"
    assert await talk.says("banana") == NOTHING


async def test_a_hangup_that_was_refused_is_nothing_to_talk_about() -> None:
    talk = Talk()
    _, act = await talk.says("goodbye")
    assert await talk.came(act, {"ok": False, "error": "the caller is speaking"}) == NOTHING


def agent(**intents: Any) -> Talk:
    return Talk(read_agent({"name": "x", "slots": {"n": ["one", "two"]}, "intents": intents}))


LOOK_UP = {
    "phrases": ["look up {n}"],
    "answer": "",
    "action": "look_up",
    "arguments": {"n": "{n}", "deep": True, "note": "of {n}"},
    "results": [
        {"when": {"found.0.size": 1}, "say": "{n}: {found.0.name}."},
        {"when": {"again": True}, "say": "Again.", "action": "look_up", "results": [{"say": "Now {size}."}]},
        {"when": {"found": None}, "say": "Nothing."},
        {"say": "Something."},
    ],
}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"found": [{"size": 1, "name": "an ant"}]}, "two: an ant."),
        ({"found": [{"size": True, "name": "an ant"}]}, "Something."),
        ({"found": []}, "Something."),
        ({}, "Nothing."),
    ],
)
async def test_the_first_result_that_fits_is_said(result: dict[str, Any], said: str) -> None:
    talk = agent(a=LOOK_UP)
    nothing, act = await talk.says("look up two")
    assert (nothing, act) == ("", Act("look_up", {"n": "two", "deep": True, "note": "of two"}))
    assert await talk.came(act, result) == (said, None)


async def test_a_result_may_lead_to_another_tool() -> None:
    talk = agent(a=LOOK_UP)
    _, act = await talk.says("look up two")
    said, act = await talk.came(act, {"again": True})
    assert (said, act) == ("Again.", Act("look_up"))
    assert await talk.came(act, {"size": 7}) == ("Now 7.", None)


async def test_a_tool_that_is_nothing_to_talk_about() -> None:
    talk = agent(a={**LOOK_UP, "results": [{"say": ""}]})
    _, act = await talk.says("look up two")
    assert await talk.came(act, {}) == NOTHING
    assert not talk.understood_nothing
    assert await talk.says("banana") == NOTHING
    assert talk.understood_nothing


async def test_news_of_a_tool_that_nobody_asked_for_is_not_made_up() -> None:
    talk = agent(a=LOOK_UP)
    await talk.says("look up two")
    assert await talk.came(Act("other"), {"size": 7}) == NOTHING


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ('a({"x": ") -> {"}) -> {"ok": true}', Used("a", {"ok": True})),
        ("a({}) -> {}", Used("a", {})),
        ("a({}) -> [1]", None),
        ("a({}) ->  {", None),
        ("a({}", None),
        ("nothing", None),
        ("a(" + "[" * 100_000, None),
    ],
)
def test_the_record_of_a_tool_is_read(text: str, used: Used | None) -> None:
    assert read_use(text) == used


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{a.0.b} and {c}", "x and"),
        ("{a.1.b}{a.0.z}", ""),
        ("At {n}.", "At 5."),
        ("{a.0.b.c} {} {a.}", "{} {a.}"),
    ],
)
def test_places_are_paths(text: str, filled: str) -> None:
    assert fill(text, {"a": [{"b": "x"}], "n": 5}) == filled


def test_a_lone_place_is_the_value_itself() -> None:
    arguments = (("n", "{n}"), ("list", "{list}"), ("gone", "{gone}"), ("text", "n {n}"), ("given", 3), ("null", None))
    filled = fill_arguments(arguments, {"n": 5, "list": [1]})
    assert filled == {"n": 5, "list": [1], "text": "n 5", "given": 3}

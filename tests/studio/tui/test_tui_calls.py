"""The tab of calls, and one call as it goes on."""

import pytest

from ai_engine.switchboard.models import StudioCall, Transfer
from ai_engine.switchboard.ports import Refused
from tests.studio.tui.fakes.scene import INBOUND, NOW, OUTBOUND
from tests.studio.tui.fakes.stage import Stage


@pytest.fixture(params=["the list", "the call"])
async def at_a_call(studio: Stage, request: pytest.FixtureRequest) -> Stage:
    """The same keys do the same, wherever a call is in front of one."""
    if request.param == "the call":
        await studio.press("enter")
        await studio.shows("floor: caller")
    return studio


async def test_calls_in_progress_are_listed(studio: Stage) -> None:
    await studio.shows("1 in reception +493055512345 talking caller 1:13 842ms", "2 out sales", "3 out survey")
    await studio.shows("Asterisk 22.5.2 up │ 3 calls")


async def test_a_call_is_watched_as_it_is_spoken(studio: Stage) -> None:
    await studio.until(lambda: studio.engine.watched)
    studio.office.talk()
    await studio.press("enter")
    await studio.shows("caller: Thursday would …", "-18 dBFS", "turn 6 of 6 842ms", "first frame")
    studio.engine.publish(NOW, "said", INBOUND, who="caller", text="Thursday would be fine.")
    await studio.shows("caller: Thursday would be fine.")
    assert "would …" not in studio.text


async def test_the_turn_before_is_looked_at(studio: Stage) -> None:
    await studio.until(lambda: studio.engine.watched)
    studio.office.talk()
    await studio.press("enter")
    await studio.shows("turn 6 of 6 842ms")
    await studio.press("left", "left")
    await studio.shows("turn 4 of 6 1.3s")
    await studio.press("right")
    await studio.shows("turn 5 of 6 580ms")


async def test_calls_come_and_go_with_the_events(studio: Stage) -> None:
    await studio.until(lambda: studio.engine.watched)
    ringing = studio.engine.in_progress.pop()
    studio.engine.publish(NOW, "call_ended", ringing.call_id, **ringing.as_json(), reason="no_answer")
    await studio.shows("survey and +442079460958 ended: no_answer.", "│ 2 calls")
    later = ringing.model_copy(update={"call_id": "out-99", "number": "+15550001111"})
    studio.engine.in_progress.append(later)
    studio.engine.publish(NOW, "call_started", "out-99", **later.as_json())
    await studio.shows("+15550001111", "│ 3 calls")
    studio.engine.publish(NOW, "call_changed", "out-99", **(later.as_json() | {"state": "talking", "floor": "agent"}))
    studio.engine.in_progress[-1] = later.model_copy(update={"state": "talking", "floor": "agent"})
    await studio.shows("+15550001111 talking agent")


async def test_an_ended_call_can_still_be_read(studio: Stage) -> None:
    await studio.until(lambda: studio.engine.watched)
    studio.office.talk()
    await studio.press("enter")
    call = studio.engine.in_progress.pop(0)
    studio.engine.publish(NOW, "call_ended", INBOUND, **call.as_json(), reason="caller_hung_up")
    await studio.shows("— ended: caller_hung_up —", "need an appointment")
    await studio.press("h")
    await studio.shows("There is no call to do that with.")
    await studio.press("escape")
    await studio.shows("studio 1 Calls", "1 out sales")


async def test_hang_up_asks_first(at_a_call: Stage) -> None:
    await at_a_call.press("h")
    await at_a_call.shows("Hang up on +493055512345?")
    await at_a_call.press("n")
    await at_a_call.until(lambda: "Hang up on" not in at_a_call.text)
    assert at_a_call.engine.asked == []
    await at_a_call.press("h", "y")
    await at_a_call.shows("Hung up on +493055512345.")
    assert at_a_call.engine.asked == [("hang_up", INBOUND)]


async def test_transfer(at_a_call: Stage) -> None:
    await at_a_call.press("t")
    await at_a_call.type("2001")
    await at_a_call.press("enter")
    await at_a_call.shows("+493055512345 is sent to 2001.")
    assert at_a_call.engine.asked == [("transfer", INBOUND, Transfer(extension="2001"))]


async def test_transfer_to_the_human_is_the_empty_form(studio: Stage) -> None:
    await studio.press("down", "t", "enter")
    await studio.shows("is sent to the human.")
    assert studio.engine.asked == [("transfer", OUTBOUND, Transfer())]


async def test_listening_in_remembers_the_telephone(at_a_call: Stage) -> None:
    await at_a_call.press("l", "enter")
    await at_a_call.shows("which telephone shall ring?")
    await at_a_call.type("1000")
    await at_a_call.press("enter")
    await at_a_call.shows("1000 rings and hears +493055512345; l again to stop.")
    await at_a_call.press("l")
    await at_a_call.shows("Nobody listens to +493055512345 any more.")
    await at_a_call.press("l", "enter")
    await at_a_call.shows("1000 rings and hears")
    listen = ("listen", INBOUND, "1000")
    assert at_a_call.engine.asked == [listen, ("stop_listening", "listener-1"), listen]


async def test_whisper(at_a_call: Stage) -> None:
    await at_a_call.press("w")
    await at_a_call.type("offer ten percent?")
    await at_a_call.press("enter")
    await at_a_call.shows("The agent was told: offer ten percent?")
    assert at_a_call.engine.asked == [("whisper", INBOUND, "offer ten percent?")]


async def test_the_log_of_a_call(at_a_call: Stage) -> None:
    await at_a_call.press("g")
    await at_a_call.shows("bound to channel in-1f0c", "only what contains 'in-1f0c'")
    assert "connected to Asterisk" not in at_a_call.text


async def test_have_an_agent_call_somebody(studio: Stage) -> None:
    await studio.press("c", "enter")
    await studio.shows("to: whom shall it call?")
    await studio.type("+1 415 555 0199")
    await studio.press("tab")
    await studio.type("+4930123457")
    await studio.press("enter")
    await studio.shows("Calling +14155550199 with reception; the job is 6f1c.")
    request = StudioCall(agent="reception", to="+14155550199", from_number="+4930123457")
    assert studio.engine.asked == [("call", request)]


async def test_what_cannot_be_a_number_stays_in_the_form(studio: Stage) -> None:
    await studio.press("c")
    await studio.type("bob")
    await studio.press("enter")
    await studio.shows("to: 'bob' is no telephone number; write it like +14155550123")
    await studio.press("escape")
    await studio.until(lambda: "bob" not in studio.text)
    assert studio.engine.asked == []


async def test_a_refusal_is_told_and_what_was_typed_is_not_lost(studio: Stage) -> None:
    studio.engine.no = Refused("not-capable", "reception cannot call: no number leads out; import one with i")
    await studio.press("c")
    await studio.type("+14155550199")
    await studio.press("enter")
    await studio.shows("Not done (calling +14155550199): reception cannot call: no number leads out; import one with i")
    await studio.press("c")
    await studio.shows("to +14155550199")
    await studio.press("ctrl+s")
    await studio.shows("Calling +14155550199")


async def test_the_filter_narrows_the_list(studio: Stage) -> None:
    await studio.press("slash")
    await studio.type("SALES")
    await studio.until(lambda: "+493055512345" not in studio.text)
    await studio.press("enter", "h", "y")
    await studio.shows("Hung up on +14155550123.")
    await studio.press("slash", "escape")
    await studio.shows("+493055512345", "+442079460958")
    await studio.press("slash")
    await studio.type("nobody")
    await studio.shows("No call contains 'nobody'; / then Esc drops the filter.")

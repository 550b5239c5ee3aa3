"""The tab of agents."""

import pytest

from ai_engine.switchboard.models import RoomRequest, StudioCall
from ai_engine.switchboard.ports import Refused
from tests.studio.tui.fakes.stage import Stage


@pytest.fixture
async def at_agents(studio: Stage) -> Stage:
    await studio.press("3")
    await studio.shows("reception 3f9a1c")
    return studio


async def test_what_an_agent_can_do_and_why_not(at_agents: Stage) -> None:
    await at_agents.shows("yes phone_call", "NO recording: recordings are off; set recordings.directory")
    await at_agents.press("down")
    await at_agents.shows("means nothing here:", "atem.geofence: there is no vendor's network here")
    await at_agents.press("down")
    await at_agents.shows("ERROR config/agents/survey.yaml:7: provider: 'lokal' is not known; did you mean local?")


async def test_start_and_stop(at_agents: Stage) -> None:
    await at_agents.press("s", "enter")
    await at_agents.shows("reception runs in room reception; dial 7001.")
    await at_agents.shows("runs in room reception, 0 joined dial 7001", "│ 1 room")
    await at_agents.press("x")
    await at_agents.shows("Stop reception in reception? Everybody in there is hung up on.")
    await at_agents.press("y")
    await at_agents.shows("reception has stopped in reception.", "│ 0 rooms")
    assert at_agents.engine.asked == [("start_room", RoomRequest(agent="reception")), ("stop_room", "r1")]


async def test_a_room_may_have_a_name(at_agents: Stage) -> None:
    await at_agents.press("down", "s")
    await at_agents.type("lobby")
    await at_agents.press("enter")
    await at_agents.shows("sales runs in room lobby; dial 7001.", "room lobby")


async def test_what_does_not_run_cannot_be_stopped(at_agents: Stage) -> None:
    await at_agents.press("x")
    await at_agents.shows("reception runs in no room; s starts it in one.")


async def test_a_start_that_is_refused_says_why(at_agents: Stage) -> None:
    at_agents.engine.no = Refused("asterisk", "Asterisk does not answer; is it running?")
    await at_agents.press("s", "enter")
    await at_agents.shows("Not done (starting reception): Asterisk does not answer; is it running?")


async def test_the_selected_agent_calls(at_agents: Stage) -> None:
    await at_agents.press("down", "c")
    await at_agents.type("100")
    await at_agents.press("enter")
    await at_agents.shows("Calling 100 with sales")
    assert at_agents.engine.asked == [("call", StudioCall(agent="sales", to="100"))]


async def test_a_file_the_engine_has_not_read_is_shown_with_its_problems(at_agents: Stage) -> None:
    at_agents.office.agents.names.append("zoe")
    at_agents.office.agents.problems["zoe"] = ("config/agents/zoe.yaml:3: prompt: is missing",)
    await at_agents.shows("zoe ERROR")
    await at_agents.press("end")
    await at_agents.shows("config/agents/zoe.yaml:3: prompt: is missing", "zoe is a file")


async def test_the_filter_narrows_the_list(at_agents: Stage) -> None:
    await at_agents.press("slash")
    await at_agents.type("pipeline")
    await at_agents.until(lambda: "3f9a1c" not in at_agents.text)
    await at_agents.press("enter")
    await at_agents.shows("sales version 77e0b2")

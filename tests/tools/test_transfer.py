"""Where the transfer tool sends a caller, and what the agent is told of those who are asked first."""

from collections.abc import Mapping
from typing import Any

import pytest

from ai_engine.call.events import TransferAsked
from ai_engine.config.tools import Destination
from ai_engine.session.ports import Consultation
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.transfer import Transfer
from tests.fakes.tool_call import ToolCall

SALES = Destination(extension="2000", description="sells tractors", attended=True, ring_seconds=20.0)
OFFICE = Destination(context="office", extension="3000", description="opens at nine")


class AskedCall(ToolCall):
    """A call in which whoever is asked says ``outcome``."""

    def __init__(self, outcome: str, *, caller_speaking: bool = False) -> None:
        super().__init__(caller_speaking=caller_speaking)
        self.outcome = outcome
        self.asked: list[Consultation] = []

    async def consult(self, consultation: Consultation) -> str:
        self.asked.append(consultation)
        return self.outcome


async def use(tool: Transfer, arguments: Mapping[str, Any], call: ToolCall) -> Mapping[str, Any]:
    result, _ = await Toolbox([tool]).use("transfer", arguments, call)
    return result


async def test_without_destinations_it_is_the_configured_human() -> None:
    tool, call = Transfer(), ToolCall()
    assert tool.parameters["properties"] == {}
    assert await use(tool, {}, call) == {"ok": True}
    assert call.events == [TransferAsked("the agent asked for a person")]


async def test_where_nobody_can_be_reached_the_agent_is_told_so() -> None:
    call = AskedCall("accepted")
    call.reaches_human = False
    for name in ("sales", "office", "human"):
        answer = await use(Transfer({"sales": SALES, "office": OFFICE}), {"to": name}, call)
        assert answer == {"ok": False, "error": "nobody can be reached in this call"}
    assert (call.events, call.asked) == ([], [])


async def test_a_blind_transfer_goes_where_its_destination_is() -> None:
    call = ToolCall()
    assert await use(Transfer({"office": OFFICE}), {"to": "office"}, call) == {"ok": True}
    assert call.events == [TransferAsked("the agent asked for office", "office", "3000")]


async def test_the_configured_human_is_always_a_destination() -> None:
    call = ToolCall()
    assert await use(Transfer({"office": OFFICE}), {"to": "human"}, call) == {"ok": True}
    assert call.events == [TransferAsked("the agent asked for a person")]


async def test_a_destination_may_take_the_humans_name() -> None:
    tool, call = Transfer({"human": OFFICE}), ToolCall()
    assert tool.parameters["properties"]["to"]["enum"] == ["human"]
    await use(tool, {"to": "human"}, call)
    assert call.events == [TransferAsked("the agent asked for human", "office", "3000")]


async def test_a_name_that_is_none_is_refused() -> None:
    call = ToolCall()
    assert (await use(Transfer({"office": OFFICE}), {"to": "warehouse"}, call))["ok"] is False
    assert call.events == []


def test_the_model_reads_who_is_there() -> None:
    tool = Transfer({"sales": SALES, "office": OFFICE})
    assert tool.parameters["properties"]["to"]["enum"] == ["sales", "office", "human"]
    assert tool.parameters["required"] == ["to"]
    for line in ("- sales: sells tractors", "- office: opens at nine", "- human: "):
        assert line in tool.description
    assert "summary" in tool.parameters["properties"]
    assert "summary" not in Transfer({"office": OFFICE}).parameters["properties"]


async def test_who_is_asked_first_is_told_the_summary() -> None:
    tool, call = Transfer({"sales": SALES}), AskedCall("accepted")
    assert await use(tool, {"to": "sales", "summary": "Ann."}, call) == {"ok": True, "outcome": "accepted"}
    assert call.asked == [Consultation("offhook", "2000", "Ann.", 20.0)]
    assert call.events == []
    assert tool.timeout_seconds == 60.0


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("declined", "cannot take"),
        ("no_answer", "nobody answered"),
        ("busy", "on the telephone"),
        ("failed: the dialplan has no join", "cannot be reached"),
    ],
)
async def test_an_agent_is_told_why_the_caller_is_back(outcome: str, words: str) -> None:
    result = await use(Transfer({"sales": SALES}), {"to": "sales"}, AskedCall(outcome))
    assert (result["ok"], result["outcome"]) == (False, outcome)
    assert result["error"].startswith("sales: ")
    assert words in result["error"]


async def test_nobody_is_asked_while_the_caller_speaks() -> None:
    call = AskedCall("accepted", caller_speaking=True)
    assert (await use(Transfer({"sales": SALES}), {"to": "sales"}, call))["ok"] is False
    assert call.asked == []

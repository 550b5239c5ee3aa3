"""What an agent says came of a call that somebody asked for."""

from collections.abc import Mapping
from typing import Any

import pytest

from ai_engine.call.events import HangupAsked
from ai_engine.jobs.briefing import REPORT_TOOL
from ai_engine.jobs.request import Report
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.report_call import ReportCall
from ai_engine.tools.schema import refusal
from tests.fakes.tool_call import ToolCall

JOB = {"job": "job-1"}


class Desk:
    """Implements ``Reports`` for one job."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, Report]] = []

    async def report(self, job_id: str, report: Report) -> None:
        if job_id != "job-1":
            raise KeyError(job_id)
        self.reports.append((job_id, report))


async def use(desk: Desk, call: ToolCall, **arguments: Any) -> Mapping[str, Any]:
    result, _ = await Toolbox([ReportCall(desk)]).use(REPORT_TOOL, arguments, call)
    return result


def test_every_provider_takes_its_schema() -> None:
    assert refusal(ReportCall.parameters) is None


async def test_a_report_is_kept_and_ends_the_call() -> None:
    desk, call = Desk(), ToolCall(JOB)
    data = {"price": 12.5, "tags": ["a", None]}
    result = await use(desk, call, summary="They deliver.", outcome="success", nextSteps=["Order"], data=data)
    assert result == {"ok": True}
    assert desk.reports == [
        ("job-1", Report(summary="They deliver.", outcome="success", next_steps=("Order",), data=data))
    ]
    assert call.events == [HangupAsked()]


async def test_a_summary_is_enough() -> None:
    desk, call = Desk(), ToolCall(JOB)
    assert (await use(desk, call, summary="Nothing."))["ok"] is True
    assert desk.reports[0][1].outcome == "unknown"


@pytest.mark.parametrize(
    ("arguments", "call", "error"),
    [
        ({"summary": "x"}, ToolCall(), "nobody asked for this call"),
        ({"summary": "x"}, ToolCall({"job": ""}), "nobody asked for this call"),
        ({"summary": "x"}, ToolCall({"job": "job-2"}), "nobody knows of this call any more"),
        ({"summary": "x"}, ToolCall(JOB, caller_speaking=True), "the caller is speaking"),
        ({}, ToolCall(JOB), "'summary' is a required property"),
        ({"summary": ""}, ToolCall(JOB), "summary: '' should be non-empty"),
        ({"summary": "x", "outcome": "fine"}, ToolCall(JOB), "outcome: 'fine' is not one of"),
        ({"summary": "x", "nextSteps": "y"}, ToolCall(JOB), "nextSteps: 'y' is not of type 'array'"),
    ],
)
async def test_refusals(arguments: dict[str, Any], call: ToolCall, error: str) -> None:
    desk = Desk()
    result = await use(desk, call, **arguments)
    assert result["ok"] is False
    assert error in result["error"]
    assert desk.reports == []
    assert call.events == []

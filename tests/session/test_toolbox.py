"""Tools are given good arguments and limited time, and answer whatever happens."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ai_engine.call.events import CallEvent
from ai_engine.session.ports import Said, ToolContext
from ai_engine.session.toolbox import Toolbox
from tests.fakes.virtual_time import run_virtual


class Context:
    call_id = "call-1"
    caller_speaking = False
    facts: Mapping[str, str] = {}
    history: tuple[Said, ...] = ()

    def happened(self, event: CallEvent) -> None:
        raise AssertionError(event)


class Book:
    name = "book"
    description = "Book a table."
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"people": {"type": "integer", "minimum": 1}, "guest": {"type": "object"}},
        "required": ["people"],
        "additionalProperties": False,
    }
    timeout_seconds = 2.0

    def __init__(self) -> None:
        self.booked: list[Mapping[str, Any]] = []
        self.cancelled = False

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        if arguments["people"] == 13:
            raise KeyError("bad luck")
        try:
            await asyncio.sleep(arguments["people"])
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.booked.append(arguments)
        return {"ok": True, "table": 7}


def use(tool: Book, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    result, ms = run_virtual(Toolbox([tool]).use(name, arguments, Context()))
    assert ms >= 0
    return result


def test_a_result_is_passed_on() -> None:
    tool = Book()
    assert use(tool, "book", {"people": 1}) == {"ok": True, "table": 7}
    assert tool.booked == [{"people": 1}]


def test_bad_arguments_never_reach_the_tool() -> None:
    tool = Book()
    for arguments, error in (
        ({}, "arguments: 'people' is a required property"),
        ({"people": "two"}, "people: 'two' is not of type 'integer'"),
        ({"people": 0}, "people: 0 is less than the minimum of 1"),
        ({"people": 2, "time": 3}, "arguments: Additional properties are not allowed ('time' was unexpected)"),
    ):
        assert use(tool, "book", arguments) == {"ok": False, "error": error}
    assert tool.booked == []


def test_an_unknown_tool_is_told_what_there_is() -> None:
    assert use(Book(), "cook", {}) == {"ok": False, "error": "there is no tool 'cook'; there are book"}


def test_a_slow_tool_is_stopped() -> None:
    tool = Book()
    assert use(tool, "book", {"people": 5}) == {"ok": False, "error": "book did not answer within 2 s"}
    assert tool.cancelled


def test_a_broken_tool_is_an_answer_too() -> None:
    assert use(Book(), "book", {"people": 13}) == {"ok": False, "error": "book failed"}


def test_an_agent_is_told_of_every_tool() -> None:
    [spec] = Toolbox([Book()]).specs
    assert (spec.name, spec.description) == ("book", "Book a table.")

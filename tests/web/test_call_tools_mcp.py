"""The tools call_agent and call_agent_status, with the official MCP client, over both transports."""

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import httpx2
import pytest
from jsonschema import Draft202012Validator
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from ai_engine.jobs.record import CallRecord, ScheduledEvent
from ai_engine.jobs.request import Report
from ai_engine.jobs.settings import Manners
from ai_engine.jobs.status import Status
from tests.fakes.call_desk import MemoryDesk
from tests.fakes.front_door import TOKEN, FrontDoor, front_door

ROOT = Path(__file__).parents[2]
BOOKING = {"to": "+14155550123", "goal": "a haircut", "durationMinutes": 30}

Mode = Literal["auto", "legacy"]
Connect = Callable[[FrontDoor, Mode], AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def over_http(door: FrontDoor, mode: Mode = "auto") -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        Client(streamable_http_client(f"{door.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(door: FrontDoor, mode: Mode = "auto") -> AsyncIterator[Client]:
    module = "ai_engine" if mode == "auto" else "tests.fakes.call_agent_program"
    async with Client(program(door.url, module=module), mode=mode) as client:
        yield client


def program(url: str, token: str = TOKEN, module: str = "tests.fakes.call_agent_program") -> StdioServerParameters:
    env = {"PYTHONPATH": str(ROOT), "CALL_AGENT_URL": url, "CALL_AGENT_TOKEN": token}
    return StdioServerParameters(command=sys.executable, args=["-m", module, "mcp"], env=env)


def text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    assert len(result.content) == 1
    return result.content[0].text


@pytest.mark.parametrize("connect", [over_http, over_stdio])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_call_from_asking_to_its_end(connect: Connect, mode: Mode) -> None:
    hint = "open http://127.0.0.1:4545/mock?callId=1 to start"
    desk = MemoryDesk(Manners(do_not_call=("+14155550199",)), user_hint=hint)
    async with front_door(desk, tokens=[TOKEN]) as door, connect(door, mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["call_agent", "call_agent_status"]

        started = await client.call_tool("call_agent", BOOKING)
        call_id = desk.asked and (await desk.calls())[0].id
        assert started.structured_content == {"callId": call_id}
        assert text(started) == f"Call {call_id} started: queued. {hint}"

        desk.happen(str(call_id), Status.DIALING, "dialing")
        asked = await client.call_tool("call_agent_status", {"callId": call_id})
        assert text(asked) == f"Call {call_id}: dialing, attempt 1."
        assert CallRecord.model_validate(asked.structured_content) == await desk.status(str(call_id))

        unknown = await client.call_tool("call_agent_status", {"callId": "nobody"})
        assert (text(unknown), unknown.structured_content) == ("call not found", None)

        wrong = await client.call_tool("call_agent", {**BOOKING, "durationMinute": 30})
        assert (wrong.is_error, wrong.structured_content) == (True, None)
        assert "did you mean durationMinutes?" in text(wrong)

        refused = await client.call_tool("call_agent", {**BOOKING, "to": "+14155550199"})
        assert refused.is_error
        assert "do-not-call list" in text(refused)
        with pytest.raises(MCPError, match="call_agent and call_agent_status"):
            await client.call_tool("hang_up", {})


async def test_the_schemas_are_whole_and_plain() -> None:
    async with front_door(tokens=[TOKEN]) as door, over_http(door) as client:
        tools = (await client.list_tools()).tools
    for tool in tools:
        assert tool.description
        for schema in (tool.input_schema, tool.output_schema):
            Draft202012Validator.check_schema(schema)
            assert "$ref" not in str(schema)
            assert "null" not in json.dumps(schema)
    properties = tools[0].input_schema["properties"]
    assert {
        "to": "string", "goal": "string", "durationMinutes": "number", "timezone": "string", "windowStart": "string",
        "windowEnd": "string", "workingHours": "object", "calendarId": "string", "userName": "string",
        "calleeName": "string",
    }.items() <= {name: schema["type"] for name, schema in properties.items()}.items()  # fmt: skip
    # What only programs ask for would confuse a model.
    assert not {"ownWords", "maxAttempts", "ringSeconds", "maxSeconds", "variables"} & set(properties)
    assert "prompt" in properties
    assert set(properties["workingHours"]["properties"]) == {"start", "end", "days"}
    assert all(schema.get("description") for schema in properties.values())
    assert (tools[0].input_schema["required"], tools[1].input_schema["required"]) == (["to"], ["callId"])
    assert (tools[0].output_schema or {})["required"] == ["callId"]


async def test_the_same_key_is_the_same_call() -> None:
    async with front_door(tokens=[TOKEN]) as door, over_http(door) as client:
        first, again = [await client.call_tool("call_agent", {**BOOKING, "idempotencyKey": "tuesday"}) for _ in "12"]
        assert first.structured_content == again.structured_content
        assert "had started before" in text(again)


async def test_what_became_of_a_call_is_said_in_words() -> None:
    async with front_door(tokens=[TOKEN]) as door, over_http(door) as client:

        async def said(request: dict[str, Any], status: Status, **changes: Any) -> str:
            started = await client.call_tool("call_agent", request)
            call_id = (started.structured_content or {})["callId"]
            door.desk.happen(call_id, Status.DIALING, "dialing")
            door.desk.settle(call_id, status, **changes)
            return text(await client.call_tool("call_agent_status", {"callId": call_id})).partition(": ")[2]

        event = {"eventId": "1", "calendarId": "primary", "timezone": "UTC"}
        event |= {"start": "2027-03-01T09:00:00Z", "end": "2027-03-01T09:30:00Z"}
        scheduled = {"outcome": "scheduled", "scheduled_event": ScheduledEvent.model_validate(event)}
        assert await said(BOOKING, Status.COMPLETED, **scheduled) == (
            "completed, attempt 1. Scheduled: 2027-03-01T09:00:00+00:00 to 2027-03-01T09:30:00+00:00 (UTC)."
        )
        assert await said(BOOKING, Status.COMPLETED) == "completed, attempt 1. Nothing was scheduled."
        busy = await said(BOOKING, Status.BUSY, last_error="486 Busy Here")
        assert busy == "busy, attempt 1. Nothing was scheduled. Last error: 486 Busy Here"
        free = {"to": "+14155550123", "prompt": "Ask."}
        report = Report(summary="They are open.", outcome="success")
        assert await said(free, Status.COMPLETED, outcome="reported", report=report) == (
            "completed, attempt 1. Report (success): They are open."
        )


async def test_only_requests_are_taken_over_http() -> None:
    async with front_door() as door, httpx.AsyncClient(trust_env=False) as http:
        for method in ("GET", "DELETE"):
            response = await http.request(method, f"{door.url}/mcp", headers={"Accept": "text/event-stream"})
            assert (response.status_code, response.headers["allow"]) == (405, "POST")
        nonsense = await http.post(f"{door.url}/mcp", content=b"{", headers={"Content-Type": "application/json"})
        assert nonsense.status_code in (400, 406)


async def test_no_engine_answers(tmp_path: Path) -> None:
    with open(tmp_path / "errors", "w") as errors:  # noqa: ASYNC230 - a file of this test
        async with _started(program("http://127.0.0.1:9"), errors) as client:
            result = await client.call_tool("call_agent", BOOKING)
            assert result.is_error
            assert "no engine answers at http://127.0.0.1:9" in text(result)
            assert "python -m ai_engine" in text(result)
    assert "no engine answers" in (tmp_path / "errors").read_text()


async def test_the_token_of_the_program_is_wrong(tmp_path: Path) -> None:
    async with front_door(tokens=[TOKEN]) as door:
        with open(tmp_path / "errors", "w") as errors:  # noqa: ASYNC230 - a file of this test
            async with _started(program(door.url, "not-the-token"), errors) as client:
                result = await client.call_tool("call_agent_status", {"callId": "x"})
                assert result.is_error
                assert "compare it with CALL_AGENT_TOKEN" in text(result)
        assert "CALL_AGENT_TOKEN" in (tmp_path / "errors").read_text()
        assert "not-the-token" not in (tmp_path / "errors").read_text()


@asynccontextmanager
async def _started(parameters: StdioServerParameters, errors: Any) -> AsyncIterator[Client]:
    async with Client(stdio_client(parameters, errlog=errors)) as client:
        yield client

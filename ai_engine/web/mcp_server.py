"""The MCP server: phone calls as tools, whatever the transport."""

from collections.abc import Mapping
from typing import Any

from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from pydantic import ConfigDict, ValidationError

from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.request import CallRequest, Wire
from ai_engine.web.intake import AskingDesk, take
from ai_engine.web.mcp_schema import schema_of
from ai_engine.web.problems import Problem, invalid


class CallStarted(Wire):
    """What `call_agent` answers with."""

    call_id: str
    """Ask `call_agent_status` for it."""


class StatusQuestion(Wire):
    """The input of `call_agent_status`."""

    model_config = ConfigDict(title="call_agent_status")

    call_id: str
    """As `call_agent` gave it."""


_FOR_PROGRAMS = ("ownWords", "maxAttempts", "ringSeconds", "maxSeconds", "variables")
"""Of a request: what a model would only be confused by."""

_TOOLS = [
    Tool(
        name="call_agent",
        title="Place a phone call",
        description="Place a real phone call: an agent dials the number, talks, and either books an appointment (goal"
        " and durationMinutes) or follows free instructions (prompt). Returns a callId at once, long before the call is"
        " over; ask call_agent_status how it went.",
        input_schema=schema_of(CallRequest, without=_FOR_PROGRAMS),
        output_schema=schema_of(CallStarted),
        annotations=ToolAnnotations(read_only_hint=False, idempotent_hint=False, open_world_hint=True),
    ),
    Tool(
        name="call_agent_status",
        title="How a phone call goes",
        description="Say how a call of call_agent goes, or what came of it: status, attempts, the appointment that was"
        " made, or the agent's report.",
        input_schema=schema_of(StatusQuestion),
        output_schema=schema_of(CallRecord),
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
]


def mcp_server(desk: AskingDesk, version: str = "") -> Server[Any]:
    """A server with `call_agent` and `call_agent_status`; what the desk raises as Problem is told to the model."""

    async def list_tools(_: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=_TOOLS)

    async def call_tool(_: ServerRequestContext[Any], asked: CallToolRequestParams) -> CallToolResult:
        arguments = asked.arguments or {}
        try:
            match asked.name:
                case "call_agent":
                    return await _call_agent(desk, arguments)
                case "call_agent_status":
                    return await _status(desk, arguments)
        except ValidationError as error:
            return _wrong(str(invalid(error.errors(include_url=False, include_context=False))))
        except Problem as problem:
            return _wrong(str(problem))
        names = " and ".join(tool.name for tool in _TOOLS)
        raise MCPError(INVALID_PARAMS, f"There is no tool {asked.name[:100]!r}; there are {names}.")

    return Server("offhook", version=version, title="Offhook", on_list_tools=list_tools, on_call_tool=call_tool)


async def _call_agent(desk: AskingDesk, arguments: Mapping[str, Any]) -> CallToolResult:
    taken = await take(desk, CallRequest.model_validate(arguments))
    record = taken.record
    text = f"Call {record.id} {'had started before' if taken.again else 'started'}: {record.status}."
    if record.user_hint:
        text += f" {record.user_hint}"
    if record.settled or record.last_error:
        text += f" {record.last_error or ''}".rstrip()
    return _answer(text, CallStarted(call_id=record.id))


async def _status(desk: AskingDesk, arguments: Mapping[str, Any]) -> CallToolResult:
    question = StatusQuestion.model_validate(arguments)
    record = await desk.status(question.call_id)
    return _wrong("call not found") if record is None else _answer(summary(record), record)


def summary(record: CallRecord) -> str:
    """A sentence or two for whoever asks how it goes."""
    parts = [f"Call {record.id}: {record.status}, attempt {record.attempt}."]
    if event := record.scheduled_event:
        parts.append(f"Scheduled: {event.start.isoformat()} to {event.end.isoformat()} ({event.timezone}).")
    if record.report:
        parts.append(f"Report ({record.report.outcome}): {record.report.summary}")
    if record.settled and not record.request.talks and record.outcome in (None, "not_scheduled"):
        parts.append("Nothing was scheduled." if record.request.books else "Nothing was reported.")
    if record.last_error and record.scheduled_event is None:
        parts.append(f"Last error: {record.last_error}")
    if record.next_attempt_at:
        parts.append(f"It is dialled again at {record.next_attempt_at.isoformat()}.")
    return " ".join(parts)


def _answer(text: str, data: Wire) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], structured_content=data.as_json())


def _wrong(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=True)

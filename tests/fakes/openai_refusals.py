"""What an OpenAI-compatible server refuses in a request.

The wording is the vendor's as far as we know it; what has no known wording says so in ours.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, get_args

from jsonschema import Draft202012Validator, SchemaError
from openai.types.audio import SpeechCreateParams, SpeechModel
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.shared import ChatModel
from pydantic import ValidationError
from pydantic_core import ErrorDetails, SchemaValidator

from tests.fakes.strict_types import strictly

CHAT_MODELS: tuple[str, ...] = get_args(ChatModel)
SPEECH_MODELS: tuple[str, ...] = get_args(SpeechModel)
VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
LONGEST_SPEECH = 4096
"""Characters."""

_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "speed": (0.25, 4),
}
_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REASONING_MODEL = re.compile(r"(o\d|gpt-[5-9])(?!.*-chat-latest)")


class Refused(Exception):
    """The server's answer is an error; ``error`` is the vendor's JSON."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}


def bad(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """The request is wrong."""
    return Refused(400, message, param, code)


def check_chat(body: Any) -> None:
    """Raises Refused."""
    _check_body(body, _chat_type(streaming=isinstance(body, dict) and bool(body.get("stream"))))
    _check_model(body["model"], CHAT_MODELS)
    if not body["messages"]:
        raise _empty("messages")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if body.get("n") not in (None, 1):
        raise bad("This server gives one choice.", "n", "unsupported_value")
    if body.get("max_tokens") is not None and _REASONING_MODEL.match(body["model"]):
        raise bad(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    _check_tools(body)
    _check_messages(body["messages"])


def check_speech(body: Any) -> None:
    """Raises Refused."""
    _check_body(body, _speech_type())
    _check_model(body["model"], SPEECH_MODELS)
    if not body["input"]:
        raise bad("Invalid 'input': string too short.", "input", "string_below_min_length")
    if len(body["input"]) > LONGEST_SPEECH:
        raise bad(
            f"Invalid 'input': string too long. Expected a string with maximum length {LONGEST_SPEECH}, "
            f"but got a string with length {len(body['input'])} instead.",
            "input",
            "string_above_max_length",
        )
    if body["voice"] not in VOICES:
        raise bad(f"Invalid value: {body['voice']!r}. Supported values are: {VOICES}.", "voice", "invalid_value")
    if body.get("response_format", "mp3") not in ("pcm", "wav"):
        raise bad("This server speaks pcm and wav; without response_format it is mp3.", "response_format")
    if body.get("stream_format", "audio") != "audio":
        raise bad("This server streams audio only.", "stream_format")


@cache
def _chat_type(*, streaming: bool) -> SchemaValidator:
    return strictly(CompletionCreateParamsStreaming if streaming else CompletionCreateParamsNonStreaming)


@cache
def _speech_type() -> SchemaValidator:
    return strictly(SpeechCreateParams)


def _check_body(body: Any, validator: SchemaValidator) -> None:
    try:
        validator.validate_python(body, strict=True)
    except ValidationError as error:
        raise _refusal(error) from None
    for name, (least, most) in _RANGES.items():
        value = body.get(name)
        if value is not None and not least <= value <= most:
            raise bad(f"Invalid {name!r}: expected a value from {least} to {most}, but got {value} instead.", name)


def _refusal(error: ValidationError) -> Refused:
    first, *others = _nearest(error.errors(include_url=False))
    path = [part for part in first["loc"] if isinstance(part, int) or part[0].islower()]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".") or None
    match first["type"]:
        case "extra_forbidden":
            return bad(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
        case "missing":
            return bad(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
        case _:
            said = "; ".join(str(one["msg"]) for one in (first, *others))
            return bad(f"Invalid value for '{param}': {said}.", param, "invalid_value")


def _nearest(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    # Of a union every member complains; meant was one of that role or type, and the one with the fewest complaints.
    members: dict[tuple[Any, ...], list[ErrorDetails]] = {}
    for error in errors:
        members.setdefault(error["loc"][:3], []).append(error)
    return min(members.values(), key=lambda of_one: (any(_is_other_kind(error) for error in of_one), len(of_one)))


def _is_other_kind(error: ErrorDetails) -> bool:
    return error["type"] == "literal_error" and error["loc"][3:] in (("role",), ("type",))


def _check_model(model: str, known: Sequence[str]) -> None:
    if model not in known:
        raise Refused(
            404,
            f"The model `{model}` does not exist or you do not have access to it.",
            code="model_not_found",
        )


def _check_tools(body: Mapping[str, Any]) -> None:
    if "tools" not in body:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in body:
                raise bad(f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name)
        return
    if not body["tools"]:
        raise _empty("tools")
    names: set[str] = set()
    for number, tool in enumerate(body["tools"]):
        if tool["type"] == "function":
            _check_function(tool["function"], f"tools[{number}].function", names)


def _check_function(function: Mapping[str, Any], where: str, names: set[str]) -> None:
    name = function["name"]
    if not _FUNCTION_NAME.fullmatch(name):
        raise bad(
            f"Invalid '{where}.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            f"{where}.name",
            "invalid_value",
        )
    if name in names:
        raise bad(f"Tool names must be unique: '{name}'.", f"{where}.name", "invalid_value")
    names.add(name)
    schema = function.get("parameters", {"type": "object"})
    try:
        Draft202012Validator.check_schema(schema)
        if schema.get("type") != "object":
            raise SchemaError(f"schema must be a JSON Schema of 'type: \"object\"', got {schema.get('type')!r}")
    except SchemaError as error:
        raise bad(
            f"Invalid schema for function '{name}': {error.message}.",
            f"{where}.parameters",
            "invalid_function_parameters",
        ) from None


def _check_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    waiting: list[str] = []
    is_answer = False
    for number, message in enumerate(messages):
        where = f"messages.[{number}]"
        if message["role"] == "tool":
            if not is_answer:
                raise bad(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                    "with 'tool_calls'.",
                    f"{where}.role",
                )
            if message["tool_call_id"] not in waiting:
                raise bad(
                    f"Invalid parameter: 'tool_call_id' of '{message['tool_call_id']}' not found in 'tool_calls' "
                    "of previous message.",
                    f"{where}.tool_call_id",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _check_answered(waiting, where)
        waiting = _calls_of(message, number)
        is_answer = bool(waiting)
    _check_answered(waiting, f"messages.[{len(messages)}]")


def _check_answered(waiting: Sequence[str], where: str) -> None:
    if waiting:
        raise bad(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(waiting),
            f"{where}.role",
        )


def _calls_of(message: Mapping[str, Any], number: int) -> list[str]:
    if message["role"] != "assistant":
        return []
    if "tool_calls" in message and not message["tool_calls"]:
        raise _empty(f"messages[{number}].tool_calls")
    if message.get("content") is None and not message.get("tool_calls"):
        raise bad(
            "Invalid value for 'content': expected a string, got null.", f"messages.[{number}].content", "invalid_type"
        )
    return [call["id"] for call in message.get("tool_calls", ())]


def _empty(name: str) -> Refused:
    return bad(
        f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        name,
        "empty_array",
    )

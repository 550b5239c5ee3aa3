"""What a chat model of a scenario answers, as chunks or in one piece."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic_core import SchemaValidator

from tests.fakes.scenario import Call, Scenario
from tests.fakes.strict_types import strictly

_PIECE_CHARACTERS = 5
"""Of a tool's arguments."""

_ids = count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says to one request."""

    model: str
    text: str
    tools: Sequence[Call]
    finish_reason: str
    prompt_tokens: int
    """A word is a token here."""
    id: str = field(default_factory=lambda: f"chatcmpl-{next(_ids):029d}")

    @property
    def tokens(self) -> list[str]:
        """Of the text, which is theirs joined."""
        return _tokens(self.text)


def turn_number(body: Mapping[str, Any]) -> int | None:
    """Which turn of the caller a request answers, from 0; None: nobody said anything yet."""
    said = sum(message["role"] == "user" for message in body["messages"])
    return said - 1 if said else None


def answer(body: Mapping[str, Any], scenario: Scenario) -> Answer:
    """The answer to a request that is as it should be.

    It is that to the last user message. A tool is only asked for when the request offers tools, one at a time when
    ``parallel_tool_calls`` is false; when all of them were answered, ``then`` is said.
    """
    text, tools = _next_of(body, scenario)
    finish_reason = "tool_calls" if tools else "stop"
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    tokens = _tokens(text)
    if most is not None and len(tokens) > most:
        text, tools, finish_reason = "".join(tokens[:most]), (), "length"
    prompt = sum(len(_words(message).split()) for message in body["messages"])
    return Answer(body["model"], text, tools, finish_reason, prompt)


def chunks(answer: Answer, created: int, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stream of an answer: its role, its tokens, its tools, its end, what it costs.

    ``created`` is in seconds since 1970, ``options`` the request's ``stream_options``.
    """
    head = {
        "id": answer.id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_of_a_fake",
    }
    usage = bool(options.get("include_usage"))
    if usage:
        head["usage"] = None
    made = [
        head | _padding(options) | {"choices": [_choice(delta, finish_reason)]}
        for delta, finish_reason in _deltas(answer)
    ]
    if usage:
        made.append(head | {"choices": [], "usage": _usage(answer)})
    for chunk in made:
        _chunk_type().validate_python(chunk, strict=True)
    return made


def completion(answer: Answer, created: int) -> dict[str, Any]:
    """The answer in one piece; ``created`` is in seconds since 1970."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or (None if answer.tools else ""),
        "refusal": None,
        "annotations": [],
    }
    if answer.tools:
        message["tool_calls"] = [
            {"id": _call_id(), "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for call in answer.tools
        ]
    made = {
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
        "usage": _usage(answer),
        "service_tier": "default",
        "system_fingerprint": "fp_of_a_fake",
    }
    _completion_type().validate_python(made, strict=True)
    return made


def _next_of(body: Mapping[str, Any], scenario: Scenario) -> tuple[str, Sequence[Call]]:
    messages = body["messages"]
    asked = max((number for number, message in enumerate(messages) if message["role"] == "user"), default=None)
    if asked is None:
        return scenario.greeting, ()
    turn = scenario.turn_of(_words(messages[asked]))
    answered = sum(message["role"] == "tool" for message in messages[asked:])
    may_call = "tools" in body and body.get("tool_choice") != "none"
    left = turn.tools[answered:] if may_call else ()
    if answered and not left:
        return turn.then, ()
    at_once = left if body.get("parallel_tool_calls", True) else left[:1]
    return "" if answered else turn.say, at_once


def _deltas(answer: Answer) -> Iterator[tuple[dict[str, Any], str | None]]:
    has_text = bool(answer.tokens) or not answer.tools
    yield {"role": "assistant", "content": "" if has_text else None, "refusal": None}, None
    for token in answer.tokens:
        yield {"content": token}, None
    for index, call in enumerate(answer.tools):
        begun = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": _call_id(), "type": "function", "function": begun}]}, None
        arguments = _arguments(call)
        for start in range(0, len(arguments), _PIECE_CHARACTERS):
            piece = {"arguments": arguments[start : start + _PIECE_CHARACTERS]}
            yield {"tool_calls": [{"index": index, "function": piece}]}, None
    yield {}, answer.finish_reason


def _choice(delta: Mapping[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _padding(options: Mapping[str, Any]) -> dict[str, str]:
    return {} if options.get("include_obfuscation") is False else {"obfuscation": "x7Qm"}


def _usage(answer: Answer) -> dict[str, int]:
    spent = len(answer.tokens) + sum(len(_arguments(call).split()) + 1 for call in answer.tools)
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": spent,
        "total_tokens": answer.prompt_tokens + spent,
    }


def _tokens(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def _arguments(call: Call) -> str:
    return json.dumps(dict(call.arguments), ensure_ascii=False) if call.raw is None else call.raw


def _call_id() -> str:
    return f"call_{next(_ids):024d}"


def _words(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


@cache
def _chunk_type() -> SchemaValidator:
    return strictly(ChatCompletionChunk)


@cache
def _completion_type() -> SchemaValidator:
    return strictly(ChatCompletion)

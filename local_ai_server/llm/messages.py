"""An agent and what was said so far, as the messages and tools of a chat completion."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from local_ai_server.agent import Agent
from local_ai_server.llm.marks import markable
from local_ai_server.tools import OWN, Tools

Record: TypeAlias = tuple[tuple[str, str], ...]
"""``(speaker, text)``, oldest first.

The speaker is ``caller``, ``agent``, or ``tool`` with ``name(arguments) -> result``.
"""

Messages: TypeAlias = list[dict[str, Any]]

_USE = re.compile(r"([A-Za-z0-9_-]{1,64})\((?=\{)")


def schemas_of(tools: Tools) -> list[dict[str, Any]]:
    """``tools`` for a model that is told of them, rather than of marks."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


def messages_of(agent: Agent, record: Record, tools: Tools = OWN, *, marks: bool) -> Messages:
    """The prompt as ``system``, then ``user`` and ``assistant`` in turns, as strict chat templates want them.

    What the agent said before the caller's first word goes to the prompt, since such templates let the user begin.
    ``marks``: the model is told to act by marks (``llm/marks.py``), and of tools used before in the user's name.
    """
    with_calls = bool(tools) and not marks
    system = [agent.prompt, _marks_of(tools) if marks else ""]
    messages: Messages = []
    for speaker, text in record:
        use = _use_of(text) if speaker == "tool" else None
        if use and with_calls and messages:
            _add_use(messages, use)
        elif speaker == "agent" and not messages:
            system.append(f"You have already said to the caller: {text}")
        else:
            _say(messages, "assistant" if speaker == "agent" else "user", _told(text) if speaker == "tool" else text)
    told = "\n\n".join(part for part in system if part)
    return [{"role": "system", "content": told}, *messages] if told else messages


def without_oldest(record: Record) -> Record | None:
    """The newer half of ``record``, from a caller's words on; None where nothing can be left out.

    Half, so that a long call need not come back here in each of its turns.
    """
    for start in range(max(1, len(record) // 2), len(record)):
        if record[start][0] == "caller":
            return record[start:]
    return None


def _marks_of(tools: Tools) -> str:
    lines = [f"[{tool.name}]: {tool.description}" for tool in markable(tools)]
    if not lines:
        return ""
    return "\n".join(
        ["You can act by writing a mark as the last thing of an answer. It is not spoken.", *lines],
    )


def _say(messages: Messages, role: str, text: str) -> None:
    if messages and messages[-1]["role"] == role and "tool_calls" not in messages[-1]:
        messages[-1]["content"] += f"\n{text}"
    else:
        messages.append({"role": role, "content": text})


def _told(use: str) -> str:
    return f"(You have used a tool: {use})"


def _use_of(text: str) -> tuple[str, Mapping[str, Any], str] | None:
    """``(name, arguments, result)`` of a tool's entry; None where it is written otherwise."""
    found = _USE.match(text)
    if not found:
        return None
    try:
        arguments, end = json.JSONDecoder().raw_decode(text, found.end())
    except (ValueError, RecursionError):
        return None
    arrow = ") -> "
    return (found[1], arguments, text[end + len(arrow) :]) if text.startswith(arrow, end) else None


def _add_use(messages: Messages, use: tuple[str, Mapping[str, Any], str]) -> None:
    name, arguments, result = use
    id = f"call_{len(messages)}"
    if messages[-1]["role"] != "assistant" or "tool_calls" in messages[-1]:
        messages.append({"role": "assistant", "content": ""})
    messages[-1]["tool_calls"] = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    ]
    messages.append({"role": "tool", "tool_call_id": id, "content": result})

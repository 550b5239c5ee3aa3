"""What a language model may ask the engine to do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

ENDING = ("hangup", "transfer")
"""Tools that take effect after the agent's last word: nothing is said about what came of them."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIELDS = {"name", "description", "parameters"}
_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool, as a language model is told of it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments, an object."""

    @property
    def needs_arguments(self) -> bool:
        return bool(self.parameters.get("required"))


Tools: TypeAlias = tuple[Tool, ...]

OWN: Tools = (
    Tool("hangup", "End the call once the caller has heard your words. Say goodbye in the same answer.", _NO_ARGUMENTS),
    Tool(
        "transfer",
        "Connect the caller to a person once he has heard your words. Say so in the same answer.",
        _NO_ARGUMENTS,
    ),
)
"""For a client that names none: what every engine can do."""


def is_name(name: str) -> bool:
    """Whether a tool may be called so."""
    return _NAME.fullmatch(name) is not None


def goes_on(name: str) -> bool:
    """Whether the agent has something to say when it knows what came of the tool."""
    return name not in ENDING


def read_tools(value: object) -> Tools:
    """The ``tools`` of a message. Raises ValueError with the end of a sentence."""
    if not isinstance(value, list):
        raise ValueError("must be a list of tools")
    tools = tuple(map(_tool, value))
    if len({tool.name for tool in tools}) < len(tools):
        raise ValueError("has a name twice")
    return tools


def _tool(value: object) -> Tool:
    if not isinstance(value, dict) or value.keys() - _FIELDS or not isinstance(value.get("parameters", {}), dict):
        raise ValueError("must have name, description and parameters (an object) only")
    name, description = value.get("name"), value.get("description", "")
    if not isinstance(name, str) or not is_name(name):
        raise ValueError("has a name that is not 1 to 64 letters, digits, dashes and underscores")
    if not isinstance(description, str):
        raise ValueError(f"describes {name} by something that is not text")
    return Tool(name, description, value.get("parameters") or _NO_ARGUMENTS)

"""An agent and what was said so far, as the messages and tools of a chat completion."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from local_ai_server.agent import ACTIONS, Agent

Record: TypeAlias = tuple[tuple[str, str], ...]
"""``(speaker, text)``, oldest first; the speaker is ``caller`` or ``agent``."""

_DONE_BY: Mapping[str, str] = {
    "hangup": "End the call once the caller has heard your words. Say goodbye in the same answer.",
    "transfer": "Connect the caller to a person once he has heard your words. Say so in the same answer.",
}
_MARKS = "You can act by writing a mark as the last thing of an answer. It is not spoken.\n" + "\n".join(
    f"[{name}]: {_DONE_BY[name]}" for name in ACTIONS
)

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {"name": name, "description": _DONE_BY[name], "parameters": {"type": "object", "properties": {}}},
    }
    for name in ACTIONS
]
"""For a model that is told of them, rather than of marks."""


def messages_of(agent: Agent, record: Record, *, marks: bool) -> list[dict[str, str]]:
    """The prompt as ``system``, then ``user`` and ``assistant`` in turns, as strict chat templates want them.

    What the agent said before the caller's first word goes to the prompt, since such templates let the user begin.
    ``marks``: the model is told to act by marks (``llm/marks.py``).
    """
    system = [agent.prompt, _MARKS if marks else ""]
    messages: list[dict[str, str]] = []
    for speaker, text in record:
        role = "user" if speaker == "caller" else "assistant"
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n{text}"
        elif messages or role == "user":
            messages.append({"role": role, "content": text})
        else:
            system.append(f"You have already said to the caller: {text}")
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

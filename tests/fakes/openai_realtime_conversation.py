"""The items of an OpenAI Realtime conversation, which tell what is to be said next."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fakes.openai_realtime_wire import Refusal, Wire, check_id, missing
from tests.fakes.scenario import Call, Scenario, Turn

STILL_THERE = "Are you still there?"
"""Said when the client asks for a response though everything has one."""

NO_TURN = -1


@dataclass(slots=True)
class Item:
    """One of the conversation."""

    wire: Wire
    """As the events show it: without the sound."""
    pcm: bytes = field(default=b"", repr=False)
    """PCM16, of a caller's turn."""
    audio_ms: float = 0.0
    """Of the assistant's: how much was sent, and not cut off."""

    @property
    def id(self) -> str:
        return str(self.wire["id"])

    @property
    def is_user(self) -> bool:
        return self.wire.get("role") == "user"

    @property
    def text(self) -> str:
        """What was typed."""
        return " ".join(part["text"] for part in self.wire["content"] if part.get("type") == "input_text")


@dataclass(frozen=True, slots=True)
class Due:
    """What the model does next."""

    number: int | None = None
    """Of the turn it answers; None: it greets; ``NO_TURN``: neither."""
    say: str = ""
    tools: Sequence[Call] = ()


class Conversation:
    """The items, in order."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.items: list[Item] = []

    def add(self, item: Item, after: str | None = None) -> str | None:
        """At the end, or after an item, or at the ``root``; returns what precedes it."""
        at = len(self.items)
        if after == "root":
            at = 0
        elif after is not None:
            at = self.items.index(self.find(after, "item_not_found")) + 1
        self.items.insert(at, item)
        return self.items[at - 1].id if at else None

    def find(self, id: str, code: str) -> Item:
        """Raises Refusal with ``code``."""
        for item in self.items:
            if item.id == id:
                return item
        raise Refusal(code, f"Item with item_id '{id}' not found in the conversation.", "item_id")

    def admit(self, wire: Wire) -> None:
        """Raises Refusal when the client may not add that."""
        if "id" in wire:
            check_id("item.id", wire["id"])
            if any(item.id == wire["id"] for item in self.items):
                raise Refusal("invalid_value", f"There is an item '{wire['id']}' already.", "item.id")
        for number, part in enumerate(wire.get("content", ())):
            if "type" not in part:
                raise missing(f"item.content[{number}].type")
            if part["type"] == "output_audio":
                raise Refusal("invalid_value", "Assistant audio cannot be added.", f"item.content[{number}].type")
            if part["type"].endswith("_text") and "text" not in part:
                raise missing(f"item.content[{number}].text")
        if wire["type"] == "function_call_output" and self.call(wire["call_id"]) is None:
            raise Refusal(
                "invalid_tool_call_id", f"Tool call ID '{wire['call_id']}' not found in conversation.", "item.call_id"
            )

    def call(self, call_id: str) -> Item | None:
        """The function call of that id."""
        calls = (item for item in self.items if item.wire["type"] == "function_call")
        return next((item for item in calls if item.wire.get("call_id") == call_id), None)

    def truncate(self, id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut the assistant's sound off; raises Refusal."""
        item = self.find(id, "item_truncate_invalid_item_id")
        if item.wire.get("role") != "assistant" or not item.audio_ms:
            raise Refusal("unsupported_content_type", "Only model output audio messages can be truncated", "item_id")
        if content_index != 0:
            raise Refusal("invalid_value", "There is no such content part.", "content_index")
        if not 0 <= audio_end_ms <= item.audio_ms:
            raise Refusal(
                "invalid_value", f"Audio content of {item.audio_ms:g}ms is already shorter than {audio_end_ms}ms"
            )
        item.audio_ms = audio_end_ms
        for part in item.wire["content"]:
            part.pop("transcript", None)

    def turn(self, user: Item) -> tuple[int, Turn]:
        """Number and content of a turn: by its words when it was typed, else by its place."""
        users = [item for item in self.items if item.is_user]
        number = users.index(user) if user in users else len(users)
        return number, self._scenario.turn_of(user.text) if user.text else self._scenario.turn(number)

    def due(self, given: Sequence[Item] | None = None) -> Due:
        """What the conversation asks for; or what those items ask for instead."""
        items = self.items if given is None else given
        if not any(item.is_user for item in items):
            return Due(say=self._scenario.greeting)
        last = next(item for item in reversed(items) if item.wire.get("role") != "system")
        if last.is_user:
            number, turn = self.turn(last)
            return Due(number, turn.say, turn.tools)
        match last.wire["type"]:
            case "function_call_output":
                return self._after_tools(last.wire["call_id"], items)
            case "function_call":
                return Due(NO_TURN)
            case _:
                return Due(NO_TURN, STILL_THERE)

    def _after_tools(self, call_id: str, items: Sequence[Item]) -> Due:
        answered = {item.wire["call_id"] for item in items if item.wire["type"] == "function_call_output"}
        user: Item | None = None
        asked: Item | None = None
        calls: dict[str, list[str]] = {}
        for item in items:
            if item.is_user:
                user = item
            elif item.wire["type"] == "function_call" and user is not None:
                calls.setdefault(user.id, []).append(item.wire["call_id"])
                if item.wire["call_id"] == call_id:
                    asked = user
        if asked is None or not answered.issuperset(calls[asked.id]):
            return Due(NO_TURN)
        number, turn = self.turn(asked)
        return Due(number, turn.then)

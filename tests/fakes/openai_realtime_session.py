"""What the fake of OpenAI Realtime saw of one connection."""

from dataclasses import dataclass, field

from tests.fakes.openai_realtime_conversation import Item
from tests.fakes.openai_realtime_wire import Wire


@dataclass(frozen=True, slots=True)
class HeardTurn:
    """What the caller said, from and to (ms of all sound of the session)."""

    number: int
    item_id: str
    start_ms: int
    end_ms: int
    pcm: bytes = field(repr=False)
    """At the session's ``caller_rate``."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    name: str
    output: str


@dataclass(slots=True)
class Session:
    """What was seen of one connection."""

    number: int
    """Of all that knocked, from 0: the scenario's faults count them so."""
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    """Of the handshake, without the key."""
    settings: Wire = field(default_factory=dict, repr=False)
    """As the last ``session.updated`` had them."""
    received: list[Wire] = field(default_factory=list, repr=False)
    sent: list[Wire] = field(default_factory=list, repr=False)
    caller_pcm: bytearray = field(default_factory=bytearray, repr=False)
    caller_rate: int = 24000
    turns: list[HeardTurn] = field(default_factory=list)
    """Spoken ones."""
    items: list[Item] = field(default_factory=list, repr=False)
    """The conversation as it is now."""
    truncated: list[tuple[str, int]] = field(default_factory=list)
    """Item id and ``audio_end_ms``."""
    tool_results: list[ToolResult] = field(default_factory=list)
    errors: list[Wire] = field(default_factory=list)
    """What ``error`` events said."""
    violations: list[str] = field(default_factory=list)
    """What no correct client or server sends."""
    closed: bool = False

    @property
    def received_types(self) -> list[str]:
        """Without the sound, of which there is a lot."""
        return [str(event.get("type")) for event in self.received if event.get("type") != "input_audio_buffer.append"]

    @property
    def sent_types(self) -> list[str]:
        return [event["type"] for event in self.sent]

"""The answers of the studio API, and the bodies it takes: JSON in camel case."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from ai_engine.jobs.request import Telephone, Wire

CallState = Literal["queued", "dialing", "ringing", "talking", "ending"]
CapabilityName = Literal[
    "phone_call", "inbound_call", "web_session", "barge_in", "tools", "transcript", "dtmf", "recording"
]
EventKind = Literal[
    "call_started", "call_changed", "said", "saying", "turn", "levels", "call_ended", "room_changed", "trunk_changed"
]


class LiveCall(Wire):
    """A call that is in progress, or about to be."""

    call_id: str
    """Names the call everywhere: in the log, the recordings, `offhook calls`."""
    direction: Literal["inbound", "outbound", "room"]
    agent: str
    number: str = ""
    """The other side's."""
    did: str = ""
    """The number of ours that was dialled, or that is shown."""
    room: str = ""
    state: CallState
    floor: str = ""
    """Who speaks: `nobody`, `caller`, `agent` …"""
    provider: str = ""
    since: datetime
    """When it was asked for, or came in."""
    answered_at: datetime | None = None
    channel: str = ""
    """In Asterisk."""
    job: str = ""
    """The id of the call that was asked for (`GET /calls/{job}`); empty for one that came in."""
    turns: int = 0
    last_turn_ms: float | None = None
    """From the caller's last voice to the agent's first, of the latest turn."""


class Room(Wire):
    """An agent that runs without a telephone: whoever joins talks with it."""

    id: str
    name: str
    agent: str
    started_at: datetime
    joined: int = 0
    """How many are in it."""
    extension: str = ""
    """What a telephone of this PBX dials to join."""
    url: str = ""
    """What a browser opens to join; empty where there is no such page."""


class RoomRequest(Wire):
    """Start an agent with no telephone."""

    agent: Annotated[str, Field(min_length=1, max_length=100)]
    channel: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")] | None = None
    """The name of the room; absent: the agent's."""


class StudioCall(Wire):
    """Have an agent call somebody."""

    agent: Annotated[str, Field(min_length=1, max_length=100)]
    to: Telephone
    from_number: Telephone | None = None
    """One of our numbers; absent: the first one."""
    ring_seconds: Annotated[float, Field(gt=0, le=600)] | None = None
    max_seconds: Annotated[float, Field(gt=0, le=4 * 3600)] | None = None
    variables: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")], Annotated[str, Field(max_length=500)]
    ] = {}
    """What greeting and prompt may say as `{name}`."""


class Transfer(Wire):
    """Send the caller somewhere else in the dialplan."""

    extension: Annotated[str, Field(pattern=r"^[A-Za-z0-9_*#+-]{1,40}$")] | None = None
    """Absent: the human of the configuration."""
    context: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")] | None = None


class Listen(Wire):
    """Listen in: a telephone of this PBX is called, and hears both sides."""

    extension: Annotated[str, Field(pattern=r"^[A-Za-z0-9_*#+@-]{1,80}$")]
    """As dialled in the dialplan, `1000@from-internal`; without a context that of the human is used."""


class Whisper(Wire):
    """Tell the agent something that the caller does not hear."""

    text: Annotated[str, Field(min_length=1, max_length=2000)]


class Capability(Wire):
    """What an agent can do as things stand; derived, never stored."""

    name: CapabilityName
    present: bool
    reason: str = ""
    """Why it is absent, and what to do."""


class AgentInfo(Wire):
    """An agent as the engine knows it."""

    name: str
    source: str
    """The file it stands in."""
    version: str
    """Of its text: another one after each change. A call keeps the one it began with."""
    provider: str = ""
    language: str = ""
    error: str = ""
    """Why it cannot be used, with the line; the version before it stays in use, if there is one."""
    numbers: tuple[str, ...] = ()
    """Our numbers that lead to it."""
    capabilities: tuple[Capability, ...] = ()
    not_applicable: tuple[str, ...] = ()
    """Keys of its file that mean nothing here, each with the reason."""
    tools: tuple[str, ...] = ()


class TrunkState(Wire):
    """How one number's trunk stands in Asterisk."""

    number: str
    object_id: str
    """The id of its PJSIP objects."""
    state: Literal["online", "offline", "unknown", "missing", "failed"]
    """`online`: the carrier answers OPTIONS; `missing`: Asterisk does not know it; `failed`: not applied."""
    detail: str = ""
    """What is wrong, and what to do."""


class Applied(Wire):
    """What a reconciliation has done."""

    backend: Literal["file", "ari"]
    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    trunks: tuple[TrunkState, ...] = ()


class EngineInfo(Wire):
    """A running engine."""

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    url: str
    asterisk_up: bool = False
    asterisk_version: str = ""
    app: str = ""
    ready: bool = False
    calls: int = 0
    rooms: int = 0
    provider: str = ""
    """The telephone network that calls are placed over."""
    health: dict[str, JsonValue] = {}
    """A few counters: lateness of the media clock, failures by provider …"""


class StudioEvent(Wire):
    """Something that happened just now; a line of `GET /studio/events`."""

    at: datetime
    kind: EventKind
    call_id: str = ""
    data: dict[str, Any] = {}
    """`said`: who (`caller`, `agent`) and text, final; `saying`: the same, as far as it is known.
    `turn`: `ms` and a `waterfall` of names to milliseconds. `levels`: `caller` and `agent`, dBFS of the last fifth of a
    second. `call_started`, `call_changed`, `call_ended`: the call, and `reason` at its end."""


class LogLine(Wire):
    """A line of the engine's log; a line of `GET /studio/logs`."""

    at: datetime
    level: str
    event: str
    call_id: str = ""
    fields: dict[str, Any] = {}

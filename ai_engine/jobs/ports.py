"""The doors between a call that is to be placed, the telephone networks, and those who ask for calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest, Report
from ai_engine.jobs.status import Progress

if TYPE_CHECKING:
    from fastapi import APIRouter


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the agent of an outbound call is told beside its own section of the configuration."""

    call_id: str
    """Of the record."""
    attempt: int
    agent: str
    """Whose section it is."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What greeting and prompt may say as ``{name}``: goal, callee, user, duration_minutes, timezone …"""
    greeting: str = ""
    """The first words, in place of the agent's own; with ``own_words`` before them."""
    own_words: bool = False
    """It talks as its own section says, run by its own provider."""
    instructions: str = ""
    """Added to the agent's prompt."""
    tools: tuple[str, ...] = ()
    """What it may use beside its own tools."""
    language: str = ""
    """BCP 47, in place of the agent's own."""
    voice: str = ""
    """In place of the agent's own."""
    message: str = ""
    """What is left on an answering machine; empty: it is hung up on."""
    machine: bool = False
    """It is known already that an answering machine has answered: ``message`` is left in place of a conversation."""
    max_seconds: float = 300.0
    """How long the conversation may last."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a number is dialled."""

    call_id: str
    number: int
    """1 is the first."""
    to: str
    token: str = field(repr=False)
    """A secret of this attempt: a media stream must bring it."""
    assignment: Assignment
    trunk: str = ""
    ring_seconds: float = 30.0

    @property
    def key(self) -> str:
        """Names the attempt in the telephone network, in our logs and in the store."""
        return f"{self.call_id}-{self.number}"


@dataclass(frozen=True, slots=True)
class Urls:
    """Where our HTTP server can be reached; without a slash at the end."""

    local: str
    public: str = ""
    """Empty where nobody outside can reach it."""


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt is on its way."""

    provider_call_id: str | None = None
    user_hint: str | None = None
    """What a person must do for it to go on."""


class CannotCall(Exception):
    """The network does not take the attempt; ``str()`` says why, for a person."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.retryable = retryable


class AttemptLost(CannotCall):
    """It was dialled before the engine was restarted, and nothing of it is left."""


class SignedRequest(Protocol):
    """An HTTP request, or WebSocket handshake, as a provider checks its signature."""

    method: str
    url: str
    """The path and query as it was requested, from our own host on."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class RouteContext:
    """What the routes of a provider may ask of the rest."""

    urls: Callable[[], Urls]
    find: Callable[[str], "Attempt | None"]
    """The latest attempt of a call, by the id of the call; None when there is none, or it is over."""
    report: Callable[[str, int, Progress], None]
    """News of an attempt, by call id and number; kept before it returns, so that it survives a crash. Blocks for the
    time of a write: to be called off any event loop."""
    note: Callable[[str, str, str], None]
    """Call id, kind and text, for the call's timeline; likewise."""


class Telephony(Protocol):
    """A telephone network that calls are placed over.

    All coroutines run on the office's event loop, never on that of the calls.
    """

    id: str
    """``asterisk``, ``twilio``, ``mock``, as `telephony.provider` names it."""

    async def prepare_call(self, attempt: Attempt) -> str:
        """Get ready without dialling, where the network can: the provider's id of the call, or an empty text.

        What came of it is written down before ``start_call``. Called again after a crash, with the same attempt.
        Raises CannotCall.
        """
        ...

    async def start_call(self, attempt: Attempt, urls: Urls, *, again: bool) -> Started:
        """Dial. ``again``: the engine crashed in the middle of this, so that it may have been dialled already, and
        must not be a second time. Raises CannotCall, or AttemptLost when it was dialled and is over.
        """
        ...

    async def watch_call(self, attempt: Attempt, provider_call_id: str) -> None:
        """After a restart: report what becomes of a call that was dialled before; one that has ended in the meantime is
        reported as ended. Nothing happens where it is watched already."""
        ...

    async def end_call(self, attempt: Attempt, provider_call_id: str) -> None:
        """Hang up, ringing or not; nothing is wrong when it is over. Never raises."""
        ...

    def build_voice_response(self, attempt: Attempt, urls: Urls) -> str:
        """What answers `POST /voice`: XML that connects the call with our media stream."""
        ...

    def validate_request(self, request: SignedRequest, public_base_url: str) -> bool:
        """Whether a webhook really comes from the network."""
        ...

    def map_status(self, payload: Mapping[str, str]) -> Progress | None:
        """The network's own words as ours; None for a word that says nothing we act on."""
        ...

    def register_routes(self, router: "APIRouter", context: RouteContext) -> None:
        """Add what the network, or a browser, calls; where nobody does, at least remember ``context``."""
        ...

    async def close(self) -> None:
        """Watch nothing any more; calls stay as they are, for the next engine."""
        ...


class RequestRefused(Exception):
    """A call that is not placed: the rules of the house forbid it; ``str()`` says which, and what to do."""


class CallDesk(Protocol):
    """Those who ask for calls ask here: HTTP API, MCP server, command line. On the office's event loop."""

    async def call_agent(self, request: CallRequest) -> CallRecord:
        """Accept a call, and return as soon as it is dialled, or waits for its turn. Raises RequestRefused."""
        ...

    async def status(self, call_id: str) -> CallRecord | None: ...

    async def calls(self, *, limit: int = 50, status: str | None = None) -> Sequence[CallRecord]:
        """The newest first."""
        ...

    async def timeline(self, call_id: str) -> Sequence[TimelineEntry]: ...

    async def cancel(self, call_id: str) -> CallRecord | None:
        """Hang up, dial no more; a call that is settled is left as it is. None when there is no such call."""
        ...

    async def report_call(self, call_id: str, report: Report) -> None:
        """What the agent says came of the call."""
        ...


class Calendar(Protocol):
    """The calendar bridge, as JSON objects of the contract go to and from it. On the office's event loop."""

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """``find-slots``, ``check-slot`` or ``create-event``; ``{"ok": false, "error": …}`` where the bridge refuses.

        Raises CalendarUnreachable.
        """
        ...


class CalendarUnreachable(Exception):
    """The calendar does not answer, or not as it should; ``str()`` says how."""

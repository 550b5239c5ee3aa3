"""What can happen in a call, in the past tense."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType

ReplyId = NewType("ReplyId", int)
"""One stretch of agent speech. Ids grow within a call; audio of a stopped id is refused at the playout's door."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Base of everything that can happen in a call."""


# -- the line ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MediaAttached(CallEvent):
    """Sound flows both ways between Asterisk and the engine."""

    transport: str


@dataclass(frozen=True, slots=True)
class MediaLost(CallEvent):
    """The media connection failed to come up, or ended while the call goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class DigitReceived(CallEvent):
    """The caller pressed a key (one of ``0-9*#A-D``)."""

    digit: str


@dataclass(frozen=True, slots=True)
class CallerHungUp(CallEvent):
    """The caller's channel is gone."""

    cause: int = 0


@dataclass(frozen=True, slots=True)
class TakenBack(CallEvent):
    """The channel left our Stasis application without our asking (dead-man timeout, a transfer by somebody else)."""


# -- the ear ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallerSpoke(CallEvent):
    """Speech began; the onset lies ``confirmed_ms`` before this event."""

    confirmed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class CallerPaused(CallEvent):
    """The caller's turn is over.

    ``silence_ms`` of quiet preceded this event; ``forced`` means the maximum-turn timer ended it instead.
    """

    silence_ms: float = 0.0
    forced: bool = False


# -- the agent --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentStarted(CallEvent):
    """The provider's session is open and ready to listen and speak."""

    provider: str


@dataclass(frozen=True, slots=True)
class CallerSaid(CallEvent):
    """The agent's transcript of the caller; only a ``final`` one is recorded.

    An empty final ``text`` means: speech was heard, but not understood.
    """

    text: str
    final: bool = True


@dataclass(frozen=True, slots=True)
class ReplyBegan(CallEvent):
    """The agent decided to say something; audio and text with this id follow."""

    reply: ReplyId


@dataclass(frozen=True, slots=True)
class ReplyText(CallEvent):
    """Words of a reply, in order. The audio that follows is these words, until the next ReplyText."""

    reply: ReplyId
    text: str


@dataclass(frozen=True, slots=True)
class ReplyAudio(CallEvent):
    """PCM of a reply, any length, in the agent's output format."""

    reply: ReplyId
    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReplyEnded(CallEvent):
    """No more audio of this reply will come."""

    reply: ReplyId


@dataclass(frozen=True, slots=True)
class ToolAsked(CallEvent):
    """The agent asks for something to be done; it is answered with the same ``id``."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AgentLost(CallEvent):
    """The provider failed: it did not start, its connection ended, or nothing came when a reply was due."""

    reason: str


class Stage(StrEnum):
    """Milestones inside one reply that only the agent can see; they feed the latency waterfall."""

    TRANSCRIPT = "transcript"
    FIRST_TOKEN = "first_token"
    FIRST_AUDIO = "first_audio"


@dataclass(frozen=True, slots=True)
class StageReached(CallEvent):
    """The agent passed a milestone."""

    stage: Stage


# -- what the engine itself does --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgentSpoke(CallEvent):
    """The first frame of a reply was written to the line."""

    reply: ReplyId


@dataclass(frozen=True, slots=True)
class PlayoutDrained(CallEvent):
    """The last frame of a reply was written to the line."""

    reply: ReplyId


@dataclass(frozen=True, slots=True)
class PlayoutIdle(CallEvent):
    """Nothing waits to be played and no reply is open: the last word was heard."""


@dataclass(frozen=True, slots=True)
class ReplyCut(CallEvent):
    """A reply was stopped before its end, after ``heard_ms`` of it had been written to the line."""

    reply: ReplyId
    heard_ms: float


@dataclass(frozen=True, slots=True)
class SilenceElapsed(CallEvent):
    """Nobody has spoken for the configured time."""


@dataclass(frozen=True, slots=True)
class HangupAsked(CallEvent):
    """A tool asked to end the call once the last word was played."""


@dataclass(frozen=True, slots=True)
class TransferAsked(CallEvent):
    """A human is wanted: by a tool, by the caller's key, or because patience ran out."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimeRanOut(CallEvent):
    """A phase that must not last (a goodbye, a rescue prompt) lasted too long."""


@dataclass(frozen=True, slots=True)
class EngineStopping(CallEvent):
    """The engine is being shut down; the caller must be handed on."""

"""What can happen in a call, in the past tense."""

from collections.abc import Mapping
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
    """The media connection ended while the call goes on; another way is tried."""

    reason: str


@dataclass(frozen=True, slots=True)
class MediaExhausted(CallEvent):
    """No way is left for sound to travel."""

    reason: str


@dataclass(frozen=True, slots=True)
class DigitReceived(CallEvent):
    """The caller pressed a key (one of ``0-9*#A-D``)."""

    digit: str


@dataclass(frozen=True, slots=True)
class CallerHeld(CallEvent):
    """The caller's phone put us on hold: nothing we say is heard there."""


@dataclass(frozen=True, slots=True)
class CallerUnheld(CallEvent):
    """The caller is back from hold."""


@dataclass(frozen=True, slots=True)
class PlaybackEnded(CallEvent):
    """Asterisk is done with a file: played, stopped, or (``failed``) never begun."""

    playback_id: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class CallerHungUp(CallEvent):
    """The caller's channel is gone."""

    cause: int = 0


@dataclass(frozen=True, slots=True)
class TakenBack(CallEvent):
    """The channel left our Stasis application without our asking (dead-man timeout, a transfer by somebody else)."""


# -- the ear ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallerStirred(CallEvent):
    """Something like speech began while the agent was speaking; the onset lies ``confirmed_ms`` before this event.

    It becomes ``CallerSpoke`` if it goes on, and else ``FalseAlarm`` or ``CallerMuttered``.
    """

    confirmed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class FalseAlarm(CallEvent):
    """What stirred was too short for a word: a cough, a click, or (``echo``) the agent's own voice."""

    echo: bool = False


@dataclass(frozen=True, slots=True)
class CallerMuttered(CallEvent):
    """What stirred was over soon, but long enough for a word: "mm-hm", "stop". Only its text can tell."""


@dataclass(frozen=True, slots=True)
class CallerAnswered(CallEvent):
    """What stirred was long enough for a word, and the agent had all but finished: an early answer."""


@dataclass(frozen=True, slots=True)
class CallerMeant(CallEvent):
    """What the caller muttered was meant to interrupt."""


@dataclass(frozen=True, slots=True)
class CallerHummed(CallEvent):
    """What the caller muttered asks for nothing: "mm-hm", or no word at all."""


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
    goes_on: bool = True
    """It will say something when it knows what came of it."""


@dataclass(frozen=True, slots=True)
class ToolAnswered(CallEvent):
    """What came of a tool that was asked for, ``ms`` after it was."""

    id: str
    name: str
    result: Mapping[str, Any]
    ms: float


@dataclass(frozen=True, slots=True)
class CallerInterrupted(CallEvent):
    """A provider with ears of its own heard the caller speak into its words, and goes on with none of them."""


@dataclass(frozen=True, slots=True)
class UsageReported(CallEvent):
    """What the provider counts, and bills: units by name (``input_tokens``, ``seconds``), since the last report."""

    provider: str
    units: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AgentExpiring(CallEvent):
    """The provider will end its session soon; it should be opened anew while nobody speaks."""


@dataclass(frozen=True, slots=True)
class AgentFailed(CallEvent):
    """The agent's session is lost: its connection ended, or nothing came when a reply was due.

    Another may take over.
    """

    reason: str
    status: int = 0
    """The HTTP status the provider gave for it; 0 where there was none."""


@dataclass(frozen=True, slots=True)
class AgentLost(CallEvent):
    """No agent is left that could hold this call."""

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
class PlayoutHeld(CallEvent):
    """The agent fell silent in the middle of a reply, to go on or to be cut."""

    reply: ReplyId


@dataclass(frozen=True, slots=True)
class PlayoutResumed(CallEvent):
    """The agent goes on where it was held."""

    reply: ReplyId


@dataclass(frozen=True, slots=True)
class PlayoutFailed(CallEvent):
    """The agent's voice cannot go the way it goes now (a full disk, a file Asterisk does not play)."""

    reason: str


@dataclass(frozen=True, slots=True)
class FellBack(CallEvent):
    """Sound could not travel one way and now goes another; both as ``transport/downstream``."""

    failed: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReplyCut(CallEvent):
    """A reply was stopped before its end, after ``heard_ms`` of it had been written to the line."""

    reply: ReplyId
    heard_ms: float


@dataclass(frozen=True, slots=True)
class SilenceElapsed(CallEvent):
    """Nobody has spoken for the configured time."""


@dataclass(frozen=True, slots=True)
class TurnUnheard(CallEvent):
    """A provider with ears of its own has neither answered the caller's turn nor said what it heard."""


@dataclass(frozen=True, slots=True)
class PatienceElapsed(CallEvent):
    """The caller waits for an answer that takes longer than usual, and hears nothing."""


@dataclass(frozen=True, slots=True)
class DoubtElapsed(CallEvent):
    """Nobody said in time what a short sound was; the agent goes on."""


@dataclass(frozen=True, slots=True)
class DigitsAsked(CallEvent):
    """A tool asked to press keys (``0-9*#A-D``) towards the caller."""

    digits: str


@dataclass(frozen=True, slots=True)
class HangupAsked(CallEvent):
    """A tool asked to end the call once the last word was played."""


@dataclass(frozen=True, slots=True)
class HangupOrdered(CallEvent):
    """Somebody who looks after the engine wants the call ended now, in the middle of a word."""


@dataclass(frozen=True, slots=True)
class AgentAdvised(CallEvent):
    """Somebody who looks after the engine told the agent something that the caller does not hear."""

    text: str


@dataclass(frozen=True, slots=True)
class MessageReady(CallEvent):
    """What is to be left on the answering machine that has answered can be said now."""

    text: str


@dataclass(frozen=True, slots=True)
class MessageFailed(CallEvent):
    """There is no voice to say it."""

    reason: str


@dataclass(frozen=True, slots=True)
class TransferAsked(CallEvent):
    """A human is wanted: by a tool, by the caller's key, or because patience ran out."""

    reason: str
    context: str = ""
    """Where in the dialplan, with ``extension``; empty: where the configuration has its human."""
    extension: str = ""


@dataclass(frozen=True, slots=True)
class ConsultationBegan(CallEvent):
    """A human is asked whether they take the call; the caller waits."""

    context: str
    """Where in the dialplan, with ``extension``."""
    extension: str


@dataclass(frozen=True, slots=True)
class ConsultationEnded(CallEvent):
    """The human has answered, or will not."""

    outcome: str
    """As ``ToolContext.consult`` has it."""


@dataclass(frozen=True, slots=True)
class TimeRanOut(CallEvent):
    """A phase that must not last (a goodbye, a rescue prompt) lasted too long."""


@dataclass(frozen=True, slots=True)
class EngineStopping(CallEvent):
    """The engine is being shut down; the caller must be handed on."""

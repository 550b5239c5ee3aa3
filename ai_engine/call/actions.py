"""What a call can decide to do, in the imperative."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Action:
    """Base of everything the rules can ask the session to do."""


@dataclass(frozen=True, slots=True)
class StartAgent(Action):
    """Open the provider's session."""


@dataclass(frozen=True, slots=True)
class ReplaceAgent(Action):
    """Let another agent go on with the conversation where this one was lost."""


@dataclass(frozen=True, slots=True)
class Greet(Action):
    """Let the agent speak first."""


@dataclass(frozen=True, slots=True)
class StopPlayout(Action):
    """Silence the agent at once, tell it how much was heard, trim the transcript."""


@dataclass(frozen=True, slots=True)
class HoldPlayout(Action):
    """Silence the agent where it is; it may go on from there."""


@dataclass(frozen=True, slots=True)
class ResumePlayout(Action):
    """Let the agent go on where it was held."""


@dataclass(frozen=True, slots=True)
class Listen(Action):
    """The caller has the floor: the agent should take in what is being said, from the pre-roll on."""


@dataclass(frozen=True, slots=True)
class AskAgent(Action):
    """The caller's turn is over: the agent should answer it."""


@dataclass(frozen=True, slots=True)
class AskWhatItWas(Action):
    """A short sound is over: the agent should say what it was, and answer it only if it asks for an answer."""


@dataclass(frozen=True, slots=True)
class Dismiss(Action):
    """What began with ``Listen`` was nothing: the agent should forget it."""


@dataclass(frozen=True, slots=True)
class Nudge(Action):
    """Ask the agent to break a long silence."""


@dataclass(frozen=True, slots=True)
class StartSilenceTimer(Action):
    """Begin to count the quiet in which nobody has the floor."""


@dataclass(frozen=True, slots=True)
class StopSilenceTimer(Action):
    """Somebody has the floor again."""


class Prompt(StrEnum):
    """Recorded sentences the engine can say with no provider at all."""

    TRANSFER = "transfer"
    SORRY = "sorry"
    """In place of ``TRANSFER``, where no human can be reached."""
    WAIT = "wait"
    SCREEN = "screen"
    """For the human who is asked whether they take a call."""
    MUSIC = "music"
    """A few notes, played again and again to a caller who waits."""

    @property
    def words(self) -> str:
        """What it says; ``scripts/render_prompts`` makes the sound."""
        return _WORDS.get(self, "")


_WORDS = {
    Prompt.TRANSFER: "Please hold the line. I am connecting you to a person.",
    Prompt.SORRY: "I am sorry, I cannot go on. Goodbye.",
    Prompt.WAIT: "One moment, please.",
    Prompt.SCREEN: "You have a call. Press one to take it, or two to decline.",
}


@dataclass(frozen=True, slots=True)
class PlayPrompt(Action):
    """Say a recorded sentence through the playout, as a reply of the engine's own."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class LeaveMessage(Action):
    """Say the message for the answering machine; nobody else speaks in this call any more."""


@dataclass(frozen=True, slots=True)
class Reattach(Action):
    """Find another way for sound; the call goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class HangUp(Action):
    """End the caller's channel."""


@dataclass(frozen=True, slots=True)
class TransferToHuman(Action):
    """Send the caller's channel to the human extension in the dialplan."""


class EndReason(StrEnum):
    """Why a call left the engine; exactly one per call."""

    CALLER_HUNG_UP = "caller_hung_up"
    AGENT_HUNG_UP = "agent_hung_up"
    OPERATOR_HUNG_UP = "operator_hung_up"
    """We hung up, because somebody who looks after the engine said so."""
    TRANSFERRED = "transferred"
    """To a human, because somebody asked for it."""
    RESCUED = "rescued"
    """To a human, because something failed."""
    GIVEN_UP = "given_up"
    """We hung up, because something failed and no human could be reached."""
    TAKEN_BACK = "taken_back"
    """Asterisk took the channel away from the application."""


@dataclass(frozen=True, slots=True)
class EndCall(Action):
    """Leave the call's one way out."""

    reason: EndReason

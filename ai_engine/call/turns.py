"""Who has the floor: a table."""

from enum import StrEnum

from ai_engine.call.actions import (
    Action,
    AskAgent,
    AskWhatItWas,
    Dismiss,
    HoldPlayout,
    Listen,
    Nudge,
    PlayPrompt,
    Prompt,
    ResumePlayout,
    StartSilenceTimer,
    StopPlayout,
    StopSilenceTimer,
)
from ai_engine.call.events import (
    AgentSpoke,
    CallerAnswered,
    CallerHeld,
    CallerHummed,
    CallerInterrupted,
    CallerMeant,
    CallerMuttered,
    CallerPaused,
    CallerSpoke,
    CallerStirred,
    CallerUnheld,
    CallEvent,
    ConsultationBegan,
    ConsultationEnded,
    DigitReceived,
    DoubtElapsed,
    FalseAlarm,
    PlayoutDrained,
    PlayoutIdle,
    PlayoutResumed,
    ReplyBegan,
    SilenceElapsed,
)


class Floor(StrEnum):
    """Whose turn it is."""

    NOBODY = "nobody"
    CALLER = "caller"
    AGENT_PENDING = "agent_pending"
    """The caller is done and the agent has not yet been heard."""
    AGENT = "agent"
    CONTESTED = "contested"
    """The agent was held because something stirred; whether it is the caller will show."""
    WEIGHED = "weighed"
    """The agent is held; the sound is over and may have been a word."""
    AWAY = "away"
    """The caller put us on hold."""
    WAITING = "waiting"
    """We put the caller on hold: a human is asked whether they take the call."""


Row = tuple[Floor, tuple[Action, ...]]

TRANSITIONS: dict[tuple[Floor, type[CallEvent]], Row] = {
    # A reply that is still being made is not to begin into the caller's words.
    (Floor.NOBODY, CallerSpoke): (Floor.CALLER, (StopSilenceTimer(), StopPlayout(), Listen())),
    (Floor.NOBODY, DigitReceived): (Floor.NOBODY, (StartSilenceTimer(),)),
    (Floor.NOBODY, AgentSpoke): (Floor.AGENT, (StopSilenceTimer(),)),
    # Back from hold, in the middle of a reply.
    (Floor.NOBODY, PlayoutResumed): (Floor.AGENT, (StopSilenceTimer(),)),
    (Floor.NOBODY, SilenceElapsed): (Floor.AGENT_PENDING, (Nudge(),)),
    (Floor.CALLER, CallerPaused): (Floor.AGENT_PENDING, (AskAgent(),)),
    # A provider with its own turn detection may answer before our ear has noticed the pause.
    (Floor.CALLER, AgentSpoke): (Floor.AGENT, ()),
    (Floor.AGENT_PENDING, CallerSpoke): (Floor.CALLER, (StopPlayout(), Listen())),
    (Floor.AGENT_PENDING, AgentSpoke): (Floor.AGENT, ()),
    # A reply without a sound: nobody took the floor.
    (Floor.AGENT_PENDING, PlayoutDrained): (Floor.NOBODY, (StartSilenceTimer(),)),
    (Floor.AGENT, CallerStirred): (Floor.CONTESTED, (HoldPlayout(), Listen())),
    # The reply had just ended when the caller began.
    (Floor.AGENT, CallerSpoke): (Floor.CALLER, (StopPlayout(), Listen())),
    (Floor.AGENT, PlayoutDrained): (Floor.NOBODY, (StartSilenceTimer(),)),
    # A provider's own ears heard what ours did not, or doubt; where ours are still listening they decide.
    (Floor.AGENT, CallerInterrupted): (Floor.NOBODY, (StopPlayout(), StartSilenceTimer())),
    (Floor.WEIGHED, CallerInterrupted): (Floor.NOBODY, (StopPlayout(), StartSilenceTimer())),
    (Floor.CONTESTED, CallerSpoke): (Floor.CALLER, (StopPlayout(),)),
    (Floor.CONTESTED, FalseAlarm): (Floor.AGENT, (Dismiss(), ResumePlayout())),
    (Floor.CONTESTED, CallerAnswered): (Floor.AGENT_PENDING, (StopPlayout(), AskAgent())),
    (Floor.CONTESTED, CallerMuttered): (Floor.WEIGHED, (AskWhatItWas(),)),
    (Floor.WEIGHED, CallerStirred): (Floor.CONTESTED, (Listen(),)),
    (Floor.WEIGHED, CallerSpoke): (Floor.CALLER, (StopPlayout(), Listen())),
    (Floor.WEIGHED, CallerMeant): (Floor.NOBODY, (StopPlayout(), StartSilenceTimer())),
    (Floor.WEIGHED, CallerHummed): (Floor.AGENT, (ResumePlayout(),)),
    (Floor.WEIGHED, DoubtElapsed): (Floor.AGENT, (ResumePlayout(),)),
    # An agent that is sure before we are, or gives no text: what it answers was meant.
    (Floor.CONTESTED, ReplyBegan): (Floor.AGENT_PENDING, (StopPlayout(),)),
    (Floor.WEIGHED, ReplyBegan): (Floor.AGENT_PENDING, (StopPlayout(),)),
    (Floor.AWAY, CallerUnheld): (Floor.NOBODY, (StartSilenceTimer(), ResumePlayout())),
    # The agent's last words come first; then, and whenever it has come to its end, the music.
    (Floor.WAITING, PlayoutIdle): (Floor.WAITING, (PlayPrompt(Prompt.MUSIC),)),
    (Floor.WAITING, ConsultationEnded): (Floor.NOBODY, (StopPlayout(), StartSilenceTimer())),
}
"""What is not listed changes nothing."""

TRANSITIONS |= {
    (floor, CallerHeld): (Floor.AWAY, (StopSilenceTimer(), HoldPlayout()))
    for floor in (Floor.NOBODY, Floor.AGENT_PENDING, Floor.AGENT, Floor.WEIGHED)
}
# What the caller said last is still answered; the answer waits.
TRANSITIONS[Floor.CALLER, CallerHeld] = (Floor.AWAY, (HoldPlayout(), AskAgent()))
TRANSITIONS[Floor.CONTESTED, CallerHeld] = (Floor.AWAY, (Dismiss(), HoldPlayout()))
TRANSITIONS |= {
    (floor, ConsultationBegan): (Floor.WAITING, (StopSilenceTimer(), ResumePlayout()))
    for floor in (Floor.NOBODY, Floor.AGENT_PENDING, Floor.AGENT, Floor.WEIGHED, Floor.AWAY)
}
TRANSITIONS |= {
    (floor, ConsultationBegan): (Floor.WAITING, (Dismiss(), ResumePlayout()))
    for floor in (Floor.CALLER, Floor.CONTESTED)
}


class Turns:
    """The floor of one call."""

    def __init__(self) -> None:
        # The agent speaks first, so the call begins as if the caller had just asked.
        self.floor = Floor.AGENT_PENDING

    def handle(self, event: CallEvent) -> tuple[Action, ...]:
        """Move the floor and return what must be done."""
        row = TRANSITIONS.get((self.floor, type(event)))
        if row is None:
            return ()
        self.floor, actions = row
        return actions

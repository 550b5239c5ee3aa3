"""Who has the floor: a table."""

from enum import StrEnum

from ai_engine.call.actions import (
    Action,
    AskAgent,
    Listen,
    Nudge,
    StartSilenceTimer,
    StopPlayout,
    StopSilenceTimer,
)
from ai_engine.call.events import (
    AgentSpoke,
    CallerPaused,
    CallerSpoke,
    CallEvent,
    PlayoutDrained,
    SilenceElapsed,
)


class Floor(StrEnum):
    """Whose turn it is."""

    NOBODY = "nobody"
    CALLER = "caller"
    AGENT_PENDING = "agent_pending"
    """The caller is done and the agent has not yet been heard."""
    AGENT = "agent"


Row = tuple[Floor, tuple[Action, ...]]

TRANSITIONS: dict[tuple[Floor, type[CallEvent]], Row] = {
    (Floor.NOBODY, CallerSpoke): (Floor.CALLER, (StopSilenceTimer(), Listen())),
    (Floor.NOBODY, AgentSpoke): (Floor.AGENT, (StopSilenceTimer(),)),
    (Floor.NOBODY, SilenceElapsed): (Floor.AGENT_PENDING, (Nudge(),)),
    (Floor.CALLER, CallerPaused): (Floor.AGENT_PENDING, (AskAgent(),)),
    # A provider with its own turn detection may answer before our ear has noticed the pause.
    (Floor.CALLER, AgentSpoke): (Floor.AGENT, ()),
    (Floor.AGENT_PENDING, CallerSpoke): (Floor.CALLER, (StopPlayout(), Listen())),
    (Floor.AGENT_PENDING, AgentSpoke): (Floor.AGENT, ()),
    # A reply without a sound: nobody took the floor.
    (Floor.AGENT_PENDING, PlayoutDrained): (Floor.NOBODY, (StartSilenceTimer(),)),
    (Floor.AGENT, CallerSpoke): (Floor.CALLER, (StopPlayout(), Listen())),
    (Floor.AGENT, PlayoutDrained): (Floor.NOBODY, (StartSilenceTimer(),)),
}
"""What is not listed changes nothing."""


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

"""From arrival to the one way out: a table, and what differs where no human can be reached."""

from enum import StrEnum

from ai_engine.call.actions import (
    Action,
    EndCall,
    EndReason,
    Greet,
    HangUp,
    LeaveMessage,
    PlayPrompt,
    Prompt,
    Reattach,
    ReplaceAgent,
    ResumePlayout,
    StartAgent,
    StopPlayout,
    TransferToHuman,
)
from ai_engine.call.events import (
    AgentFailed,
    AgentLost,
    AgentStarted,
    CallerAnswered,
    CallerHungUp,
    CallerMeant,
    CallerSpoke,
    CallEvent,
    EngineStopping,
    HangupAsked,
    HangupOrdered,
    MediaAttached,
    MediaExhausted,
    MediaLost,
    MessageFailed,
    MessageReady,
    PlayoutFailed,
    PlayoutIdle,
    TakenBack,
    TimeRanOut,
    TransferAsked,
)


class Phase(StrEnum):
    """How far a call has come."""

    ARRIVING = "arriving"
    """Being answered; sound does not flow yet."""
    STARTING = "starting"
    """Sound flows; the agent is being started."""
    TALKING = "talking"
    CLOSING = "closing"
    """The last words are being played, then the agent hangs up. The caller may still interrupt."""
    HANDING_OVER = "handing_over"
    """The last words are being played, then a human takes over."""
    RESCUING = "rescuing"
    """Something failed: a recorded sentence is being played, then a human takes over; where none can, we hang up."""
    LEAVING_MESSAGE = "leaving_message"
    """A machine is told what we wanted, then the agent hangs up; what the machine says interrupts nothing."""
    ENDED = "ended"


Row = tuple[Phase, tuple[Action, ...]]
Table = dict[tuple[Phase, type[CallEvent]], Row]

_TRANSFERRED = (TransferToHuman(), EndCall(EndReason.TRANSFERRED))
_RESCUED = (TransferToHuman(), EndCall(EndReason.RESCUED))
_HUNG_UP = (HangUp(), EndCall(EndReason.AGENT_HUNG_UP))
_ORDERED = (HangUp(), EndCall(EndReason.OPERATOR_HUNG_UP))
_GIVEN_UP = (HangUp(), EndCall(EndReason.GIVEN_UP))

TRANSITIONS: Table = {
    (Phase.ARRIVING, MediaAttached): (Phase.STARTING, (StartAgent(),)),
    (Phase.STARTING, AgentStarted): (Phase.TALKING, (Greet(),)),
    (Phase.STARTING, AgentLost): (Phase.RESCUING, (PlayPrompt(Prompt.TRANSFER),)),
    (Phase.ARRIVING, TransferAsked): (Phase.ENDED, _TRANSFERRED),
    (Phase.STARTING, TransferAsked): (Phase.ENDED, _TRANSFERRED),
    (Phase.TALKING, AgentFailed): (Phase.TALKING, (ReplaceAgent(),)),
    (Phase.TALKING, AgentLost): (Phase.RESCUING, (StopPlayout(), PlayPrompt(Prompt.TRANSFER))),
    (Phase.TALKING, HangupAsked): (Phase.CLOSING, ()),
    (Phase.TALKING, TransferAsked): (Phase.HANDING_OVER, (ResumePlayout(),)),
    (Phase.CLOSING, PlayoutIdle): (Phase.ENDED, _HUNG_UP),
    (Phase.CLOSING, TimeRanOut): (Phase.ENDED, _HUNG_UP),
    (Phase.CLOSING, CallerSpoke): (Phase.TALKING, ()),
    (Phase.CLOSING, CallerMeant): (Phase.TALKING, ()),
    (Phase.CLOSING, CallerAnswered): (Phase.TALKING, ()),
    (Phase.CLOSING, TransferAsked): (Phase.HANDING_OVER, (ResumePlayout(),)),
    (Phase.HANDING_OVER, PlayoutIdle): (Phase.ENDED, _TRANSFERRED),
    (Phase.HANDING_OVER, TimeRanOut): (Phase.ENDED, _TRANSFERRED),
    # Asked for again, by key: at once then.
    (Phase.HANDING_OVER, TransferAsked): (Phase.ENDED, _TRANSFERRED),
    (Phase.RESCUING, PlayoutIdle): (Phase.ENDED, _RESCUED),
    (Phase.RESCUING, TimeRanOut): (Phase.ENDED, _RESCUED),
    (Phase.RESCUING, TransferAsked): (Phase.ENDED, _RESCUED),
}
"""What is not listed changes nothing."""

_BEFORE_MESSAGE = (Phase.STARTING, Phase.TALKING, Phase.CLOSING)
TRANSITIONS |= {
    (phase, MessageReady): (Phase.LEAVING_MESSAGE, (StopPlayout(), LeaveMessage())) for phase in _BEFORE_MESSAGE
}
TRANSITIONS |= {(phase, MessageFailed): (Phase.ENDED, _HUNG_UP) for phase in _BEFORE_MESSAGE}
TRANSITIONS |= {(Phase.LEAVING_MESSAGE, over): (Phase.ENDED, _HUNG_UP) for over in (PlayoutIdle, TimeRanOut)}

_ALIVE = [phase for phase in Phase if phase is not Phase.ENDED]
_ATTACHED = [phase for phase in _ALIVE if phase is not Phase.ARRIVING]
TRANSITIONS |= {(phase, CallerHungUp): (Phase.ENDED, (EndCall(EndReason.CALLER_HUNG_UP),)) for phase in _ALIVE}
TRANSITIONS |= {(phase, TakenBack): (Phase.ENDED, (EndCall(EndReason.TAKEN_BACK),)) for phase in _ALIVE}
TRANSITIONS |= {(phase, HangupOrdered): (Phase.ENDED, _ORDERED) for phase in _ALIVE}
TRANSITIONS |= {(phase, MediaLost): (phase, (Reattach(),)) for phase in _ATTACHED}
TRANSITIONS |= {(phase, PlayoutFailed): (phase, (Reattach(),)) for phase in _ATTACHED}
TRANSITIONS |= {(phase, MediaExhausted): (Phase.ENDED, _RESCUED) for phase in _ALIVE}
TRANSITIONS |= {(phase, EngineStopping): (Phase.ENDED, _RESCUED) for phase in _ALIVE}

# Nobody is promised a human; who asks for one goes on with the agent.
ALONE: Table = {
    (phase, event): row
    for (phase, event), row in TRANSITIONS.items()
    if phase is not Phase.HANDING_OVER and event is not TransferAsked
}
"""The table of calls in which no human can be reached."""

_SORRY = (Phase.RESCUING, (StopPlayout(), PlayPrompt(Prompt.SORRY)))
ALONE |= {
    (phase, event): (Phase.ENDED, _GIVEN_UP) for phase, event in ALONE if event in (MediaExhausted, EngineStopping)
}
ALONE |= {(phase, why): _SORRY for phase in (Phase.STARTING, Phase.TALKING) for why in (AgentLost, EngineStopping)}
ALONE |= {(Phase.RESCUING, over): (Phase.ENDED, _GIVEN_UP) for over in (PlayoutIdle, TimeRanOut)}
# It says so already.
del ALONE[Phase.RESCUING, EngineStopping]


class Lifecycle:
    """The phase of one call."""

    def __init__(self, *, reaches_human: bool = True) -> None:
        self.phase = Phase.ARRIVING
        self._table = TRANSITIONS if reaches_human else ALONE

    @property
    def conversing(self) -> bool:
        """Whether the rules of turn-taking apply."""
        return self.phase in (Phase.TALKING, Phase.CLOSING)

    def handle(self, event: CallEvent) -> tuple[Action, ...]:
        """Move on and return what must be done."""
        row = self._table.get((self.phase, type(event)))
        if row is None:
            return ()
        self.phase, actions = row
        return actions

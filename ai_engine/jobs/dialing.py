"""A number that our own PBX dials: what is wanted, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass

from ai_engine.jobs.ports import Assignment

OUTBOUND_PREFIX = "offhook-out-"
"""Ids of the channels of people we call, followed by the key of the attempt. They are callers like all others once
somebody has answered; before that they are the dialer's."""


@dataclass(frozen=True, slots=True)
class Ringing:
    """The telephone rings."""


@dataclass(frozen=True, slots=True)
class EarlyMedia:
    """There is sound though nobody has answered: an announcement, a ringing tone. Nobody listens to it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An agent has got the call."""

    answered_by: str = ""
    """``human``, ``machine``, or empty where nobody has found out."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over, or goes on without us (a human has it); nothing more is heard of it."""

    cause: int = 0
    """Q.850; 0 where it ended unseen, as during an outage."""
    cause_txt: str = ""
    tech_cause: int = 0
    """The SIP status; 0 where there is none."""
    rang: bool = False
    """It rang, or there was early media."""
    refused: bool = False
    """The far end itself ended it before anybody answered."""
    answered: bool = False
    our_hangup: bool = False
    answered_by: str = ""
    """``machine`` with ``answered`` false: it was hung up on."""
    to_human: bool = False
    """It goes on, with a human."""


DialNews = Ringing | EarlyMedia | Answered | Ended


@dataclass(frozen=True, slots=True)
class DialOrder:
    """What is to become of a channel that is dialled."""

    assignment: Assignment
    """Of the agent who gets the call when somebody answers."""
    number: str
    """Who is called."""
    caller_id: str
    """The number they see; empty for that of the endpoint."""
    ring_seconds: float
    tell: Callable[[DialNews], None]
    """Called on the call loop, and returns at once; ``Ended`` comes once, and last."""
    screening_context: str = ""
    """Where the dialplan finds out whether a person or a machine has answered; empty: nobody wants to know."""

"""One channel of somebody we call: what Asterisk tells of it, as news."""

from dataclasses import dataclass

from ai_engine.jobs.dialing import DialOrder, EarlyMedia, Ended, Ringing
from ai_engine.protocol.ari import (
    Channel,
    ChannelDestroyed,
    ChannelEvent,
    ChannelHangupRequest,
    ChannelStateChange,
    Dial,
    StasisEnd,
    StasisStart,
)

_SCREENING = ("", "AMD", "GotoIf", "WaitForSilence")
"""What runs while the dialplan finds out who answered; empty between two applications."""

_TONES = {"BUSY": (17, "the PBX plays the busy tone"), "CONGESTION": (34, "the PBX plays the congestion tone")}
"""A dialplan that the call goes through may say so and hang up later, or never: the cause that it means."""

_TIMEOUT = 408
"""Asterisk's own word, too, for a far end that does not say anything."""


@dataclass(frozen=True, slots=True)
class PickedUp:
    """Somebody answered a moment ago, or (``late``) at some time when nobody was told."""

    late: bool = False


@dataclass(frozen=True, slots=True)
class Screened:
    """The dialplan has found out who answered, and says so in the arguments of ``Stasis()``."""

    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToneHeard:
    """Nobody will answer, though the channel goes on."""


Step = Ringing | EarlyMedia | PickedUp | Screened | ToneHeard | Ended


class Outbound:
    """Takes events in the order in which they come; each step is given once."""

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self.order: DialOrder | None = None
        """None as long as it is not dialled, or not adopted."""
        self.screening = False
        """The dialplan has the channel, and will give it back."""
        self.can_screen = False
        """Asterisk can find out who answered, and somebody wants to know."""
        self.handed_over = False
        """An agent has it."""
        self.answered_by = ""
        self.unwanted = False
        """We hang up."""
        self._rang = False
        self._early = False
        self._picked_up = False
        self._left = False
        self._refused = False
        self._hanging_up = False
        self._tone = ""

    def take(self, event: ChannelEvent) -> Step | None:
        """What follows from an event."""
        match event:
            case ChannelStateChange(_, "Ringing") | Dial(_, "RINGING"):
                return self._ring()
            case Dial(_, "PROGRESS"):
                return self._progress()
            case Dial(_, status) if status in _TONES:
                return self._hear_tone(status)
            case ChannelStateChange(_, "Up"):
                return self._pick_up(PickedUp())
            case StasisStart(_, _, args):
                self._left = False
                return self._come_back(args)
            case ChannelHangupRequest(_, cause, soft):
                self._hanging_up = True
                # One that comes when the channel has left already is the consequence, not the reason.
                self._refused = self._refused or not (soft or self._left or self._picked_up or cause == 0)
            case StasisEnd():
                self._left = True
                if self.handed_over and not self._hanging_up:
                    return self._end(ChannelDestroyed(self.channel_id), to_human=True)
            case ChannelDestroyed():
                return self._end(event)
        return None

    def look(self, channel: Channel) -> Step | None:
        """What follows from the channel as it is, after events may have been missed."""
        if self.handed_over or self.unwanted:
            return None
        if channel.state != "Up":
            return self._ring() if channel.state in ("Ring", "Ringing") else None
        if channel.application in _SCREENING:
            self._picked_up = self.screening = True
            return None
        if channel.application != "Stasis":
            # An earlier engine gave it to a human.
            self._picked_up = True
            return self._end(ChannelDestroyed(self.channel_id), to_human=True)
        if channel.stasis_args:
            self._picked_up = self.screening = True
            return self._come_back(channel.stasis_args)
        return self._pick_up(PickedUp(late=True))

    def _ring(self) -> Step | None:
        if self._rang or self._picked_up:
            return None
        self._rang = True
        return Ringing()

    def _progress(self) -> Step | None:
        if self._early or self._picked_up:
            return None
        self._early = True
        return EarlyMedia()

    def _hear_tone(self, tone: str) -> Step | None:
        if self._tone or self._picked_up:
            return None
        self._tone = tone
        return ToneHeard()

    def _pick_up(self, step: PickedUp) -> Step | None:
        if self._picked_up:
            return None
        self._picked_up = True
        return step

    def _come_back(self, args: tuple[str, ...]) -> Step | None:
        if not self.screening:
            return None
        self.screening = False
        return Screened(args)

    def _end(self, event: ChannelDestroyed, *, to_human: bool = False) -> Ended:
        rang = self._rang or self._early
        refused = self._refused and (rang or event.tech_cause != _TIMEOUT)
        if self._tone and not refused:
            event = ChannelDestroyed(event.channel_id, *_TONES[self._tone])
        return Ended(
            cause=event.cause,
            cause_txt=event.cause_txt,
            tech_cause=event.tech_cause,
            rang=rang,
            refused=refused or bool(self._tone),
            answered=self._picked_up and (self.handed_over or self.answered_by != "machine"),
            our_hangup=self.unwanted,
            answered_by=self.answered_by,
            to_human=to_human,
        )

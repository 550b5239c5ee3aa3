"""How long each part of an answer took: events with their times in, a waterfall per turn out."""

from dataclasses import dataclass

from ai_engine.call.events import (
    AgentSpoke,
    CallerAnswered,
    CallerHummed,
    CallerMeant,
    CallerMuttered,
    CallerPaused,
    CallerSaid,
    CallerSpoke,
    CallerStirred,
    CallEvent,
    DoubtElapsed,
    FalseAlarm,
    PlayoutHeld,
    ReplyCut,
    Stage,
    StageReached,
)

_SAME_ONSET_SECONDS = 0.1
"""Between the onset of a stir and that of the speech it became, which the ear finds apart from each other."""


@dataclass(slots=True)
class TurnTimes:
    """One turn of the caller and the answer to it. Times are loop seconds, None while they have not come."""

    onset: float
    """The caller began."""
    last_voice: float | None = None
    """The last moment the caller was heard."""
    end_of_turn: float | None = None
    """The engine decided that the turn is over."""
    transcript: float | None = None
    first_token: float | None = None
    first_audio: float | None = None
    """The first sound of the answer came from the agent."""
    first_frame: float | None = None
    """The first frame of the answer was written to the line."""
    agent_silent: float | None = None
    """This turn interrupted the agent: the moment it fell silent."""
    heard_ms: float | None = None
    """How much of the interrupted reply had been played."""
    text: str = ""
    """What the caller said."""

    @property
    def response_ms(self) -> float | None:
        """From the caller's last voice to the agent's first frame."""
        return self._ms(self.last_voice, self.first_frame)

    @property
    def interrupts(self) -> bool:
        """Whether a reply that is cut now was cut by this turn."""
        return self.end_of_turn is None or self.agent_silent is not None

    @property
    def barge_in_ms(self) -> float | None:
        """From the caller's onset to the agent's silence; None when the agent was not interrupted."""
        return self._ms(self.onset, self.agent_silent)

    def plain(self) -> dict[str, float | str | None]:
        """The waterfall, ready for JSON: loop seconds, then milliseconds since ``last_voice``, and the barge-in."""
        since = self.last_voice
        return {
            "text": self.text,
            "onset": round(self.onset, 3),
            "last_voice": None if since is None else round(since, 3),
            "end_of_turn_ms": self._ms(since, self.end_of_turn),
            "transcript_ms": self._ms(since, self.transcript),
            "first_token_ms": self._ms(since, self.first_token),
            "first_audio_ms": self._ms(since, self.first_audio),
            "first_frame_ms": self.response_ms,
            "barge_in_ms": self.barge_in_ms,
            "heard_ms": self.heard_ms,
        }

    @staticmethod
    def _ms(start: float | None, end: float | None) -> float | None:
        return None if start is None or end is None else round((end - start) * 1000, 1)


_FIELDS = {
    Stage.TRANSCRIPT: "transcript",
    Stage.FIRST_TOKEN: "first_token",
    Stage.FIRST_AUDIO: "first_audio",
}


class Waterfall:
    """The turns of one call, in order."""

    def __init__(self) -> None:
        self.turns: list[TurnTimes] = []
        self._stir: TurnTimes | None = None
        """What may become a turn, if it is one."""
        self._weighed = False
        """It is over, and its words are awaited."""

    def happened(self, event: CallEvent, now: float) -> None:
        """Take note of ``event`` at loop time ``now`` (seconds)."""
        match event:
            case CallerStirred(confirmed_ms):
                self._stir = TurnTimes(onset=now - confirmed_ms / 1000)
            case PlayoutHeld() if self._stir is not None and self._stir.agent_silent is None:
                self._stir.agent_silent = now
            case CallerMuttered() if self._stir is not None:
                self._stir.last_voice = self._stir.end_of_turn = now
                self._weighed = True
            case FalseAlarm() | CallerHummed() | DoubtElapsed():
                self._stir, self._weighed = None, False
            case CallerSpoke(confirmed_ms):
                self._begin(now - confirmed_ms / 1000)
            case CallerMeant() | CallerAnswered() if self._stir is not None:
                self._begin(self._stir.onset)
            case CallerSaid() | StageReached() if self._stir is not None and self._weighed:
                self._note(self._stir, event, now)
            case _ if self.turns:
                self._note(self.turns[-1], event, now)

    def _begin(self, onset: float) -> None:
        stir, self._stir, self._weighed = self._stir, None, False
        # A stir that became nothing lies before this onset.
        self.turns.append(stir if stir is not None and stir.onset >= onset - _SAME_ONSET_SECONDS else TurnTimes(onset))

    def _note(self, turn: TurnTimes, event: CallEvent, now: float) -> None:
        match event:
            case CallerPaused(silence_ms):
                turn.last_voice = now - silence_ms / 1000
                turn.end_of_turn = now
                self._forget_earlier(turn, turn.last_voice)
            case CallerSaid(text, final=True):
                turn.text = " ".join(filter(None, (turn.text, text)))
                self._first(turn, "transcript", now)
            case StageReached(stage):
                self._first(turn, _FIELDS[stage], now)
            case AgentSpoke():
                self._first(turn, "first_frame", now)
            case ReplyCut(heard_ms=heard_ms) if turn.interrupts and turn.heard_ms is None:
                turn.heard_ms = heard_ms
                self._first(turn, "agent_silent", now)
            case _:
                pass

    @staticmethod
    def _first(turn: TurnTimes, field: str, now: float) -> None:
        if getattr(turn, field) is None:
            setattr(turn, field, now)

    @staticmethod
    def _forget_earlier(turn: TurnTimes, last_voice: float) -> None:
        """What came before the caller was done belongs to an answer that was interrupted."""
        for field in ("first_token", "first_audio", "first_frame"):
            reached = getattr(turn, field)
            if reached is not None and reached < last_voice:
                setattr(turn, field, None)

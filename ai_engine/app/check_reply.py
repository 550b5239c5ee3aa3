"""What a reply was like, measured from its events."""

from dataclasses import dataclass, field
from typing import Any

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import (
    CallerSaid,
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    Stage,
    StageReached,
    ToolAsked,
)

_ENOUGH_MS = 60_000.0
"""Whoever takes longer, or says more, is not waited for."""


@dataclass(slots=True)
class Reply:
    """A reply that was asked for at ``asked``, in seconds; everything in milliseconds is counted from there."""

    asked: float
    format: AudioFormat = field(repr=False)
    stages: dict[Stage, float] = field(default_factory=dict)
    """When the agent said it had reached each, in milliseconds."""
    first_audio_ms: float | None = None
    last_audio_ms: float = 0.0
    audio_ms: float = 0.0
    """How long it sounds."""
    first_chunk_ms: float = 0.0
    text: str = ""
    heard: list[str] = field(default_factory=list)
    """What the agent understood of the caller; empty where it said nothing of that."""
    tools: list[str] = field(default_factory=list)
    """Those it asked for."""
    open: set[ReplyId] = field(default_factory=set)
    goes_on: bool = False
    """It will say more when it knows what came of a tool."""

    @property
    def speed(self) -> float | None:
        """How many times faster than real time the sound came; None when it came at once."""
        took = self.last_audio_ms - (self.first_audio_ms or 0.0)
        return (self.audio_ms - self.first_chunk_ms) / took if took >= 1.0 else None

    @property
    def over(self) -> bool:
        """It sounded, and nothing more of it is to come."""
        if max(self.audio_ms, self.last_audio_ms) > _ENOUGH_MS:
            return True
        return self.first_audio_ms is not None and not self.open and not self.goes_on

    def happened(self, event: CallEvent, at: float) -> None:
        """At ``at`` seconds."""
        ms = (at - self.asked) * 1000
        match event:
            case CallerSaid(text, final=True):
                self.heard.append(text)
                self.stages.setdefault(Stage.TRANSCRIPT, ms)
            case StageReached(stage):
                self.stages.setdefault(stage, ms)
            case ReplyBegan(reply):
                self.open.add(reply)
            case ReplyAudio(_, pcm) if pcm and ms >= 0:
                if self.first_audio_ms is None:
                    self.first_audio_ms = ms
                    self.first_chunk_ms = self.format.ms(len(pcm))
                self.last_audio_ms = ms
                self.audio_ms += self.format.ms(len(pcm))
            case ReplyText(_, text):
                self.text = f"{self.text} {text.strip()}".strip()
            case ReplyEnded(reply):
                self.open.discard(reply)
                self.goes_on = False
            case ToolAsked(_, name, goes_on=goes_on):
                self.tools.append(name)
                self.goes_on = goes_on

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        speed = self.speed
        return {
            "transcript": " ".join(self.heard).strip(),
            **{f"{stage}_ms": _rounded(self.stages.get(stage)) for stage in (Stage.TRANSCRIPT, Stage.FIRST_TOKEN)},
            "first_audio_ms": _rounded(self.first_audio_ms),
            "complete_ms": _rounded(self.last_audio_ms),
            "audio_ms": _rounded(self.audio_ms),
            "times_real_time": None if speed is None else round(speed, 2),
            "text": self.text,
            "tools": self.tools,
        }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)

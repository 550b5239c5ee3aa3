"""What a call session is told once, when the engine starts."""

from dataclasses import dataclass, field

from ai_engine.audio.level import LevelSettings
from ai_engine.audio.playout import JitterSettings
from ai_engine.audio.vad import VadSettings


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Times in seconds unless the name says milliseconds."""

    media_seconds: float = 1.5
    """How long Asterisk may take to connect the media leg, over one transport."""
    provider_start_seconds: float = 1.5
    """How long an agent may take to open its session; the caller hears silence meanwhile."""
    reply_seconds: float = 4.0
    """How long an agent may take from the end of the caller's turn to its first sound."""
    patience_seconds: float = 0.7
    """After an agent was lost: quiet until the caller is told that it takes a moment."""
    tool_patience_seconds: float = 1.5
    """The same after a tool was asked for."""
    last_words_seconds: float = 30.0
    """The longest a goodbye or a rescue prompt may keep the caller."""
    no_input_seconds: float = 10.0
    """Quiet after which the agent is asked to break the silence."""
    no_input_limit: int = 3
    """After this many nudges in a row the agent says goodbye."""
    dead_man_seconds: int = 15
    """Asterisk sends the caller to the human when the engine has not been heard of for so long."""
    human_context: str = "offhook"
    human_extension: str = "human"
    human_digit: str = "0"
    """The key that reaches a human at any time; empty for none."""
    jitter: JitterSettings = field(default_factory=JitterSettings)
    level: LevelSettings | None = field(default_factory=LevelSettings)
    """How loud the agent is made; None leaves it as it comes."""
    barge_in: bool = True
    doubt_seconds: float = 1.5
    """How long an agent may take to say what a short sound into its words was, until it goes on."""
    preroll_ms: float = 400.0
    """Sound from before the onset that belongs to the caller's turn."""
    vad: VadSettings = field(default_factory=VadSettings)

"""What is heard over the agent's voice, until it is judged."""

from ai_engine.audio.format import FRAME_MS

_LONGEST_GAP_MS = 120
"""Within one span of voiced sound."""

_EASIER_DB = 12.0
"""What goes on need not be as loud as what began."""


class Stir:
    """Counts how much of the sound since its onset is voice."""

    __slots__ = ("bar_db", "frames", "quiet_ms", "span_ms", "voiced_ms")

    def __init__(self, recent: int, bar_db: float) -> None:
        """``recent`` has a bit for every frame since the onset, 1 where voiced; they were louder than ``bar_db``."""
        self.frames = recent.bit_length()
        """Since the onset."""
        self.voiced_ms = recent.bit_count() * FRAME_MS
        self.span_ms = self.frames * FRAME_MS
        """Voiced sound with the short gaps in it."""
        self.quiet_ms = 0
        """Since the last voiced sound."""
        self.bar_db = bar_db - _EASIER_DB
        """To be exceeded by what goes on."""

    def go_on(self, voiced_frames: int) -> None:
        """One frame more; ``voiced_frames`` of the last two are newly known to be voice."""
        self.frames += 1
        if not voiced_frames:
            self.quiet_ms += FRAME_MS
            return
        gap_ms = self.quiet_ms - (voiced_frames - 1) * FRAME_MS
        self.voiced_ms += voiced_frames * FRAME_MS
        self.span_ms += voiced_frames * FRAME_MS + (gap_ms if gap_ms <= _LONGEST_GAP_MS else 0)
        self.quiet_ms = 0

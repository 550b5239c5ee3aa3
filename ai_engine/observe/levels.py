"""How loud both sides of a call are: frames in, a pair of levels every fifth of a second out."""

from ai_engine.audio.energy import level_db
from ai_engine.audio.format import FRAME_MS

EVERY_MS = 200
QUIETEST_DBFS = -96.0
"""In place of minus infinity, which JSON does not have: the step of 16 bits."""

_FRAMES = EVERY_MS // FRAME_MS


class Levels:
    """Of one call."""

    def __init__(self) -> None:
        self._ticks = 0
        self._caller: list[bytes] = []
        self._agent: list[bytes] = []

    def add(self, caller: bytes | None, agent: bytes | None, frame_bytes: int) -> tuple[float, float] | None:
        """20 ms of both sides, PCM16; with the last of a fifth of a second, the levels of it: caller and agent, dBFS.

        No frame is silence, of ``frame_bytes``.
        """
        self._ticks += 1
        if caller is not None:
            self._caller.append(caller)
        if agent is not None:
            self._agent.append(agent)
        if self._ticks < _FRAMES:
            return None
        whole = _FRAMES * frame_bytes
        found = _level(self._caller, whole), _level(self._agent, whole)
        self._ticks, self._caller, self._agent = 0, [], []
        return found


def _level(frames: list[bytes], whole: int) -> float:
    if not frames:
        return QUIETEST_DBFS
    return round(max(level_db(b"".join(frames).ljust(whole, b"\0")), QUIETEST_DBFS), 1)

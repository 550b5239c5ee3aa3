"""The silence before the first word, taken away: a voice engine's lead-in is waiting time to whoever has asked."""

import numpy as np

from local_ai_server.tts.base import Emit

AUDIBLE = 150
"""Samples beyond this begin a word; what voices make before it lies below (flite up to 199 for single samples)."""

KEPT_MS = 40
"""Kept from before the first audible sample: a soft consonant, such as the h of "hello"."""


class LeadingSilence:
    """An ``Emit`` before another one: passes PCM16 at ``rate`` Hz on from shortly before its first audible sample."""

    def __init__(self, emit: Emit, rate: int) -> None:
        self._emit = emit
        self._kept_bytes = rate * KEPT_MS // 1000 * 2
        self._held = b""
        self._heard = False

    def __call__(self, pcm: bytes) -> bool:
        if self._heard:
            return self._emit(pcm)
        before = len(self._held)
        self._held += pcm
        audible = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > AUDIBLE)
        if audible.size:
            self._heard = True
            start = max(0, before + int(audible[0]) * 2 - self._kept_bytes)
            return self._emit(self._held[start:])
        self._held = self._held[-self._kept_bytes :]
        return self._emit(b"")

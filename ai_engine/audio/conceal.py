"""Hides short losses: the last pitch period goes on and dies away, and what comes after is joined without a click."""

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.format import FRAME_MS, AudioFormat

MOST_CONCEALED = 3
"""Frames (60 ms). A voice does not stand still for longer, and from there on a hum is worse than silence."""

_SHORTEST_MS, _LONGEST_MS = 5, 15
"""Of a pitch period, as in G.711 Appendix I; a higher voice is caught by two of its periods."""

_FULL_MS = 10
"""The loss goes unnoticed at full level for so long; then it fades in a straight line to nothing."""

_JOIN_MS = 5

_Samples = NDArray[np.float64]


class Concealer:
    """Everything that is to be heard passes through here in frames of ``format``, in order."""

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._history = (format.silence(), format.silence())
        """The last two frames given out."""
        self._missing = 0
        """Frames since the last real one."""
        self._period: _Samples = np.zeros(1)
        self._step: _Samples = np.zeros(0)
        """Added to the first samples of a loss: it takes away the jump between what was heard and the period."""

    def hear(self, frame: bytes) -> bytes:
        """A frame that came; after a loss it is faded in over what stood for it."""
        if self._missing:
            frame = self._join(frame)
            self._missing = 0
        self._history = (self._history[1], frame)
        return frame

    def conceal(self) -> bytes | None:
        """Stands for a frame that did not come; None once that has happened too often in a row."""
        if not self._missing:
            self._learn()
        self._missing += 1
        if self._missing > MOST_CONCEALED:
            self._history = (self._history[1], self._format.silence())
            return None
        frame = _pcm(self._stand_in(self._missing - 1, self._format.frame_samples))
        self._history = (self._history[1], frame)
        return frame

    def _learn(self) -> None:
        """Cut the last pitch period out of what was heard, made so that its end leads into its start."""
        heard = _samples(b"".join(self._history))
        length = self._pitch(heard)
        overlap = length // 4
        period = heard[-length:].copy()
        rising = np.arange(1, overlap + 1) / (overlap + 1)
        period[-overlap:] += rising * (heard[-length - overlap : -length] - period[-overlap:])
        self._period = period
        self._step = (heard[-1] - heard[-length - 1]) * rising[::-1]

    def _pitch(self, heard: _Samples) -> int:
        """In samples: the shift at which the last frame is most like what came before."""
        samples = self._format.frame_samples
        lags = np.arange(self._count(_SHORTEST_MS), self._count(_LONGEST_MS) + 1)
        windows = np.lib.stride_tricks.sliding_window_view(heard, samples)[len(heard) - samples - lags]
        energy = np.einsum("ij,ij->i", windows, windows)
        likeness = windows @ heard[-samples:] / np.sqrt(energy + 1.0)
        return int(lags[np.argmax(likeness)])

    def _stand_in(self, frames: int, samples: int) -> _Samples:
        """``samples`` of the period going on, from ``frames`` frames after the loss began."""
        position = np.arange(samples) + frames * self._format.frame_samples
        sound = self._period[position % len(self._period)]
        if not frames:
            sound[: len(self._step)] += self._step[:samples]
        full, gone = self._count(_FULL_MS), MOST_CONCEALED * self._format.frame_samples
        faded: _Samples = sound * np.clip((gone - position) / (gone - full), 0.0, 1.0)
        return faded

    def _join(self, frame: bytes) -> bytes:
        samples = _samples(frame)
        length = self._count(_JOIN_MS)
        old = self._stand_in(self._missing, length)
        rising = np.arange(1, length + 1) / (length + 1)
        samples[:length] = old + rising * (samples[:length] - old)
        return _pcm(samples)

    def _count(self, ms: int) -> int:
        return ms * self._format.frame_samples // FRAME_MS


def squeeze(first: bytes, second: bytes) -> bytes:
    """Two frames made one that begins as the first and ends as the second."""
    start, end = _samples(first), _samples(second)
    rising = np.arange(1, len(start) + 1) / (len(start) + 1)
    return _pcm(start + rising * (end - start))


def _samples(pcm: bytes) -> _Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def _pcm(samples: _Samples) -> bytes:
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()

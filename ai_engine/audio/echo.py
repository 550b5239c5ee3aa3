"""How much of what we send comes back from the caller's side."""

import math
from collections import deque

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ai_engine.audio.format import FRAME_MS

_Levels = NDArray[np.float64]
"""dBFS, one per frame."""

_REACH_FRAMES = 500 // FRAME_MS
"""An echo comes back within this: it travels there and back, waits in jitter buffers and lingers in a room."""

_MEMORY_FRAMES = 2400 // FRAME_MS

_AUDIBLE_DB = -60.0
"""What we send below this has no echo."""

_LOUD_DB = -35.0
"""What we send above this shows by its echo, or by the want of one, how large the loss is."""

_MARGIN_DB = 4.0
"""Of the bar over the loudest echo expected."""

_SPAN_FRAMES = 1000 // FRAME_MS
"""So much of our speech moves the loss once."""

_RISE, _RISE_LEAST_DB = 0.2, 2.0
"""How much of the way it rises, and at least; it falls at once."""

_MOST_LOSS_DB = 45.0

_LEAST_LOSS_DB = 6.0
"""Less is not learned: a caller who speaks as loud as we do is heard, whatever was taken for an echo before."""

_DOUBTFUL_LOSS_DB = 5.0
"""An echo with less loss than this is more likely a caller who fell in as we began, unless it happens twice."""

_ALIKE = 0.6
"""Correlation of levels from which one sound may be the echo of the other. Echoes have 0.74 to 0.99; words spoken
into our sentences rarely 0.6, but more if they happen to begin just after we do."""


class EchoPath:
    """Tells how loud our echo may be, by the echo return loss: what our sound loses on the way to the caller and back.

    ``follow`` is called for every frame. The delay is not known, so the loudest sound of the last 500 ms counts.
    """

    def __init__(self, loss_db: float) -> None:
        self.loss_db = loss_db
        """Of the loudest echo, as far as it is known."""
        self.bar_db = -math.inf
        """What is not louder than this may be echo; minus infinity when nothing was sent lately."""
        self._sent = deque([_AUDIBLE_DB] * _MEMORY_FRAMES, _MEMORY_FRAMES)
        self._heard = deque([_AUDIBLE_DB] * _MEMORY_FRAMES, _MEMORY_FRAMES)
        self._recent = deque([_AUDIBLE_DB] * _REACH_FRAMES, _REACH_FRAMES)
        self._peak_db = -math.inf
        self._since_audible = _REACH_FRAMES
        """Frames, at most as many as an echo lasts."""
        self._observed = 0
        self._least_db = math.inf
        """The smallest loss seen in the frames observed."""
        self._suspected = False

    @property
    def possible(self) -> bool:
        """Whether something was sent so lately that it may still come back."""
        return self._since_audible < _REACH_FRAMES

    def follow(self, sent_db: float, heard_db: float) -> None:
        """A frame of one level is being sent while one of another was heard."""
        self._sent.append(sent_db)
        self._heard.append(heard_db)
        self._recent.append(sent_db)
        if sent_db > _AUDIBLE_DB:
            self._since_audible = 0
        elif self._since_audible < _REACH_FRAMES:
            self._since_audible += 1
        else:
            self.bar_db = -math.inf
            return
        self._peak_db = max(self._recent)
        self.bar_db = self._peak_db - self.loss_db + _MARGIN_DB

    def learn(self) -> None:
        """The last frame was not the caller's voice, as far as is known: it shows how loud an echo is at most."""
        loss_db = self._peak_db - self._heard[-1]
        if self._peak_db < _LOUD_DB or loss_db < self.loss_db - _MARGIN_DB:
            return
        self._least_db = min(self._least_db, loss_db)
        self._observed += 1
        if self._observed == _SPAN_FRAMES:
            rise_db = max(_RISE_LEAST_DB, _RISE * (self._least_db - self.loss_db))
            self.loss_db = _within_bounds(min(self._least_db, self.loss_db + rise_db))
            self._observed, self._least_db = 0, math.inf

    def resembles(self) -> bool:
        """Whether what was heard lately rose and fell as what we sent, so that it may be the echo of it."""
        return _likeness(_array(self._sent), _array(self._heard)) >= _ALIKE

    def explains(self, stir_frames: int, quiet_frames: int) -> bool:
        """Whether the sound of the last ``stir_frames``, the last ``quiet_frames`` of them quiet, was our echo.

        It was if it died soon after we fell silent, and its level followed ours. Then the loss is learned from it, so
        that the same echo stays below the bar.
        """
        died_with_us = 0 < self._since_audible <= quiet_frames + _REACH_FRAMES
        if not died_with_us or not self.resembles():
            self._suspected = False
            return False
        loss_db = self._loss_seen(stir_frames)
        if loss_db < _DOUBTFUL_LOSS_DB and not self._suspected:
            self._suspected = True
            return False
        self.loss_db = _within_bounds(min(self.loss_db, loss_db))
        return True

    def _loss_seen(self, frames: int) -> float:
        """The smallest one while something loud that we had sent could come back."""
        peaks = sliding_window_view(_array(self._sent), _REACH_FRAMES).max(axis=1)[-frames:]
        losses = (peaks - _array(self._heard)[-len(peaks) :])[peaks > _LOUD_DB]
        return float(losses.min(initial=_MOST_LOSS_DB))


def _within_bounds(loss_db: float) -> float:
    return min(max(loss_db, _LEAST_LOSS_DB), _MOST_LOSS_DB)


def _array(levels: deque[float]) -> _Levels:
    audible: _Levels = np.maximum(np.array(levels), _AUDIBLE_DB)
    return audible


def _likeness(sent: _Levels, heard: _Levels) -> float:
    """The best correlation of what was heard with what was sent, over every delay within reach."""
    heard = heard[_REACH_FRAMES:] - heard[_REACH_FRAMES:].mean()
    delayed = sliding_window_view(sent, len(heard))
    delayed = delayed - delayed.mean(axis=1, keepdims=True)
    energy = np.sqrt((delayed**2).sum(axis=1) * (heard**2).sum())
    return float((delayed @ heard / np.maximum(energy, 1e-9)).max())

"""The agent's voice brought to one loudness, whoever speaks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.format import FRAME_MS, SAMPLE_BYTES, AudioFormat

_FULL_SCALE = 32768.0

_LOUDEST = 32767.0

_KNEE = 0.75 * _LOUDEST
"""-2.5 dBFS: what is louder is bent towards full scale instead of being cut off there."""


@dataclass(frozen=True, slots=True)
class LevelSettings:
    """Levels are those of active speech, as a mean square in dB below full scale (dBFS); gains in dB."""

    target_dbfs: float = -20.0
    max_gain_db: float = 12.0
    max_cut_db: float = 12.0
    db_per_second: float = 0.8
    """How fast the gain moves, per second of active speech: too slow to be heard as pumping."""
    first_db_per_second: float = 24.0
    """How fast it moves within the first second of active speech, in one direction only."""


class LevelNormaliser:
    """One gain for the voice of one call; moves while there is speech, and never in the pauses.

    The gain of a block of 20 ms follows from the blocks before it, so no sound is delayed; from one block to the next
    it changes sample by sample. However the sound is cut into chunks, it comes out the same.
    """

    def __init__(self, format: AudioFormat, settings: LevelSettings) -> None:
        self.gain_db = 0.0
        """At the end of the block that is coming in."""
        self._settings = settings
        quietest_db = settings.target_dbfs - settings.max_gain_db
        self._speech = SpeechLevel(quietest_db)
        self._rises = False
        self._block_samples = format.frame_samples
        self._ramp: NDArray[np.float64] = np.arange(1, format.frame_samples + 1) / format.frame_samples
        self._from = self._to = 1.0
        """The gain at both ends of the block that is coming in."""
        self._position = 0
        """Samples of that block, so far."""
        self._energy = 0.0
        """Of those samples."""
        self._rest = b""

    def process(self, pcm: bytes) -> bytes:
        """The next chunk, of any length; half a sample at its end waits for the next one."""
        data = self._rest + pcm if self._rest else pcm
        usable = len(data) - len(data) % SAMPLE_BYTES
        self._rest = data[usable:]
        if not usable:
            return b""
        samples = np.frombuffer(data, dtype="<i2", count=usable // SAMPLE_BYTES).astype(np.float64)
        starts, ends = self._hear(samples)
        if starts == ends and starts.count(starts[0]) == len(starts):
            samples *= starts[0]
        else:
            samples *= self._between(starts, ends, len(samples))
        self._position = (self._position + len(samples)) % self._block_samples
        return _limited(samples).astype("<i2").tobytes()

    def forget_rest(self) -> None:
        """A reply was cut inside a sample; the next chunk begins with a whole one."""
        self._rest = b""

    def _hear(self, samples: NDArray[np.float64]) -> tuple[list[float], list[float]]:
        """The gain at the start and at the end of every block that ``samples`` lie in."""
        size, end = self._block_samples, self._position + len(samples)
        blocks, complete = -(-end // size), end // size
        padded = np.zeros((blocks, size))
        padded.reshape(-1)[self._position : end] = samples
        # Sums of squared integers are exact in a float64, so it does not matter where a chunk ends.
        energies: list[float] = np.einsum("ij,ij->i", padded, padded).tolist()
        energies[0] += self._energy
        starts, ends = [], []
        for energy in energies[:complete]:
            starts.append(self._from)
            ends.append(self._to)
            self._from, self._to = self._to, self._next_gain(energy)
        self._energy = 0.0
        if blocks > complete:
            starts.append(self._from)
            ends.append(self._to)
            self._energy = energies[-1]
        return starts, ends

    def _between(self, starts: list[float], ends: list[float], count: int) -> NDArray[np.float64]:
        start, end = np.array(starts)[:, None], np.array(ends)[:, None]
        gains: NDArray[np.float64] = start + (end - start) * self._ramp
        return gains.reshape(-1)[self._position : self._position + count]

    def _next_gain(self, energy: float) -> float:
        if self._speech.hear(energy / (self._block_samples * _FULL_SCALE**2)):
            self.gain_db = self._moved()
            return float(10 ** (self.gain_db / 20))
        return self._to

    def _moved(self) -> float:
        settings, speech, gain_db = self._settings, self._speech, self.gain_db
        wanted_db = min(settings.max_gain_db, max(-settings.max_cut_db, settings.target_dbfs - speech.level_db))
        if speech.settled:
            step_db = settings.db_per_second * FRAME_MS / 1000
            return gain_db + min(step_db, max(-step_db, wanted_db - gain_db))
        step_db = settings.first_db_per_second * FRAME_MS / 1000
        if not speech.known:
            self._rises = wanted_db > gain_db
            return gain_db
        if self._rises:
            return gain_db + min(step_db, max(0.0, wanted_db - gain_db))
        return gain_db - min(step_db, max(0.0, gain_db - wanted_db))


class SpeechLevel:
    """The level of active speech, as P.56 and BS.1770 gate it: what is much quieter than it is a pause.

    Fed the mean square of one block of 20 ms after the other, with 1 as full scale. It finds about 1 dB more than
    P.56, which counts the shortest pauses as speech.
    """

    _BELOW = 10**-1.6
    """Quieter by more than these 16 dB is no speech (P.56 has a margin of 15.9 dB)."""

    _ABOVE = 10**1.5
    """Louder by more than these 15 dB: what was taken for speech so far was the noise before it."""

    _KNOWN_BLOCKS = 300 // FRAME_MS

    _SETTLED_BLOCKS = 1000 // FRAME_MS

    _WINDOW_BLOCKS = 3000 // FRAME_MS

    _MISSED_BLOCKS = 5000 // FRAME_MS
    """So much more sound that is too quiet for speech than speech itself: the voice has become quieter."""

    def __init__(self, quietest_db: float) -> None:
        """``quietest_db``: the lowest level of speech that is looked for."""
        self._floor = 10 ** (quietest_db / 10) * self._BELOW
        self._power = 0.0
        self._blocks = 0
        self._missed = 0

    @property
    def level_db(self) -> float:
        """In dBFS; minus infinity until there was speech."""
        return 10 * math.log10(self._power) if self._power else -math.inf

    @property
    def known(self) -> bool:
        """Enough was heard to tell whether the voice is loud or quiet."""
        return self._blocks > self._KNOWN_BLOCKS

    @property
    def settled(self) -> bool:
        return self._blocks > self._SETTLED_BLOCKS

    def hear(self, power: float) -> bool:
        """Whether the block was speech."""
        if power <= self._floor:
            return False
        if power < self._power * self._BELOW:
            self._missed += 1
            if self._missed < self._MISSED_BLOCKS:
                return False
            self._blocks = self._missed = 0
        elif power > self._power * self._ABOVE:
            self._blocks = self._missed = 0
        self._missed = max(0, self._missed - 1)
        self._blocks += 1
        self._power += (power - self._power) / min(self._blocks, self._WINDOW_BLOCKS)
        return True


def _limited(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers within 16 bits. Beyond the knee the slope falls from 1 to 0, without a corner."""
    magnitudes = np.abs(samples)
    if magnitudes.max() > _KNEE:
        room = _LOUDEST - _KNEE
        over = np.maximum(magnitudes - _KNEE, 0.0) / room
        bent = np.minimum(magnitudes, _KNEE) + room * over / (1 + over)
        samples = np.copysign(bent, samples)
    return np.rint(samples)

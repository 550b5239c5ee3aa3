"""A recorded sentence, as a caller says it to an agent."""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat
from ai_engine.audio.resample import Resampler
from ai_engine.errors import ConfigError

_VOICE_BELOW_PEAK_DB = 35.0
"""What is so much quieter than the loudest frame is no voice."""

_ENDING_FRAMES = 10
"""After the last voice: a soft ending belongs to it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """PCM16 mono, with whatever silence the recording has."""

    pcm: bytes
    format: AudioFormat

    def frames(self, format: AudioFormat) -> list[bytes]:
        """The voice of it in 20 ms frames, the silence at both ends left out; empty where there is no voice."""
        resampler = Resampler(self.format, format)
        sound = resampler.process(self.pcm) + resampler.flush()
        sound += bytes(-len(sound) % format.frame_bytes)
        frames = np.frombuffer(sound, "<i2").reshape(-1, format.frame_samples)
        power = np.square(frames.astype(np.float64)).mean(axis=1)
        voiced = np.flatnonzero(power > power.max(initial=0.0) / 10 ** (_VOICE_BELOW_PEAK_DB / 10))
        if not voiced.size:
            return []
        return [frame.tobytes() for frame in frames[voiced[0] : voiced[-1] + 1 + _ENDING_FRAMES]]


def read_sentence(path: Path) -> Sentence:
    """The first channel of a WAV. Raises ConfigError when it is none of 16 bits, or has no voice in it."""
    try:
        with wave.open(str(path)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
        format = AudioFormat(rate)
    except (OSError, EOFError, wave.Error, ValueError) as error:
        raise ConfigError(f"{path}: cannot be played: {error}") from error
    if width != SAMPLE_BYTES:
        raise ConfigError(f"{path}: cannot be played: it has {8 * width} bits a sample, and must have 16")
    samples = np.frombuffer(data[: len(data) - len(data) % (SAMPLE_BYTES * channels)], "<i2")
    sentence = Sentence(samples[::channels].tobytes(), format)
    if not sentence.frames(format):
        raise ConfigError(f"{path}: there is no voice in it")
    return sentence

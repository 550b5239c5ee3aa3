"""What callers say, cut into frames: real speech and the hiss of a quiet line."""

import wave
from pathlib import Path

import numpy as np

from ai_engine.audio.format import SLIN8
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from scripts.trial.measure import VOICE_DBFS, level_dbfs
from scripts.trial.speech import synthesize

SENTENCES = (
    ("rms", "I would like to know when you are open on Saturday."),
    ("slt", "Do you deliver trees, and what does it cost?"),
    ("awb", "My lawn mower does not start any more, can you repair it?"),
    ("rms", "Can I bring the plants back if they do not grow?"),
    ("slt", "I am looking for something that flowers in the shade."),
    ("awb", "How do I find you when I come by train?"),
)

_HISS_DBFS = -66.0
_HISS_FRAMES = 97


def speech() -> list[list[bytes]]:
    """One list of 20 ms frames per sentence; each begins and ends with a frame that counts as voice.

    Raises TrialError when there is no flite.
    """
    return [_voiced(frames_of(synthesize(text, voice))) for voice, text in SENTENCES]


def hiss() -> list[bytes]:
    """The noise of a line on which nobody speaks; G.711 keeps it as it is."""
    noise = np.random.default_rng(1).normal(0.0, 32768 * 10 ** (_HISS_DBFS / 20), _HISS_FRAMES * SLIN8.frame_samples)
    pcm = ulaw_to_pcm(pcm_to_ulaw(noise.astype("<i2").tobytes()))
    return _cut(pcm)


def frames_of(wav: Path) -> list[bytes]:
    """A WAV of 8000 Hz mono PCM16 in frames; what does not fill the last one is left out."""
    with wave.open(str(wav)) as sound:
        return _cut(sound.readframes(sound.getnframes()))


def _cut(pcm: bytes) -> list[bytes]:
    size = SLIN8.frame_bytes
    return [pcm[start : start + size] for start in range(0, len(pcm) - size + 1, size)]


def _voiced(frames: list[bytes]) -> list[bytes]:
    voiced = [place for place, frame in enumerate(frames) if level_dbfs(np.frombuffer(frame, "<i2")) >= VOICE_DBFS]
    return frames[voiced[0] : voiced[-1] + 1]

"""Synthetic callers: flite's voices as they sound after an 8 kHz mu-law telephone line."""

import audioop
import subprocess
import wave
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory


@lru_cache(maxsize=1024)
def caller(text: str, voice: str, before_ms: int = 200, after_ms: int = 400, rate: int = 16000) -> bytes:
    """PCM16 mono at ``rate`` Hz."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as speech:
            pcm, studio = speech.readframes(speech.getnframes()), speech.getframerate()
    narrow, _ = audioop.ratecv(pcm, 2, 1, studio, 8000, None)
    line = audioop.ulaw2lin(audioop.lin2ulaw(narrow, 2), 2)
    sound, _ = audioop.ratecv(line, 2, 1, 8000, rate, None)
    ms = rate // 1000 * 2
    return bytes(ms * before_ms) + sound + bytes(ms * after_ms)

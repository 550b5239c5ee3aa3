"""Speech for the caller, made by the flite program and kept under .cache/speech.

wav = synthesize("What are your opening hours?")    # Path: WAV, 8000 Hz, mono, PCM16
"""

import hashlib
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.resample import Resampler
from scripts.trial.rootfs import CHECKOUT, TrialError

SPEECH = CHECKOUT / ".cache" / "speech"


def synthesize(text: str, voice: str = "rms", rate: int = 8000) -> Path:
    """``text`` in one of flite's voices (rms and awb are men, slt a woman) at ``rate`` samples per second."""
    key = hashlib.sha256(f"{voice}\n{rate}\n{text}".encode()).hexdigest()[:20]
    target = SPEECH / f"{voice}-{rate}-{key}.wav"
    if target.exists():
        return target
    SPEECH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SPEECH) as scratch:
        spoken, finished = Path(scratch, "spoken.wav"), Path(scratch, "finished.wav")
        _speak(text, voice, spoken)
        _convert(spoken, finished, rate)
        finished.rename(target)  # at once, so that two processes may ask for the same words
    return target


def _speak(text: str, voice: str, target: Path) -> None:
    if shutil.which("flite") is None:
        raise TrialError("flite is missing: run scripts/setup (or apt-get install flite)")
    # An unknown voice would be replaced by the default one without a word.
    listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=False).stdout
    voices = listed.partition(":")[2].split()
    if voice not in voices:
        raise TrialError(f"flite has no voice {voice!r}; it has {', '.join(voices)}")
    done = subprocess.run(
        ["flite", "-voice", voice, "-t", text, "-o", str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode or not target.exists():
        raise TrialError(f"flite could not say {text!r} as {voice}: {done.stderr.strip()}")


def _convert(source: Path, target: Path, rate: int) -> None:
    with wave.open(str(source), "rb") as sound:
        pcm, spoken_rate = sound.readframes(sound.getnframes()), sound.getframerate()
    if spoken_rate != rate:
        resampler = Resampler(AudioFormat(spoken_rate), AudioFormat(rate))
        pcm = resampler.process(pcm) + resampler.flush()
    with wave.open(str(target), "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        sound.writeframes(pcm)

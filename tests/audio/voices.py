"""Sound for the ear to hear: synthesized speech and noise, as float samples at 16-bit scale."""

import subprocess
import wave
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.resample import Resampler

Sound = NDArray[np.float64]

ACTIVE_RMS = 3000.0
"""Of speech; about -21 dBFS, as on a healthy telephone line."""


@cache
def speech(text: str, rate: int, voice: str = "slt") -> Sound:
    """``text`` as flite says it, without the silence around it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            spoken_rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    converter = Resampler(AudioFormat(spoken_rate), AudioFormat(rate))
    samples = np.frombuffer(converter.process(pcm) + converter.flush(), dtype="<i2").astype(np.float64)
    loud = np.flatnonzero(np.abs(samples) > 300)
    samples = samples[loud[0] : loud[-1]].copy()
    samples *= ACTIVE_RMS / np.sqrt(np.mean(samples[np.abs(samples) > 300] ** 2))
    return samples


def noise(rate: int, seconds: float, rms: float, pink: bool = False) -> Sound:
    """White or pink noise, the same at every call."""
    count = int(rate * seconds)
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(count))
    if pink:
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    sound: Sound = np.fft.irfft(spectrum, count)
    sound *= rms / sound.std()
    return sound


def tone(rate: int, seconds: float, hertz: float, amplitude: float = 8000.0) -> Sound:
    wave_: Sound = amplitude * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    return wave_


def cough(rate: int, seconds: float, rms: float = ACTIVE_RMS, seed: int = 1) -> Sound:
    """A burst of dull noise that dies away."""
    count = int(rate * seconds)
    burst: Sound = np.convolve(np.random.default_rng(seed).standard_normal(count), [1, 0.8, 0.5, 0.2], "same")
    at = np.arange(count) / rate
    burst *= np.minimum(1, np.minimum(at / 0.01, (seconds - at) / 0.04))
    burst *= rms / burst.std()
    return burst


MONOLOGUE = (
    "good morning and welcome to the practice of doctor miller. our opening hours are monday to friday from eight to "
    "twelve and from two to six. if you would like to make an appointment, please tell me the day that suits you best, "
    "and i will look what is free. you can also ask me for the address, or for directions, or how to reach us by bus."
)


def monologue(rate: int, seconds: float, voice: str = "rms") -> Sound:
    """An agent that goes on and on."""
    said = speech(MONOLOGUE, rate, voice)
    count = int(rate * seconds)
    return np.tile(said, count // len(said) + 1)[:count]


def echo_path(rate: int, loss_db: float, delay_ms: float, reverb_ms: float, like: Sound) -> Sound:
    """The impulse response of a line and a room, of which ``like`` comes back ``loss_db`` quieter."""
    count = int(rate * reverb_ms * 2 / 1000) + 1
    decay = 10 ** (-3 * np.arange(count) / count)
    response: Sound = np.random.default_rng(2).standard_normal(count) * decay
    response[0] = 3.0
    response = np.concatenate((np.zeros(int(rate * delay_ms / 1000)), response))
    returned = np.convolve(like, response)[: len(like)]
    response *= np.sqrt(np.mean(like**2) / np.mean(returned**2)) / 10 ** (loss_db / 20)
    return response


def place(background: Sound, sound: Sound, at: int) -> Sound:
    """``background`` with ``sound`` added from sample ``at`` on."""
    mixed = background.copy()
    mixed[at : at + len(sound)] += sound
    return mixed


def frames(sound: Sound, format: AudioFormat) -> list[bytes]:
    pcm = np.clip(np.rint(sound), -32768, 32767).astype("<i2").tobytes()
    size = format.frame_bytes
    return [pcm[start : start + size] for start in range(0, len(pcm) - size + 1, size)]

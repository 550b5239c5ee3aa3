"""A caller at a real phone, and the engine of a test, for calls in which an agent of tones answers.

async with calling(trial, directory, codec="G722") as caller:
    await caller.dial("100")
    begun = await caller.agent.wait_voice()
    await caller.say(wav)
caller.heard()                                   # PCM at 8000 Hz, from the wire
"""

import asyncio
import re
import time
import wave
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.trial.asterisk import Trial
from scripts.trial.measure import Pcm, audio, voice_segments
from scripts.trial.phone import BaresipPhone
from scripts.trial.programs import Programs
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture, Stream


@dataclass(frozen=True, slots=True)
class Caller:
    """A phone in a call, and what goes over its wire."""

    phone: BaresipPhone
    agent: Stream
    """What the phone is sent."""
    own: Stream
    """What it sends."""

    async def dial(self, extension: str = "100") -> None:
        """Call, and wait until the call is up."""
        await self.phone.dial(extension)
        await self.phone.wait_for("CALL_ESTABLISHED")

    async def say(self, wav: Path) -> float:
        """Speak, and return when the first voice of it was on the wire, in epoch seconds."""
        asked = time.time()
        await self.phone.say(wav)
        return await self.own.wait_voice(after=asked)

    async def finish(self, wav: Path) -> float:
        """Speak to the end, and return when the first voice of it was on the wire."""
        began = await self.say(wav)
        await asyncio.sleep(length(wav) - (time.time() - began))
        return began

    async def hang_up(self) -> None:
        """End the call, and wait until it is over."""
        await self.phone.hang_up()
        await self.phone.wait_for("CALL_CLOSED")

    def heard(self, after: float = 0.0, before: float = float("inf")) -> Pcm:
        """What the phone was sent between two epoch seconds, at 8000 Hz."""
        return audio(packet for packet in self.agent.packets if after <= packet.at < before)

    def silent_from(self, moment: float) -> float:
        """When the agent fell silent that was speaking at ``moment``, both in epoch seconds."""
        return next(part.end for part in voice_segments(self.agent.packets, join_seconds=0.2) if part.end > moment)


@asynccontextmanager
async def calling(trial: Trial, directory: Path, codec: str = "PCMU") -> AsyncIterator[Caller]:
    """A phone that is started and watched; it has not dialled yet."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    phone = BaresipPhone(trial, directory / "phone", codec)
    async with RtpCapture(phone.rtp_ports, directory / "rtp.pcap") as wire, phone:
        yield Caller(phone, wire.to(phone.rtp_ports), wire.sent_from(phone.rtp_ports))


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as ``condition``, which may block a little, holds; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)


async def leftovers(trial: Trial, programs: Programs, seconds: float = 5.0) -> list[str]:
    """What is still there of calls that ended up to ``seconds`` ago, in Asterisk, in the engine and on the disk."""
    with suppress(TimeoutError):
        await until(lambda: not _leftovers(trial, programs), seconds)
    return _leftovers(trial, programs)


def _leftovers(trial: Trial, programs: Programs) -> list[str]:
    left = trial.cli("core show channels concise").splitlines() if channels(trial) else []
    left += [str(bridge) for bridge in trial.ari("GET", "/bridges")]  # type: ignore[attr-defined]
    health = programs.health()
    left += [str(call) for call in health["calls"]["now"]]
    if health["media_clock"]["seats"]:
        left.append(f"{health['media_clock']['seats']} seats on the media clock")
    left += [str(path) for path in (programs.directory / "media").rglob("*.sln*")]
    return left + [f"{path}: not finished" for path in programs.calls() if not (path / "turns.json").exists()]


def channels(trial: Trial) -> int:
    """How many there are."""
    found = re.search(r"(\d+) active channel", trial.cli("core show channels count"))
    assert found
    return int(found.group(1))


def media_legs(trial: Trial) -> list[str]:
    """The channels that carry sound between Asterisk and the engine."""
    ids = [line.split("!")[-1] for line in trial.cli("core show channels concise").splitlines()]
    return [channel_id for channel_id in ids if channel_id.startswith("offhook-media-")]


# -- what the caller says ------------------------------------------------------------------------------------


def words(text: str, rate: int) -> Path:
    """Real speech, for ears that tell it from tones."""
    return synthesize(text, "rms", rate)


def cough(directory: Path, rate: int, seconds: float = 0.15) -> Path:
    """The loudest moment of a vowel."""
    pcm = pcm_of(words("aah", rate))
    size = int(seconds * rate)
    loudness = np.convolve(np.square(pcm.astype(float)), np.ones(size), "valid")
    start = int(np.argmax(loudness))
    return write(directory / "cough.wav", rate, [pcm[start : start + size]])


def joined(path: Path, rate: int, parts: Sequence[Path | bytes]) -> Path:
    """WAV files and PCM of ``rate``, one after the other."""
    return write(path, rate, [pcm_of(part) if isinstance(part, Path) else np.frombuffer(part, "<i2") for part in parts])


def write(path: Path, rate: int, parts: Sequence[Pcm]) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        sound.writeframes(b"".join(part.tobytes() for part in parts))
    return path


def pcm_of(path: Path) -> Pcm:
    """The (mono) sound of a WAV file."""
    with wave.open(str(path)) as sound:
        assert sound.getnchannels() == 1
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16)


def length(path: Path) -> float:
    """Seconds."""
    with wave.open(str(path)) as sound:
        seconds: float = sound.getnframes() / sound.getframerate()
        return seconds


def left_of(path: Path) -> tuple[Pcm, int]:
    """The caller's channel of a recorded call, and its rate."""
    with wave.open(str(path)) as sound:
        stereo = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, 2)
        return stereo[:, 0], sound.getframerate()

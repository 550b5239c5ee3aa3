"""A stereo WAV that is always valid, and whose sides never slide."""

import resource
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.observe.stereo_wav import StereoWav


def frame(value: int, samples: int = 160) -> bytes:
    return np.full(samples, value, "<i2").tobytes()


def read(path: Path) -> tuple[int, np.ndarray]:
    """Rate, and one value per 20 ms and side."""
    with wave.open(str(path)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (2, 2)
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, 2)
    blocks = samples.reshape(-1, rate // 50, 2)
    assert (blocks == blocks[:, :1]).all()
    return rate, blocks[:, 0]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process can grow beyond ``size`` bytes: as good as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("format", [SLIN8, SLIN16])
def test_caller_left_agent_right(tmp_path: Path, format: object) -> None:
    assert format in (SLIN8, SLIN16)
    slin = SLIN8 if format is SLIN8 else SLIN16
    samples = slin.frame_samples
    wav = StereoWav(tmp_path / "x.wav", slin)
    wav.write([(frame(1, samples), frame(2, samples)), (None, frame(3, samples)), (frame(4, samples), None)])
    wav.close()
    rate, values = read(tmp_path / "x.wav")
    assert rate == slin.rate
    assert values.tolist() == [[1, 2], [0, 3], [4, 0]]


def test_valid_without_close(tmp_path: Path) -> None:
    wav = StereoWav(tmp_path / "x.wav", SLIN8)
    assert read(tmp_path / "x.wav")[1].tolist() == []
    wav.write([(frame(1), frame(2))])
    assert read(tmp_path / "x.wav")[1].tolist() == [[1, 2]]
    wav.write([(frame(3), frame(4))])
    assert read(tmp_path / "x.wav")[1].tolist() == [[1, 2], [3, 4]]
    wav.close()


def test_skipped_frames_keep_their_place(tmp_path: Path) -> None:
    wav = StereoWav(tmp_path / "x.wav", SLIN8)
    wav.write([(frame(1), frame(2))])
    wav.skip(2)
    wav.write([(frame(3), frame(4))])
    wav.skip(1)
    wav.close()
    assert read(tmp_path / "x.wav")[1].tolist() == [[1, 2], [0, 0], [0, 0], [3, 4], [0, 0]]


def test_frame_of_a_wrong_length_moves_nothing(tmp_path: Path) -> None:
    wav = StereoWav(tmp_path / "x.wav", SLIN8)
    wav.write([(frame(1, 170), frame(2)), (frame(3), frame(4, 160))])
    wav.close()
    assert read(tmp_path / "x.wav")[1].tolist() == [[1, 2], [3, 4]]


def test_full_disk_costs_only_what_did_not_fit(tmp_path: Path) -> None:
    wav = StereoWav(tmp_path / "x.wav", SLIN8)
    wav.write([(frame(1), frame(2))])
    with room_for(44 + 640 + 100), pytest.raises(OSError, match="File too large"):
        wav.write([(frame(5), frame(5))])
    wav.write([(frame(3), frame(4))])
    wav.close()
    with wave.open(str(tmp_path / "x.wav")) as sound:
        assert sound.getnframes() == 3 * 160
        sound.setpos(2 * 160)
        assert sound.readframes(1) == b"\3\0\4\0"

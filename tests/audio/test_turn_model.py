"""The turn model hears the last eight seconds as its network was trained to, and says when a file is no such network.

The networks are made here, byte by byte: a few operators in ONNX's protobuf.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.turn_model import TurnModel, log_mel, mel_bank
from ai_engine.errors import ConfigError
from tests.audio.voices import frames, noise, speech, tone

FLOAT, INT64 = 1, 7
SLIN16 = AudioFormat(16000)

# -- networks, byte by byte -------------------------------------------------------------------------------


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def nested(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])


def value_info(name: str, *shape: int | str, kind: int = FLOAT) -> bytes:
    sizes = b"".join(
        nested(1, number(1, size) if isinstance(size, int) else nested(2, size.encode())) for size in shape
    )
    return nested(1, name.encode()) + nested(2, nested(1, number(1, kind) + nested(2, sizes)))


def node(operator: str, taken: str, given: str, **attributes: int) -> bytes:
    options = b"".join(
        nested(5, nested(1, key.encode()) + number(3, value) + number(20, 2)) for key, value in attributes.items()
    )
    return nested(1, nested(1, taken.encode()) + nested(2, given.encode()) + nested(4, operator.encode()) + options)


def model(*nodes: bytes, inputs: tuple[bytes, ...], outputs: tuple[bytes, ...] = (value_info("answer"),)) -> bytes:
    graph = b"".join(nodes) + nested(2, b"turn")
    graph += b"".join(nested(11, each) for each in inputs) + b"".join(nested(12, each) for each in outputs)
    return number(1, 8) + nested(7, graph) + nested(8, number(2, 13))


MEAN = node("ReduceMean", "sound", "answer", keepdims=0)
LOUDNESS = node("Abs", "sound", "magnitudes"), node("ReduceMean", "magnitudes", "answer", keepdims=0)
LIKELY = node("ReduceMean", "sound", "mean", keepdims=0), node("Sigmoid", "mean", "answer")


def scaled(sound: NDArray[np.float64]) -> NDArray[np.float32]:
    return sound.astype(np.float32) / np.float32(32768)


Load = Callable[[bytes], TurnModel]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(content: bytes) -> TurnModel:
        path = tmp_path / "turn.onnx"
        path.write_bytes(content)
        return TurnModel(path)

    return load


def pcm(sound: NDArray[np.float64]) -> bytes:
    return b"".join(frames(sound, SLIN16))


# -- raw samples ------------------------------------------------------------------------------------------


def test_a_network_of_rank_two_hears_the_samples(load: Load) -> None:
    network = load(model(*LOUDNESS, inputs=(value_info("sound", 1, "samples"),)))
    assert network.complete(pcm(np.full(16000, 16384.0))) == pytest.approx(0.5)
    assert network.complete(pcm(np.full(16000, -8192.0))) == pytest.approx(0.25)
    assert network.complete(b"") == 0


def test_it_hears_the_last_eight_seconds(load: Load) -> None:
    network = load(model(*LOUDNESS, inputs=(value_info("sound", 1, "samples"),)))
    sound = np.concatenate((np.full(16000 * 5, 32767.0), np.full(16000 * 8, 8192.0)))
    assert network.complete(pcm(sound)) == pytest.approx(0.25)


def test_silence_is_put_before_what_is_too_short_for_it(load: Load) -> None:
    network = load(model(*LOUDNESS, inputs=(value_info("sound", 1, 64000),)))
    assert network.complete(pcm(np.full(16000, 16384.0))) == pytest.approx(0.125)
    assert network.complete(pcm(np.full(64000 * 2, 16384.0))) == pytest.approx(0.5)


def test_a_torn_sample_is_left_out(load: Load) -> None:
    network = load(model(*LOUDNESS, inputs=(value_info("sound", 1, "samples"),)))
    assert network.complete(pcm(np.full(16000, 16384.0)) + b"\x01") == pytest.approx(0.5)


# -- features ---------------------------------------------------------------------------------------------


def test_a_network_of_rank_three_gets_features(load: Load) -> None:
    network = load(model(*LIKELY, inputs=(value_info("sound", "batch", 80, 800),)))
    sound = speech("what are your opening hours", 16000)
    mean = log_mel(scaled(np.frombuffer(pcm(sound), dtype="<i2"))).mean()
    assert network.complete(pcm(sound)) == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-5)


@pytest.mark.parametrize("seconds", [0.01, 1, 8, 20])
def test_features_are_of_the_last_eight_seconds(seconds: float) -> None:
    sound = scaled(noise(16000, seconds, 3000))
    features = log_mel(sound)
    assert features.shape == (80, 800)
    assert features.dtype == np.float32
    padded = np.pad(sound, (max(128000 - len(sound), 0), 0))[-128000:]
    assert np.array_equal(features, log_mel(padded))


def test_features_end_where_the_sound_ends() -> None:
    features = log_mel(scaled(tone(16000, 1, 440))).max(axis=0)
    assert (features[702:] > 1).all()
    assert (features[:698] < features.max() - 1).all()


def test_features_span_two_units() -> None:
    """Eight decades below the loudest nothing is told apart: 8 / 4."""
    features = log_mel(scaled(tone(16000, 8, 1000)))
    assert features.max() - features.min() == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize(("hertz", "mel"), [(200, 4), (1000, 26), (4000, 62), (7000, 76)])
def test_a_tone_is_where_its_pitch_is(hertz: float, mel: int) -> None:
    features = log_mel(scaled(tone(16000, 8, hertz)))
    assert abs(int(features[:, 400].argmax()) - mel) <= 1


def test_loudness_does_not_matter() -> None:
    sound = scaled(speech("what are your opening hours", 16000))
    assert np.allclose(log_mel(sound), log_mel(sound * np.float32(0.1)), atol=1e-3)


def test_one_frame_by_the_definition() -> None:
    """Frame 300 by a discrete Fourier transform written out, and the filters summed one by one."""
    sound = scaled(noise(16000, 8, 3000, pink=True))
    normal = (sound - sound.mean()) / sound.std()
    centre, n = 300 * 160, np.arange(400)
    windowed = normal[centre - 200 : centre + 200] * (0.5 - 0.5 * np.cos(2 * np.pi * n / 400))
    power = [abs(np.sum(windowed * np.exp(-2j * np.pi * k * n / 400))) ** 2 for k in range(201)]
    logarithms = np.log10([sum(weight * p for weight, p in zip(row, power, strict=True)) for row in mel_bank()])
    assert np.allclose(log_mel(sound)[:, 300], (logarithms + 4) / 4, atol=1e-4)


@pytest.mark.parametrize(
    ("mel", "bin", "weight"), [(0, 1, 0.024862595), (1, 2, 0.022871772), (40, 43, 0.014735566), (79, 192, 0.0031647119)]
)
def test_the_filters_are_whispers(mel: int, bin: int, weight: float) -> None:
    """Published values of whisper's ``mel_filters.npz``."""
    assert mel_bank()[mel, bin] == pytest.approx(weight, rel=1e-6)


# -- what is no turn model --------------------------------------------------------------------------------


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"turn model /nowhere/turn\.onnx does not exist"):
        TurnModel("/nowhere/turn.onnx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a network"),
        (b"<html>not found</html>", "is not a network"),
        (model(node("Nonsense", "sound", "answer"), inputs=(value_info("sound", 1, "n"),)), "is not a network"),
        (model(MEAN, inputs=(value_info("sound", 1, 2, 3, 4),)), "neither samples nor features"),
        (model(MEAN, inputs=(value_info("sound", 1, 128, 3000),)), "neither samples nor features"),
        (model(MEAN, inputs=(value_info("sound", "n"),)), "neither samples nor features"),
        (model(MEAN, inputs=(value_info("sound", 1, "n"), value_info("state", 2))), "other inputs and outputs"),
        (
            model(MEAN, inputs=(value_info("sound", 1, "n", kind=INT64),), outputs=(value_info("answer", kind=INT64),)),
            "other inputs and outputs",
        ),
        (
            model(
                node("Neg", "sound", "answer"),
                inputs=(value_info("sound", 1, "n"),),
                outputs=(value_info("answer", 1, "n"),),
            ),
            "than one probability",
        ),
        (
            model(
                node("Log", "sound", "low"),
                node("ReduceMean", "low", "answer", keepdims=0),
                inputs=(value_info("sound", 1, "n"),),
            ),
            "than one probability",
        ),
    ],
    ids=["empty", "text", "operator", "rank 4", "whisper large", "rank 1", "two inputs", "integers", "many", "logits"],
)
def test_a_file_that_is_something_else(load: Load, content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(content)

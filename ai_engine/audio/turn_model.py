"""A neural network that hears whether a caller is done, through onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from ai_engine.errors import ConfigError

RATE = 16000
"""Of the audio; sound of 8 kHz must be resampled first, or the answer means nothing."""

SAMPLES = 8 * RATE
"""The network hears the last 8 seconds."""

_Samples = NDArray[np.float32]

_FFT = 400
_HOP = 160
_MELS = 80
_FRAMES = SAMPLES // _HOP

_UNUSABLE = (
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NoModel,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
)


class TurnModel:
    """Tells by melody and words whether a turn is over: smart-turn and networks like it, from an ONNX file.

    A network with an input of rank 3 gets Whisper's log-mel features ``[1, 80, 800]``, one with rank 2 the samples
    ``[1, N]`` themselves, from -1 to 1. It has one output, the probability that the turn is over.

    Keeps no state between answers, so one serves all calls, and from several threads.
    """

    def __init__(self, path: str | Path) -> None:
        """Load the file, and ask it once. Raises ConfigError, with a sentence, when it is no such network."""
        self._path = Path(path)
        self._session = self._load()
        self._input, self._rank, self._length = self._describe()
        try:
            answer = self._answer(np.zeros(SAMPLES, dtype=np.float32))
        except _UNUSABLE as error:
            raise self._unfit(f"cannot be run: {error}") from error
        if answer.size != 1 or not 0 <= answer.item() <= 1:
            raise self._unfit("answers with something else than one probability")

    def complete(self, pcm16k: bytes) -> float:
        """The probability that the turn is over whose sound up to now is ``pcm16k`` (PCM16 mono at 16 kHz).

        More than the last 8 seconds is not needed. Takes 10 to 100 ms of one core: not for the call loop.
        """
        usable = len(pcm16k) - len(pcm16k) % 2
        samples = np.frombuffer(pcm16k, dtype="<i2", count=usable // 2)[-SAMPLES:].astype(np.float32)
        samples /= 32768
        return float(self._answer(samples).item())

    def _answer(self, samples: _Samples) -> NDArray[np.float32]:
        fed = log_mel(samples) if self._rank == 3 else _last(samples, self._length or max(len(samples), RATE // 10))
        (answer,) = self._session.run(None, {self._input: fed[np.newaxis]})
        return np.asarray(answer)

    def _load(self) -> onnxruntime.InferenceSession:
        if not self._path.is_file():
            raise self._unfit("does not exist")
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        except _UNUSABLE as error:
            raise self._unfit(f"is not a network onnxruntime can load: {error}") from error

    def _describe(self) -> tuple[str, int, int]:
        """Name and rank of the input, and how many samples it takes if it says so (else 0)."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            raise self._unfit("has other inputs and outputs than one of floats each")
        shape = [size if isinstance(size, int) else 0 for size in inputs[0].shape]
        fits = len(shape) == 2 or len(shape) == 3 and shape[1] in (0, _MELS) and shape[2] in (0, _FRAMES)
        if not fits:
            raise self._unfit(f"wants an input of the shape {inputs[0].shape}, which is neither samples nor features")
        return inputs[0].name, len(shape), shape[1]

    def _unfit(self, why: str) -> ConfigError:
        return ConfigError(f"the turn model {self._path} {why}")


def log_mel(samples: _Samples) -> _Samples:
    """Whisper's features of the last 8 seconds of ``samples`` (16 kHz, -1 to 1), shape ``[80, 800]``.

    As smart-turn v3 was trained with: silence in front of what is shorter, then zero mean and unit variance.
    """
    sound = _last(samples, SAMPLES)
    sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
    edged = np.pad(sound, _FFT // 2, mode="reflect")
    spectrum = np.fft.rfft(sliding_window_view(edged, _FFT)[::_HOP][:_FRAMES] * _WINDOW)
    mels = _MEL_BANK @ (spectrum.real**2 + spectrum.imag**2).T
    logarithms = np.log10(np.maximum(mels, 1e-10))
    features: _Samples = (np.maximum(logarithms, logarithms.max() - 8) + 4) / 4
    return features.astype(np.float32, copy=False)


def _last(samples: _Samples, count: int) -> _Samples:
    """The last ``count`` samples, with silence in front if there are fewer."""
    return np.pad(samples, (max(count - len(samples), 0), 0))[-count:]


def mel_bank() -> _Samples:
    """Slaney's triangular filters, ``[80, 201]``: linear below 1 kHz, logarithmic above, each of the same area."""
    edges = _hertz(np.linspace(0, _mel_of_nyquist(), _MELS + 2))[:, np.newaxis]
    bins = np.linspace(0, RATE / 2, _FFT // 2 + 1)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    bank: _Samples = (np.maximum(triangles, 0) * 2 / (upper - lower)).astype(np.float32)
    return bank


_LINEAR_HERTZ = 200 / 3
"""Per mel, up to 1 kHz, which is 15 mel."""

_LOG_STEP = np.log(6.4) / 27
"""Per mel, above."""


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * _LINEAR_HERTZ, 1000 * np.exp(_LOG_STEP * (mel - 15)))


def _mel_of_nyquist() -> float:
    return float(15 + np.log(RATE / 2 / 1000) / _LOG_STEP)


_MEL_BANK = mel_bank()

_WINDOW = np.hanning(_FFT + 1)[:-1].astype(np.float32)

"""The silero network as a speech scorer, through onnxruntime, without torch."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ai_engine.audio.format import AudioFormat


class SileroScorer:
    """The silero network: about 0.1 ms per 32 ms chunk; between chunks the last verdict stands."""

    _HYSTERESIS = 0.15
    """Speech goes on until the probability is this far below the threshold, as in silero's own iterator."""

    def __init__(self, format: AudioFormat, threshold: float = 0.5) -> None:
        if format.rate not in (8000, 16000):
            raise ValueError(f"silero does not know {format.rate} Hz")
        self._session = _load_session()
        self._rate = np.array(format.rate, dtype=np.int64)
        self._chunk_samples = format.rate * 32 // 1000
        self._context_samples = format.rate * 4 // 1000
        self._context: NDArray[np.float32] = np.zeros(self._context_samples, dtype=np.float32)
        self._state = np.zeros((2, 1, 128), dtype=np.float32)
        self._waiting = b""
        self._threshold = threshold
        self._speech = False

    def is_speech(self, frame: bytes) -> bool:
        self._waiting += frame
        size = self._chunk_samples * 2
        while len(self._waiting) >= size:
            chunk, self._waiting = self._waiting[:size], self._waiting[size:]
            probability = self._score(chunk)
            self._speech = probability >= self._threshold - (self._HYSTERESIS if self._speech else 0.0)
        return self._speech

    def _score(self, chunk: bytes) -> float:
        fresh = np.frombuffer(chunk, dtype="<i2").astype(np.float32) / 32768
        samples = np.concatenate((self._context, fresh), dtype=np.float32)
        self._context = samples[-self._context_samples :]
        inputs = {"input": samples[np.newaxis], "state": self._state, "sr": self._rate}
        probability, self._state = self._session.run(None, inputs)
        return float(probability[0, 0])


@cache
def _load_session() -> onnxruntime.InferenceSession:
    """The network out of the silero-vad wheel, whose package is not imported because it wants torch.

    It keeps no state between runs, so all calls share it: loading takes 40 ms, in which no frame would leave.
    """
    spec = find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("the silero-vad package is not installed")
    model = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

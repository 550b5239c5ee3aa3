"""Asks a model, beside the call loop, whether what the caller said so far is complete."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

import structlog

from ai_engine.audio.format import FRAME_MS, SLIN16, AudioFormat
from ai_engine.audio.resample import Resampler

_KEPT_SECONDS = 8

log = structlog.get_logger(__name__)


class TurnJudge:
    """Keeps the caller's last 8 seconds of one call. One question at a time: the answer to one that another has
    followed is thrown away, and that other is asked."""

    def __init__(self, format: AudioFormat, model: Callable[[bytes], float], workers: Executor) -> None:
        """``model`` takes PCM at 16 kHz and gives 0 to 1, 1 for a complete turn; it is called in ``workers``."""
        self._format = format
        self._model = model
        self._workers = workers
        self._recent: deque[bytes] = deque(maxlen=_KEPT_SECONDS * 1000 // FRAME_MS)
        self.asking = False
        """Whether a question is open."""
        self._next: Callable[[float], None] | None = None

    def hear(self, pcm: bytes) -> None:
        """The next 20 ms."""
        self._recent.append(pcm)

    def ask(self, answer: Callable[[float], None]) -> None:
        """Call ``answer`` in the call loop when the model has judged; never, when it fails."""
        if self.asking:
            self._next = answer
            return
        self.asking = True
        asked = asyncio.get_running_loop().run_in_executor(self._workers, self._judge, b"".join(self._recent))
        asked.add_done_callback(lambda done: self._answered(done, answer))

    def _judge(self, pcm: bytes) -> float:
        return self._model(Resampler(self._format, SLIN16).process(pcm))

    def _answered(self, done: "asyncio.Future[float]", answer: Callable[[float], None]) -> None:
        self.asking = False
        if self._next is not None:
            following, self._next = self._next, None
            self.ask(following)
        elif not done.cancelled() and (error := done.exception()) is not None:
            log.warning("the turn model failed, silence decides", error=repr(error))
        elif not done.cancelled():
            answer(done.result())

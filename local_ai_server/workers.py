"""The processes that hear and speak."""

from collections.abc import Mapping
from pathlib import Path

from local_ai_server import worker
from local_ai_server.backends import Card
from local_ai_server.models import MODELS
from local_ai_server.processes import ProcessPool


class WorkerPool(ProcessPool):
    """``size`` workers, each with the same models."""

    cards: Mapping[str, Card]
    """What ``stt`` and ``tts`` became where they were loaded last."""

    def __init__(self, size: int, stt: str, tts: str, models: Path = MODELS, device: str = "auto") -> None:
        super().__init__("local-ai-worker", size, worker.run, stt, tts, models, device)

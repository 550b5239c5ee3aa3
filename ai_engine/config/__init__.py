"""The operator's settings: read once, checked once, handed down as values."""

from ai_engine.config.load import load
from ai_engine.config.model import EngineConfig

__all__ = ["EngineConfig", "load"]

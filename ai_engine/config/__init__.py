"""The operator's settings: read once, checked once, handed down as values."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ai_engine.config.engine_config import load
    from ai_engine.config.model import EngineConfig

__all__ = ["EngineConfig", "load"]

_HOMES = {"EngineConfig": "model", "load": "engine_config"}


def __getattr__(name: str) -> Any:
    # All providers are loaded with these two, which a program that reads one file of YAML has no use for.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

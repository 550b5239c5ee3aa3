"""Where everything meets: the only room that names concrete adapters."""

from ai_engine.app.calls import AgentMaker
from ai_engine.app.engine import App, ApplicationTaken, engine_version

__all__ = ["AgentMaker", "App", "ApplicationTaken", "engine_version"]

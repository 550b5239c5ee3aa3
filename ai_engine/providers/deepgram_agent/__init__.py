"""The agent served by Deepgram's Voice Agent API, version 1, through deepgram-sdk."""

from ai_engine.providers.deepgram_agent.agent import DeepgramAgent
from ai_engine.providers.deepgram_agent.settings import DeepgramAgentSettings

__all__ = ["DeepgramAgent", "DeepgramAgentSettings"]

"""The agent served by the OpenAI Realtime API, the GA version on a WebSocket."""

from ai_engine.providers.openai_realtime.agent import OpenAIRealtimeAgent
from ai_engine.providers.openai_realtime.settings import OpenAIRealtimeSettings

__all__ = ["OpenAIRealtimeAgent", "OpenAIRealtimeSettings"]

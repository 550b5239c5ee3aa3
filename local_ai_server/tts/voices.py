"""Which engine speaks for an agent."""

from local_ai_server.agent import Agent

_ENGLISH = {"flite": "slt", "kokoro": ""}
"""Voices of the engines that speak English where nothing more is said."""


def voice_of(agent: Agent, default_engine: str) -> tuple[str, str]:
    """``(engine, voice)``: a voice that is named wins; else the default engine, and espeak where it has no tongue.

    An empty voice is the engine's own choice. Piper's is the voice the operator named, whatever it speaks.
    """
    engine, colon, voice = agent.voice.partition(":")
    if colon:
        return engine, voice
    if agent.voice:
        return "flite", agent.voice
    language = agent.language.lower()
    if default_engine == "piper":
        return "piper", ""
    if default_engine in _ENGLISH and language.split("-")[0] == "en":
        return default_engine, _ENGLISH[default_engine]
    return "espeak", language

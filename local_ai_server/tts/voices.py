"""Which engine speaks for an agent."""

from local_ai_server.agent import Agent


def voice_of(agent: Agent, default_engine: str) -> tuple[str, str]:
    """``(engine, voice)``: a voice that is named wins; else the default engine, and espeak where it has no tongue."""
    engine, colon, voice = agent.voice.partition(":")
    if colon:
        return engine, voice
    if agent.voice:
        return "flite", agent.voice
    language = agent.language.lower()
    if default_engine == "flite" and language.split("-")[0] == "en":
        return "flite", "slt"
    return "espeak", language

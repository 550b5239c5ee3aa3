"""Messages of Deepgram's Voice Agent: what is sent, as the SDK's types have it, and how to read arguments."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from ai_engine.audio.format import SLIN8
from ai_engine.providers.deepgram_agent.settings import DeepgramAgentSettings
from ai_engine.session.ports import Briefing
from ai_engine.text.aside import aside

Message = dict[str, Any]

_ROLES = {"caller": "user", "agent": "assistant"}


def settings_message(settings: DeepgramAgentSettings, briefing: Briefing) -> Message:
    """Everything the session is to know; without a greeting, since nobody has asked for one yet."""
    sound = {"encoding": "mulaw", "sample_rate": SLIN8.rate}
    agent: Message = {
        "listen": {"provider": _listen(settings, briefing.language)},
        "think": _think(settings, briefing),
        "speak": {"provider": _speak(settings)},
    }
    if messages := _history(briefing):
        agent["context"] = {"messages": messages}
    return {
        "type": "Settings",
        "audio": {"input": sound, "output": {**sound, "container": "none"}},
        "agent": agent,
    }


def user_says(text: str) -> Message:
    """As if the caller had said it; it is answered."""
    return {"type": "InjectUserMessage", "content": text}


def agent_says(text: str, behavior: Literal["default", "interrupt"]) -> Message:
    """A sentence of the agent's, word for word. ``default`` is refused while anybody speaks."""
    return {"type": "InjectAgentMessage", "message": text, "behavior": behavior}


def more_prompt(text: str) -> Message:
    """Instructions that are added to those there are."""
    return {"type": "UpdatePrompt", "prompt": text}


def tool_result(id: str, name: str, result: Mapping[str, Any]) -> Message:
    return {"type": "FunctionCallResponse", "id": id, "name": name, "content": json.dumps(dict(result))}


def arguments(text: str) -> dict[str, Any]:
    """Those of a function call. Raises ValueError when they are no JSON object."""
    try:
        given = json.loads(text or "{}")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(given, dict):
        raise ValueError("it is no object")
    return given


def _listen(settings: DeepgramAgentSettings, language: str) -> Message:
    provider: Message = {"type": "deepgram", "version": "v1", "model": settings.listen_model}
    if settings.hears_meaning:
        provider["version"] = "v2"
        if settings.listen_model.endswith("-multi"):
            provider["language_hints"] = [_spoken(language)]
        for name in ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms"):
            if (value := getattr(settings, name)) is not None:
                provider[name] = value
    else:
        provider["language"] = _spoken(language)
    if settings.keyterms:
        provider["keyterms"] = list(settings.keyterms)
    return provider


def _spoken(language: str) -> str:
    """Most regions are not in the vendor's list (``de-DE``), while those of Chinese are languages."""
    primary = language.partition("-")[0]
    return language if primary == "zh" else primary


def _think(settings: DeepgramAgentSettings, briefing: Briefing) -> Message:
    provider: Message = {"type": settings.think_provider, "model": settings.think_model}
    if settings.temperature is not None:
        provider["temperature"] = settings.temperature
    think: Message = {"provider": provider, "prompt": _prompt(briefing)}
    if briefing.tools:
        # Without an endpoint it is ours to call.
        think["functions"] = [
            {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
            for tool in briefing.tools
        ]
    return think


def _speak(settings: DeepgramAgentSettings) -> Message:
    provider: Message = {"type": "deepgram", "model": settings.speak_model}
    if settings.speaks_flux:
        provider["version"] = "v2"
    return provider


def _prompt(briefing: Briefing) -> str:
    """With what tools did and operators said before this session, which the vendor's history has no plain place for."""
    done = [f"- {said.text}" for said in briefing.history if said.speaker == "tool"]
    if done:
        done = ["", "You have used tools in this call already, and this came of it:", *done]
    advice = [line for said in briefing.history if said.speaker == "operator" for line in ("", aside(said.text))]
    return "\n".join([briefing.prompt, *done, *advice])


def _history(briefing: Briefing) -> list[Message]:
    return [
        {"type": "History", "role": _ROLES[said.speaker], "content": said.text}
        for said in briefing.history
        if said.speaker in _ROLES
    ]

"""What an agent can do as things stand, and why it cannot do the rest: derived, never stored."""

from collections.abc import Iterator
from dataclasses import dataclass

from ai_engine.config import EngineConfig
from ai_engine.providers.openai_realtime import OpenAIRealtimeSettings
from ai_engine.switchboard.models import Capability, CapabilityName

NO_ASTERISK = "Asterisk is not connected: see `studio list`, and that it runs and lets this engine in"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the engine has beside its configuration."""

    asterisk_up: bool
    numbers: tuple[str, ...] = ()
    """Ours, that calls can be placed from."""
    routed: tuple[str, ...] = ()
    """Those of them that lead to the agent."""


def capabilities(config: EngineConfig, agent: str, standing: Standing) -> tuple[Capability, ...]:
    """All of them, present or not. Raises KeyError."""
    return tuple(
        Capability(name=name, present=not reason, reason=reason) for name, reason in _reasons(config, agent, standing)
    )


def _reasons(config: EngineConfig, agent: str, standing: Standing) -> Iterator[tuple[CapabilityName, str]]:
    """Each with the reason why not; empty where it is there."""
    yield "phone_call", _no_phone_call(config, standing)
    yield "inbound_call", _no_inbound_call(agent, standing)
    yield "web_session", "" if standing.asterisk_up else NO_ASTERISK
    yield "barge_in", _no_barge_in(config)
    tools = config.tools_of(agent)
    yield "tools", "" if tools else "its `tools` is an empty list: name some, or take the key away for the engine's own"
    yield "transcript", _no_transcript(config, agent)
    heard = "it hears what callers press, but presses nothing itself: add send_dtmf to its `tools`"
    yield "dtmf", "" if "send_dtmf" in tools else heard
    yield "recording", "" if config.recording.enabled else "recording.enabled is false in the configuration"


def _no_phone_call(config: EngineConfig, standing: Standing) -> str:
    desk = config.call_agent
    if desk is None or not desk.enabled:
        return "the engine places no calls: its configuration needs `call_agent`"
    if desk.telephony.provider != "asterisk":
        return ""  # Twilio has numbers of its own, and the mock needs none
    if not standing.numbers and not desk.asterisk.trunks:
        return "there is no number to call from: `studio number import`"
    return "" if standing.asterisk_up else NO_ASTERISK


def _no_inbound_call(agent: str, standing: Standing) -> str:
    if not standing.routed:
        return f"no number leads to it: `studio number import … --inbound-agent {agent}`"
    return "" if standing.asterisk_up else NO_ASTERISK


def _no_barge_in(config: EngineConfig) -> str:
    if config.downstream_mode != "stream":
        return "downstream_mode is `file`, where a sentence that plays is played to its end: set it to `stream`"
    return "" if config.barge_in.enabled else "barge_in.enabled is false in the configuration"


def _no_transcript(config: EngineConfig, agent: str) -> str:
    provider = config.providers_of(agent)[0]
    settings = config.provider_settings(provider)
    if isinstance(settings, OpenAIRealtimeSettings) and settings.transcription is None:
        return f"`transcription` of the provider {provider} is null: what callers say is not written down"
    return ""

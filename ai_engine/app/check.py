"""Tries every provider as a call would, and says how quick it was or what is wrong with it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from ai_engine.app.advice import next_step, printable
from ai_engine.app.calls import AgentMaker
from ai_engine.app.check_caller import CheckCaller
from ai_engine.app.check_reply import Reply
from ai_engine.app.check_voice import Sentence
from ai_engine.app.openings import agent_for, briefing_for, opened
from ai_engine.app.tools import CallTools
from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.config import EngineConfig
from ai_engine.config.adapters import fitting, session_settings
from ai_engine.config.providers import make_agent
from ai_engine.errors import ProviderError
from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import Agent

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is said to each provider."""

    typed: str = "Hello, can you hear me?"
    """After the greeting; nothing when it is empty."""
    spoken: Sentence | None = None
    """After that."""
    seconds: float = 10.0
    """How long opening the session, and waiting for sound, may take."""


@dataclass(slots=True)
class Outcome:
    """What came of trying one provider."""

    provider: str
    type: str
    agent: str
    """The agent it was briefed for."""
    connect_ms: float | None = None
    """Until the session was open."""
    replies: dict[str, Reply] = field(default_factory=dict)
    """To ``greeting``, ``typed``, ``spoken``."""
    patience_seconds: float = 0.0
    """How much longer than usual a call waits for its reply to a spoken turn."""
    units: dict[str, float] = field(default_factory=dict)
    """What the provider counted, and may bill."""
    stage: str = "connect"
    """Where it failed, or the last one."""
    problem: str = ""
    """Empty when all is well."""
    next_step: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "provider": self.provider,
            "type": self.type,
            "agent": self.agent,
            "ok": self.ok,
            "connect_ms": self.connect_ms,
            **{stage: reply.plain() for stage, reply in self.replies.items()},
            "units": self.units,
            **({} if self.ok else {"stage": self.stage, "problem": self.problem, "next_step": self.next_step}),
        }


def providers_in_use(config: EngineConfig) -> list[str]:
    """Those that calls may come to, each once."""
    return list(dict.fromkeys(name for agent in config.agents for name in config.providers_of(agent)))


async def check_providers(
    config: EngineConfig,
    names: Iterable[str],
    trial: Trial,
    agents: Mapping[str, AgentMaker] | None = None,
) -> list[Outcome]:
    """Try the providers ``names`` all at once. ``agents`` by the name of their provider, in place of our own."""
    return await asyncio.gather(*(_check(config, name, trial, (agents or {}).get(name)) for name in names))


async def _check(config: EngineConfig, name: str, trial: Trial, maker: AgentMaker | None) -> Outcome:
    settings = config.provider_settings(name)
    line = SLIN16 if config.streaming.sample_rate_hz == SLIN16.rate else SLIN8
    fitted = fitting(config, line, SharedHttp())
    outcome = Outcome(name, str(getattr(settings, "type", "")), agent_for(config, name))
    make: Callable[[], Agent] = (lambda: make_agent(name, settings, fitted)) if maker is None else (lambda: maker(line))
    try:
        await _try(config, make, trial, outcome)
        _judge(config, outcome)
    except ProviderError as error:
        outcome.problem = printable(config, name, str(error))
        outcome.next_step = next_step(config, name, outcome.agent, error)
    except Exception as error:  # noqa: BLE001 - the edge of one provider: what breaks it must not hide the others
        log.exception("check failed", provider=name)
        outcome.problem = f"the check itself failed with {type(error).__name__}"
        outcome.next_step = "this is a mistake in Offhook: please report it, with what stands above"
    finally:
        await fitted.http.close()
    return outcome


async def _try(config: EngineConfig, make: Callable[[], Agent], trial: Trial, outcome: Outcome) -> None:
    """Fill ``outcome`` as far as it goes. Raises ProviderError."""
    briefing = briefing_for(
        config, outcome.provider, f"check-{outcome.provider}", CallTools(config).toolbox(outcome.agent).specs
    )
    began = time.monotonic()
    async with opened(make, briefing, trial.seconds) as agent:
        outcome.connect_ms = round((time.monotonic() - began) * 1000, 1)
        outcome.patience_seconds = agent.patience_seconds
        caller = CheckCaller(agent, trial.seconds)
        outcome.units = caller.units
        async with caller.on_the_line():
            outcome.stage = "greeting"
            outcome.replies["greeting"] = await caller.greeted()
            if trial.typed:
                outcome.stage = "typed"
                outcome.replies["typed"] = await caller.type(trial.typed)
            if trial.spoken is not None:
                outcome.stage = "spoken"
                outcome.replies["spoken"] = await caller.say(trial.spoken.frames(agent.input_format))


def _judge(config: EngineConfig, outcome: Outcome) -> None:
    """What works, but so slowly that a call would not wait for it, is wrong, too."""
    settings = session_settings(config)
    waits = [("connect", outcome.connect_ms or 0.0, settings.provider_start_seconds, "provider_start_ms")]
    for stage, reply in outcome.replies.items():
        patience_seconds = outcome.patience_seconds if stage == "spoken" else 0.0
        waits.append((stage, reply.first_audio_ms or 0.0, settings.reply_seconds + patience_seconds, "reply_ms"))
    for stage, ms, seconds, setting in waits:
        if ms > seconds * 1000:
            outcome.stage = stage
            outcome.problem = (
                f"it works, but took {ms:.0f} ms, and a call goes to the next after {seconds * 1000:.0f} ms"
            )
            outcome.next_step = f"find out what is slow, or raise streaming.timeouts.{setting}"
            return

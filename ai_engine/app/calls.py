"""Builds the session of each call from what the configuration says and what this Asterisk can do."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from ai_engine.app.advice import printable
from ai_engine.app.live_config import LiveConfig
from ai_engine.app.openings import agent_for, briefing_for
from ai_engine.app.sound import Sound
from ai_engine.app.tool_set import ToolSet
from ai_engine.app.tools import CallTools
from ai_engine.ari.call_control import AriCallControl
from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.speech import make_scorer
from ai_engine.audio.vad import VoiceActivity
from ai_engine.config import EngineConfig
from ai_engine.config.adapters import fitting, session_settings, session_settings_of
from ai_engine.config.call_agent import OPENAI_PROVIDER, has_openai
from ai_engine.config.providers import keys_of, make_agent
from ai_engine.errors import AsteriskError, ConfigError
from ai_engine.jobs.ports import Assignment
from ai_engine.session.call_session import CallSession
from ai_engine.session.media_path import Downstream, Way
from ai_engine.session.ports import Agent, Briefing, CallControl, Observer
from ai_engine.session.prompts import load_prompts
from ai_engine.session.roster import Breaker, Candidate
from ai_engine.session.settings import SessionSettings
from ai_engine.session.turn_judge import TurnJudge
from ai_engine.tools.template import fill_known
from ai_engine.transports.dialplan import DialplanCall
from ai_engine.transports.media_stream import MediaStreamCall
from ai_engine.trunks.number import SipNumber

if TYPE_CHECKING:
    from ai_engine.app.outbound import Outbound

log = structlog.get_logger(__name__)

AgentMaker = Callable[[AudioFormat], Agent]
"""Makes the agent of one call, whose line has the given format."""


_FOLLOW_SECONDS = 2.0
_LOOK_SECONDS = 2.0
"""A caller waits no longer for a disk."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a call is made of that the agents' files may change; it keeps that until its end."""

    config: EngineConfig
    tools: ToolSet
    breakers: Mapping[str, Breaker]
    """Of each provider in use, by name."""

    def has(self, provider: str, config: EngineConfig) -> bool:
        """Whether ``provider`` is in use, and as in ``config``, with the same keys."""
        settings, keys, others = config.provider_settings(provider), self.config.secrets.keys, config.secrets.keys
        return (
            provider in self.breakers
            and self.config.provider_settings(provider) == settings
            and all(keys.get(name) == others.get(name) for name in keys_of(settings))
        )


class CallFactory:
    """Makes sessions. What cannot be loaded is found out here, before the first call."""

    def __init__(
        self,
        live: LiveConfig,
        sound: Sound,
        observers: Sequence[Observer],
        agents: Mapping[str, AgentMaker] | None = None,
        outbound: "Outbound | None" = None,
    ) -> None:
        """``agents`` by the name of their provider, in place of our own; ``outbound`` where the engine places calls,
        too. Raises ConfigError."""
        self._live = live
        self._config = config = live.base
        self._sound = sound
        self._outbound = outbound
        self.tools = CallTools(live.now, outbound)
        self._observers = observers
        self._agents = agents or {}
        self._first_out = [OPENAI_PROVIDER] if has_openai(config.call_agent) else []
        """Who runs the agents of calls that we placed, before their own providers."""
        self.now = Snapshot(live.now, self.tools.now, self._breakers(live.now))
        """What a call that begins now gets."""
        self._turn = asyncio.Lock()
        self.changed: Callable[[], None] = lambda: None
        """Called whenever ``now`` is another one."""
        self.settings = session_settings(config)
        self._prompts = {format: load_prompts(format) for format in (SLIN8, SLIN16)}
        self._workers = ThreadPoolExecutor(1, "turn-model")
        self._judge_turn = self._load_turn_model()
        for format in self._prompts:
            self._try_ear(format)

    async def refresh(self) -> "Snapshot":
        """``now``, once the agents' files have been looked at."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                config = await self._live.refresh()
            if config is not self.now.config:
                await self._renew()
        except TimeoutError:
            log.error("agents' files take too long to be looked at, calls go on with those before")
        except Exception:  # noqa: BLE001 - whatever a file does, it must not keep a call from being held
            log.exception("agents' files cannot be taken in, calls go on with those before")
        return self.now

    async def _renew(self) -> None:
        async with self._turn:
            config = self._live.now
            if config is not self.now.config:
                # What a new MCP server needs is read in a thread: it takes as long as a frame of sound.
                tools = await asyncio.to_thread(self.tools.prepare, config)
                self.tools.adopt(tools)
                self.now = Snapshot(config, tools, self._breakers(config, self.now))
                self.changed()

    async def follow(self, seconds: float = _FOLLOW_SECONDS) -> None:
        """Look at the files every few ``seconds``, until cancelled: a new MCP server is there before its first call."""
        while self._live.folder is not None:
            await asyncio.sleep(seconds)
            await self.refresh()

    def _breakers(self, config: EngineConfig, before: "Snapshot | None" = None) -> dict[str, Breaker]:
        """Of each provider in use, by name; one that is as it was has the same as ``before``."""
        used = dict.fromkeys(name for agent in config.agents for name in config.providers_of(agent))
        return {
            name: before.breakers[name] if before is not None and before.has(name, config) else Breaker()
            for name in (*used, *self._first_out)
        }

    async def make(self, control: CallControl) -> CallSession:
        """The session that will hold ``control``'s call. Raises AsteriskError when it cannot be held."""
        now = await self.refresh()
        with now.tools.held():
            return await self._make(control, now)

    async def _make(self, control: CallControl, now: "Snapshot") -> CallSession:
        config = now.config
        number = self._number_called(control)
        errand = control.assignment or await self._called_before(control.caller_number)
        own = number and number.inbound_agent
        name = errand.agent if errand else control.variables.get("agent", own or config.default_agent)
        if name not in config.agents:
            raise AsteriskError(f"agent {name!r} is asked for, and there is no such agent")
        if isinstance(control, DialplanCall | MediaStreamCall):
            ways, format, call_id = [Way(control.transport, Downstream.STREAM)], control.format, control.channel_id
        else:
            assert isinstance(control, AriCallControl)
            ways, call_id = self._sound.ways(), attempt_key(control.assignment) or str(uuid4())
            format = await self._format(control, ways)
        dialled = number.number if number else control.variables.get("did") or control.dialled
        facts = {"agent": name, "call_id": call_id, "caller": control.caller_number, "dialled": dialled}
        found = await now.tools.find_out(name, facts) | (dict(errand.facts) if errand else {})
        found |= {"did": number.number} if number else {}
        toolbox = now.tools.toolbox(name, errand.tools if errand else ())
        said = facts | found
        settings = session_settings_of(config, name)
        return CallSession(
            control=control,
            ways=ways,
            format=format,
            candidates=[self._candidate(now, provider, format) for provider in self._providers(config, name, errand)],
            briefing=Briefing(
                call_id=call_id,
                agent=config.agent(name) | _own_voice(errand),
                greeting=_greeting(errand, fill_known(config.greeting(name), said)),
                prompt="\n".join([fill_known(config.prompt(name), said), *([errand.instructions] if errand else [])]),
                caller_number=control.caller_number,
                dialled=dialled,
                tools=toolbox.specs,
                facts=found,
            ),
            tools=toolbox,
            observers=(*self._observers, *now.tools.observers),
            prompts=self._prompts[format],
            ear=self._ear(format, settings),
            settings=settings,
            clock=time.monotonic,
            store=self._sound.store,
            judge=self._judge(format),
            max_seconds=errand.max_seconds if errand else None,
            message=errand.message if errand and errand.machine else "",
        )

    def _number_called(self, control: CallControl) -> SipNumber | None:
        if self._outbound is None or control.assignment is not None or "agent" in control.variables:
            return None
        return self._outbound.called(control.variables)

    async def _called_before(self, number: str) -> Assignment | None:
        return None if self._outbound is None else await self._outbound.callback(number)

    def _providers(self, config: EngineConfig, agent: str, errand: Assignment | None) -> Iterable[str]:
        return dict.fromkeys(
            (*(self._first_out if errand and not errand.own_words else ()), *config.providers_of(agent))
        )

    def probed(self) -> list[Candidate]:
        """Every provider in use, to be tried with no call."""
        return [self._candidate(self.now, provider, SLIN8) for provider in self.now.breakers]

    def probe_briefing(self, provider: str) -> Briefing:
        """What ``provider`` is told when it is tried."""
        config = self.now.config
        return briefing_for(config, provider, "probe", self.tools.toolbox(agent_for(config, provider)).specs)

    def printable(self, provider: str, text: str) -> str:
        """As ``advice.printable``; empty for a provider that is no more."""
        try:
            return printable(self.now.config, provider, text)
        except KeyError:
            return ""

    def close(self) -> None:
        """End the threads. No call may be left."""
        self._workers.shutdown()
        self._live.close()

    async def _format(self, control: AriCallControl, ways: Sequence[Way]) -> AudioFormat:
        """16 kHz for a caller who has it and a leg that can carry it; a caller who is gone will be noticed later."""
        wanted = self._config.streaming.sample_rate_hz
        if wanted == 8000 or not ways:
            return SLIN8
        if not self._sound.wideband(ways[0]):
            if wanted == 16000:
                log.warning("this way carries 8000 Hz only", way=str(ways[0]), sample_rate_hz=wanted)
            return SLIN8
        return SLIN16 if wanted == 16000 or await control.wideband() else SLIN8

    def _candidate(self, now: "Snapshot", provider: str, format: AudioFormat) -> Candidate:
        maker = self._agents.get(provider, partial(self._make_agent, now.config, provider))
        return Candidate(provider, partial(maker, format), now.breakers[provider])

    def _make_agent(self, config: EngineConfig, provider: str, format: AudioFormat) -> Agent:
        return make_agent(provider, config.provider_settings(provider), fitting(config, format, self.tools.http))

    def _ear(self, format: AudioFormat, settings: SessionSettings) -> VoiceActivity:
        return VoiceActivity(format, settings.vad, make_scorer(format, settings.vad))

    def _try_ear(self, format: AudioFormat) -> None:
        try:
            self._ear(format, self.settings)
        except ValueError as error:
            raise ConfigError(f"vad: {error}") from error

    def _load_turn_model(self) -> Callable[[bytes], float] | None:
        path = self._config.vad.turn_model
        if path is None:
            return None
        # 30 MB that nobody should pay for who has no such model.
        from ai_engine.audio.turn_model import TurnModel  # noqa: PLC0415

        return TurnModel(path).complete

    def _judge(self, format: AudioFormat) -> TurnJudge | None:
        return None if self._judge_turn is None else TurnJudge(format, self._judge_turn, self._workers)


def attempt_key(errand: Assignment | None) -> str:
    """As ``Attempt.key``; empty for a call that we did not place."""
    return f"{errand.call_id}-{errand.attempt}" if errand else ""


def _greeting(errand: Assignment | None, own: str) -> str:
    """That of an errand is complete: what somebody wrote into a request fills no places."""
    if errand is None or errand.own_words:
        return " ".join(part for part in ((errand and errand.greeting), own) if part)
    return errand.greeting or own


def _own_voice(errand: Assignment | None) -> dict[str, str]:
    """What a call of our own asks for in place of the agent's own settings."""
    given = {"language": errand.language, "voice": errand.voice} if errand else {}
    return {name: value for name, value in given.items() if value}

"""What ``config/ai-agent.yaml`` may say, section by section, with units, ranges and defaults."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from ai_engine.config import call_agent as outbound
from ai_engine.config.agents import AgentSection
from ai_engine.config.providers import AGENTS, Pipelines, Providers, keys_of
from ai_engine.config.sound import (
    AudioSocketSection,
    BargeIn,
    LegacySection,
    MediaSection,
    Streaming,
    VadSection,
    WebSocketSection,
)
from ai_engine.config.tools import ToolsSection
from ai_engine.config.yaml_lines import Place as Place
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.settings import Host, HttpUrl, ListenPort, Port, Seconds, Section, Word
from ai_engine.switchboard.settings import StudioSettings


class Human(Section):
    """The person behind the agent: a place in the dialplan."""

    context: Word = "offhook"
    """Dialplan context."""
    extension: Word = "human"
    """Extension in that context; priority 1 is used."""
    digit: Annotated[str, Field(pattern=r"^[0-9*#A-D]?$")] = "0"
    """The key that reaches a human at any time; an empty text for none."""


class AsteriskSection(Section):
    """How Asterisk is reached. User name and password come from the environment or `.env` only."""

    host: Host = "127.0.0.1"
    """Host name or address of Asterisk's HTTP server."""
    ari_port: Port = 8088
    """Port of Asterisk's HTTP server."""
    ari_url: HttpUrl | None = None
    """Instead of `host` and `ari_port`, for https or a path: `https://pbx.example/asterisk`."""
    app_name: Word = "asterisk-ai-voice-agent"
    """The Stasis application, as the dialplan names it."""
    request_seconds: Seconds = 5.0
    """How long one ARI request may take."""
    heartbeat_seconds: Seconds = 10.0
    """How often the ARI event connection is tried with a ping; a link that does not answer is replaced."""
    dead_man_seconds: Annotated[int, Field(ge=3, le=600)] = 15
    """Asterisk sends a caller to the human when it has not heard of the engine for so long."""
    human: Human = Human()


class Llm(Section):
    """Words for agents that bring none of their own."""

    initial_greeting: str = "Hello, I am an automated assistant. How can I help you?"
    """The first words."""
    prompt: str = ""
    """Instructions for models that read them; the `intents` dialog of the local server does not."""


class NoInput(Section):
    """What happens when nobody speaks."""

    seconds: Seconds = 10.0
    """Quiet after which the agent breaks the silence."""
    limit: Annotated[int, Field(ge=0, le=100)] = 3
    """After so many nudges in a row the call ends."""


class Health(Section):
    """The HTTP server for `/live`, `/ready` and `/health`."""

    host: Host = "127.0.0.1"
    """Address to listen on."""
    port: ListenPort = 15000
    """TCP port to listen on; 0 takes any free one."""
    probe_seconds: Annotated[float, Field(ge=0, le=3600)] = 15.0
    """How often a session is opened with a provider that is left alone after failures, to see whether it is back. Every
    provider is tried once at the start, too. 0 tries nothing."""


class Recording(Section):
    """A folder per call: stereo WAV, transcript, events, latencies."""

    enabled: bool = True
    """False keeps nothing."""
    directory: Annotated[Path, Field(strict=False)] = Path("var/calls")
    """Where the folders are made; relative to the working directory."""


class Logging(Section):
    """What the engine writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important line that is written."""
    format: Literal["console", "json"] = "console"
    """`console` for people, `json` for machines: one object per line."""


class ConfigFile(Section):
    """Settings of the Offhook voice engine."""

    default_provider: Word = "local"
    """Who runs an agent that names no provider: a name below `providers`, or the type of one."""
    fallback_providers: tuple[Word, ...] = ()
    """Who takes over, in this order, when a provider fails; agents may have their own."""
    default_agent: str
    """Who answers when the dialplan names nobody."""
    audio_transport: Literal["audiosocket", "websocket", "legacy", "auto"] = "audiosocket"
    """How sound travels; where it fails the others are tried, `legacy` (RTP) last. `auto`: the best Asterisk has."""
    downstream_mode: Literal["file", "stream"] = "file"
    """How the agent's voice reaches Asterisk: frame by frame, or as files it plays. Absent means `file`."""
    asterisk: AsteriskSection = AsteriskSection()
    audiosocket: AudioSocketSection = AudioSocketSection()
    websocket: WebSocketSection = WebSocketSection()
    legacy: LegacySection = LegacySection()
    streaming: Streaming = Streaming()
    barge_in: BargeIn = BargeIn()
    vad: VadSection = VadSection()
    llm: Llm = Llm()
    agents: Annotated[Mapping[Word, AgentSection], Field(min_length=1)]
    """The agents by name; the dialplan chooses one with `Stasis(app,agent=NAME)`."""
    providers: Providers = {}
    """The AIs an agent can be run by, by name. A name that is no type needs a `type`."""
    pipelines: Pipelines = {}
    """Mixes of speech to text, language model and text to speech, by name; agents use them like providers."""
    tools: ToolsSection = ToolsSection()
    no_input: NoInput = NoInput()
    health: Health = Health()
    recording: Recording = Recording()
    media: MediaSection = MediaSection()
    logging: Logging = Logging()
    call_agent: CallAgentSettings | None = None
    """Calls that the engine places, and appointments it makes; absent: there are none."""
    studio: StudioSettings | None = None
    """Numbers, agents and calls, looked after with `studio`; absent: there is none of that. Needs `call_agent`."""

    def contradictions(self) -> Iterator[tuple[Place, str]]:
        """Values that are right alone and wrong together: where, and what to do."""
        if self.default_agent not in self.agents:
            yield ("default_agent",), f"there is no agent {self.default_agent!r} below agents"
        for name, agent in self.agents.items():
            yield from self.strangers((agent.provider,) if agent.provider else (), ("agents", name, "provider"))
            yield from self.strangers(agent.fallback_providers or (), ("agents", name, "fallback_providers"))
            yield from (
                (("agents", name, *place), why) for place, why in agent.contradictions(name, partial(self._lacks, name))
            )
            for index, tool in enumerate(agent.tools or ()):
                if (why := self.tools.stranger(tool, calls=self.call_agent is not None)) is not None:
                    yield ("agents", name, "tools", index), why
            for why in self.tools.unfound(self.tools_of(name), (self.greeting(name), self.prompt(name))):
                yield ("agents", name), why
        yield from self.tools.contradictions(calls=self.call_agent is not None)
        yield from self._call_agent_contradictions()
        yield from self._studio_contradictions()
        for name in self.pipelines:
            if name in self.providers or name in AGENTS:
                yield ("pipelines", name), f"there is a provider {name!r} too: one of them needs another name"
        yield from self.strangers((self.default_provider,), ("default_provider",))
        yield from self.strangers(self.fallback_providers, ("fallback_providers",))
        legacy = self.legacy
        for name, door, comes in (("audiosocket", self.audiosocket, "connect"), ("legacy", legacy, "send")):
            if door.host in ("0.0.0.0", "::") and door.advertise is None:
                yield (name, "advertise"), f"needed, since Asterisk cannot {comes} to {door.host}"
            if not door.allowed_peers:
                yield (name, "allowed_peers"), "an empty list lets nobody in; name the address of Asterisk"
        if legacy.port_max <= legacy.port_min:
            yield ("legacy", "port_max"), f"must be more than port_min, {legacy.port_min}"
        vad = self.vad
        if not vad.end_silence_min_ms <= vad.end_silence_ms <= vad.end_silence_max_ms:
            yield ("vad", "end_silence_ms"), "must lie between end_silence_min_ms and end_silence_max_ms"
        if vad.max_turn_ms < vad.end_silence_max_ms:
            yield ("vad", "max_turn_ms"), "must not be less than end_silence_max_ms"
        if self.barge_in.confirm_ms < max(self.barge_in.min_ms, self.barge_in.word_ms):
            yield ("barge_in", "confirm_ms"), "must not be less than min_ms and word_ms"
        if self.streaming.jitter_buffer_max_ms < max(self.streaming.jitter_buffer_ms, self.streaming.low_water_ms):
            yield ("streaming", "jitter_buffer_max_ms"), "must not be less than jitter_buffer_ms and low_water_ms"
        if self.asterisk.dead_man_seconds < self.asterisk.request_seconds * 3 / 2 + 2:
            yield (
                ("asterisk", "dead_man_seconds"),
                "must be more than one and a half times request_seconds, and 2 s: one slow request would end a call",
            )

    def _studio_contradictions(self) -> Iterator[tuple[Place, str]]:
        if self.studio is not None and (self.call_agent is None or not self.call_agent.enabled):
            yield ("studio",), "needs a `call_agent` section, whose HTTP server and rules it shares"

    def _call_agent_contradictions(self) -> Iterator[tuple[Place, str]]:
        if self.call_agent is None:
            return
        for place, why in outbound.contradictions(self.call_agent, numbers=self.studio is not None):
            yield ("call_agent", *place), why
        if (agent := self.call_agent.agent) is not None and agent not in self.agents:
            yield ("call_agent", "agent"), f"there is no agent {agent!r} below agents"
        for kind in ("providers", "pipelines"):
            if outbound.OPENAI_PROVIDER in getattr(self, kind):
                yield (kind, outbound.OPENAI_PROVIDER), "is the name of call_agent.openai; choose another one"

    def warnings(self) -> Iterator[tuple[Place, str]]:
        """What works, but hardly as it was meant: where, and what to do."""
        for place, why in self.call_agent.warnings() if self.call_agent else ():
            yield ("call_agent", *place), why

    def secrets_missing(self) -> Iterator[tuple[str, Place]]:
        """Environment variables that are needed beside those of ``keys_needed``, and who needs each."""
        for name, place in outbound.missing_secrets(self.call_agent) if self.call_agent else ():
            yield name, ("call_agent", *place)

    def own_keys(self) -> Mapping[str, SecretStr]:
        """Keys of providers that no environment variable holds."""
        if self.call_agent is None or not outbound.has_openai(self.call_agent):
            return {}
        return {outbound.OPENAI_KEY: self.call_agent.openai.api_key}

    def provider_settings(self, name: str) -> Section:
        """What the file says of a provider, or the defaults of its type. Raises KeyError."""
        if name == outbound.OPENAI_PROVIDER and (openai := outbound.openai_provider(self.call_agent)) is not None:
            return openai
        named = self.providers.get(name) or self.pipelines.get(name)
        return AGENTS[name].settings() if named is None else named

    def providers_of(self, agent: str) -> tuple[str, ...]:
        """Who may run ``agent``, the preferred one first. Raises KeyError."""
        section = self.agents[agent]
        fallbacks = self.fallback_providers if section.fallback_providers is None else section.fallback_providers
        return tuple(dict.fromkeys((section.provider or self.default_provider, *fallbacks)))

    def tools_of(self, agent: str) -> tuple[str, ...]:
        """The tools ``agent`` may use, `NAME.*` for all of an MCP server. Raises KeyError."""
        named = self.agents[agent].tools
        return self.tools.own if named is None else tuple(dict.fromkeys(named))

    def _lacks(self, agent: str, tool: str) -> str | None:
        if self.tools.offers(self.tools_of(agent), tool):
            return None
        why = self.tools.stranger(tool, calls=self.call_agent is not None)
        return f"needs {tool} below agents.{agent}.tools" if why is None else why

    def greeting(self, agent: str) -> str:
        """The first words of ``agent``. Raises KeyError."""
        own = self.agents[agent].greeting
        return self.llm.initial_greeting if own is None else own

    def prompt(self, agent: str) -> str:
        """The instructions of ``agent``. Raises KeyError."""
        own = self.agents[agent].prompt
        return self.llm.prompt if own is None else own

    def keys_needed(self, also: Iterable[str] = ()) -> Mapping[str, Place]:
        """The environment variables with the secrets of all providers and tools in use, and who needs each.

        ``also``: providers that are used beside those of the agents. Raises KeyError.
        """
        used = dict.fromkeys((*(name for agent in self.agents for name in self.providers_of(agent)), *also))
        tools = (need for agent in self.agents for need in self.tools.secrets(self.tools_of(agent)))
        return {
            key: ("pipelines" if name in self.pipelines else "providers", name)
            for name in used
            for key in keys_of(self.provider_settings(name))
            if key != outbound.OPENAI_KEY
        } | dict(tools)

    def strangers(self, names: Iterable[str], place: Place = ()) -> Iterator[tuple[Place, str]]:
        """The names that are no provider's: where they stand, and what is wrong."""
        own = (outbound.OPENAI_PROVIDER,) if outbound.has_openai(self.call_agent) else ()
        known = dict.fromkeys((*self.providers, *self.pipelines, *AGENTS, *own))
        for name in names:
            if name not in known:
                yield place, f"there is no provider {name!r} (known: {', '.join(known)})"


class Secrets(Section):
    """What must not stand in a file that is shared."""

    ari_username: Annotated[str, Field(min_length=1)]
    ari_password: SecretStr
    keys: Mapping[str, SecretStr] = {}
    """Of the providers, by the name of their variable."""
    files: Mapping[str, Path] = {}
    """Where those of ``keys`` stand that stand in an agent's file."""
    given: Mapping[str, SecretStr] = {}
    """Everything that was given, where agents' files may need more of it than the file does."""


class EngineConfig(ConfigFile):
    """Everything the engine is told once, at its start: the file, the overrides, and the secrets."""

    secrets: Secrets
    source: Annotated[Path, Field(exclude=True)] = Path()
    """The file."""

    def agent(self, name: str) -> dict[str, Any]:
        """The agent as plain data for a briefing (JSON types only). Raises KeyError."""
        return self.agents[name].plain(name)

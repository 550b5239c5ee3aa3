"""What ``config/ai-agent.yaml`` may say, section by section, with units, ranges and defaults."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator
from yarl import URL

from ai_engine.config.agents import AgentSection, Section

Place = tuple[str | int, ...]
"""Where a value stands: the keys and list positions that lead to it."""


def _network(text: str) -> str:
    ip_network(text)
    return text


def _host(text: str) -> str:
    if ":" in text:
        try:
            IPv6Address(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no IPv6 address; a port has a key of its own") from error
    return text


def _server(text: str) -> str:
    if not URL(text).host:  # a port that is none is a ValueError by itself
        raise ValueError(f"{text!r} names no host")
    return text


def _base(text: str) -> str:
    if "?" in text or "#" in text:
        raise ValueError(f"{text!r} must not have a query or a fragment, since paths are added to it")
    return text


Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+$"), AfterValidator(_host)]
Address = Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/\S*)?$"), AfterValidator(_server), AfterValidator(_base)]
WebSocketUrl = Annotated[str, Field(pattern=r"^wss?://[^\s/@]+(/\S*)?$"), AfterValidator(_server)]
Network = Annotated[str, AfterValidator(_network)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Milliseconds = Annotated[int, Field(gt=0, le=600_000)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]


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


class AudioSocketSection(Section):
    """Where Asterisk's media connections arrive."""

    host: Host = "127.0.0.1"
    """Address to listen on."""
    port: ListenPort = 8090
    """TCP port to listen on; 0 takes any free one."""
    advertise: Address | None = None
    """`host:port` that Asterisk is told to connect to; absent means `host` and `port`."""
    allowed_peers: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    """Addresses or networks (`10.0.0.0/8`) that may connect."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Connections at the same time; more are refused."""
    handshake_seconds: Seconds = 2.0
    """How long a connection may take to tell its UUID."""


class Timeouts(Section):
    """How long the parts of a call may take, in milliseconds."""

    connect_ms: Milliseconds = 3000
    """From the answer until Asterisk has connected the media leg."""
    provider_start_ms: Milliseconds = 1500
    """Until the provider's session is open; the caller hears silence meanwhile."""
    reply_ms: Milliseconds = 4000
    """From the end of the caller's turn to the provider's reply; then the caller is handed to a human."""
    last_words_ms: Milliseconds = 30_000
    """The longest a goodbye or a rescue prompt may keep the caller."""


class Streaming(Section):
    """The sound between Asterisk and the engine."""

    sample_rate_hz: int = 8000
    """8000 (`slin`) or 16000 (`slin16`, needs an Asterisk whose AudioSocket carries it)."""
    chunk_duration_ms: int = 20
    """Length of one frame; this version does 20."""
    jitter_buffer_ms: Annotated[int, Field(ge=0, le=2000)] = 60
    """Sound of a reply gathered before it begins to play."""
    keepalive_ms: Annotated[int, Field(ge=1000, le=120_000)] = 10_000
    """How often a provider's connection is tried with a ping."""
    timeouts: Timeouts = Timeouts()

    @field_validator("sample_rate_hz")
    @classmethod
    def _rate(cls, hz: int) -> int:
        if hz not in (8000, 16000):
            raise ValueError(f"this version does not do {hz} Hz; write 8000 or 16000")
        return hz

    @field_validator("chunk_duration_ms")
    @classmethod
    def _chunk(cls, ms: int) -> int:
        if ms != 20:
            raise ValueError(f"frames of {ms} ms come with a later version; write 20")
        return ms


class BargeIn(Section):
    """Whether and how fast a caller can interrupt the agent."""

    enabled: bool = True
    """False lets every reply play to its end."""
    min_ms: Annotated[int, Field(ge=40, le=500)] = 100
    """Speech needed to interrupt, with hardly a gap in it; less is a cough."""
    margin_db: Annotated[float, Field(ge=0, le=40)] = 10.0
    """How far speech must stand above the noise to interrupt, in dB; the agent's own echo should not."""


class VadSection(Section):
    """How the engine hears when the caller speaks."""

    detector: Literal["webrtc", "silero"] = "webrtc"
    """`webrtc` costs next to nothing; `silero` is a small neural network, better in noise."""
    aggressiveness: Annotated[int, Field(ge=0, le=3)] = 3
    """webrtc only, 0 to 3: 3 takes the least for speech; lower ones hear speech in ordinary line noise."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """silero only: the probability that counts as speech."""
    margin_db: Annotated[float, Field(ge=0, le=40)] = 8.0
    """How far speech must stand above the noise of the line, in dB."""
    start_ms: Annotated[int, Field(ge=20, le=500)] = 60
    """Speech needed to open a turn while the agent is silent, with hardly a gap in it."""
    end_silence_ms: Annotated[int, Field(ge=100, le=5000)] = 500
    """Quiet that ends a turn."""
    max_turn_ms: Annotated[int, Field(ge=1000, le=120_000)] = 15_000
    """A turn longer than this is ended anyway."""
    preroll_ms: Annotated[int, Field(ge=0, le=2000)] = 400
    """Sound from before the onset that is kept, so that the first syllable is not lost."""


class Llm(Section):
    """Words for agents that bring none of their own."""

    initial_greeting: str = "Hello, I am an automated assistant. How can I help you?"
    """The first words."""
    prompt: str = ""
    """Instructions for models that read them; the `intents` dialog of the local server does not."""


class LocalProvider(Section):
    """The `local_ai_server` program."""

    url: WebSocketUrl = "ws://127.0.0.1:8765/v1"
    """Its WebSocket address."""
    connect_seconds: Seconds = 1.0
    """How long opening the connection may take."""


class Providers(Section):
    """The AIs an agent can be run by."""

    local: LocalProvider = LocalProvider()


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


class Recording(Section):
    """A folder per call: stereo WAV, transcript, events, latencies."""

    enabled: bool = True
    """False keeps nothing."""
    directory: Annotated[Path, Field(strict=False)] = Path("var/calls")
    """Where the folders are made; relative to the working directory."""


class MediaSection(Section):
    """Sound files shared with Asterisk."""

    directory: Annotated[Path, Field(strict=False)] = Path("/mnt/asterisk_media/ai-generated")
    """A directory both programs see, best a tmpfs."""


class Logging(Section):
    """What the engine writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important line that is written."""
    format: Literal["console", "json"] = "console"
    """`console` for people, `json` for machines: one object per line."""


class ConfigFile(Section):
    """Settings of the Offhook voice engine."""

    default_provider: Literal["local"] = "local"
    """Who runs an agent that names no provider."""
    default_agent: str
    """Who answers when the dialplan names nobody."""
    audio_transport: Literal["audiosocket", "legacy"] = "audiosocket"
    """How sound reaches the engine."""
    downstream_mode: Annotated[Literal["file", "stream"], Field(validate_default=True)] = "file"
    """How the agent's voice reaches Asterisk: frame by frame, or as files it plays. Absent means `file`."""
    asterisk: AsteriskSection = AsteriskSection()
    audiosocket: AudioSocketSection = AudioSocketSection()
    streaming: Streaming = Streaming()
    barge_in: BargeIn = BargeIn()
    vad: VadSection = VadSection()
    llm: Llm = Llm()
    agents: Annotated[Mapping[Word, AgentSection], Field(min_length=1)]
    """The agents by name; the dialplan chooses one with `Stasis(app,agent=NAME)`."""
    providers: Providers = Providers()
    no_input: NoInput = NoInput()
    health: Health = Health()
    recording: Recording = Recording()
    media: MediaSection = MediaSection()
    logging: Logging = Logging()

    @field_validator("audio_transport")
    @classmethod
    def _transport(cls, name: str) -> str:
        if name == "legacy":
            raise ValueError("legacy (ARI snoop) comes with a later version; write audiosocket")
        return name

    @field_validator("downstream_mode")
    @classmethod
    def _downstream(cls, mode: str) -> str:
        if mode == "file":
            raise ValueError(
                "file, which an absent key means as well, comes with a later version; write downstream_mode: stream"
            )
        return mode

    def contradictions(self) -> Iterator[tuple[Place, str]]:
        """Values that are right alone and wrong together: where, and what to do."""
        if self.default_agent not in self.agents:
            yield ("default_agent",), f"there is no agent {self.default_agent!r} below agents"
        for name, agent in self.agents.items():
            if agent.provider is not None and agent.provider not in Providers.model_fields:
                yield ("agents", name, "provider"), f"there is no provider {agent.provider!r}"
            for place, slot in agent.unknown_slots():
                yield ("agents", name, *place), f"there is no slot {slot!r} below agents.{name}.slots"
        audiosocket = self.audiosocket
        if audiosocket.host in ("0.0.0.0", "::") and audiosocket.advertise is None:
            yield ("audiosocket", "advertise"), f"needed, since Asterisk cannot connect to {audiosocket.host}"
        if not audiosocket.allowed_peers:
            yield ("audiosocket", "allowed_peers"), "an empty list lets nobody in; name the address of Asterisk"


class Secrets(Section):
    """What must not stand in a file that is shared."""

    ari_username: Annotated[str, Field(min_length=1)]
    ari_password: SecretStr


class EngineConfig(ConfigFile):
    """Everything the engine is told once, at its start: the file, the overrides, and the secrets."""

    secrets: Secrets

    def agent(self, name: str) -> dict[str, Any]:
        """The agent as plain data for a briefing (JSON types only). Raises KeyError."""
        return self.agents[name].plain(name)

    def greeting(self, agent: str) -> str:
        """The first words of ``agent``. Raises KeyError."""
        own = self.agents[agent].greeting
        return self.llm.initial_greeting if own is None else own

    def prompt(self, agent: str) -> str:
        """The instructions of ``agent``. Raises KeyError."""
        own = self.agents[agent].prompt
        return self.llm.prompt if own is None else own

    def provider(self, agent: str) -> str:
        """The name of the provider that runs ``agent``. Raises KeyError."""
        return self.agents[agent].provider or self.default_provider

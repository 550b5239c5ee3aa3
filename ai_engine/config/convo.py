"""What a convo.toml may say: one agent, in the terms of another engine."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from ai_engine.settings import Section

UserId = int | str
Free = Mapping[str, Any]
Count = Annotated[int, Field(ge=0)]
McpName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,48}$")]


class Encryption(Section):
    """Of the sound between the vendor's parts."""

    mode: Annotated[int, Field(ge=0, le=8)] = 0
    """Which cipher; 0: none."""
    key: SecretStr | None = None
    """The key."""
    salt: SecretStr | None = None
    """Base64."""


class Atem(Section):
    """Where the agent runs."""

    channel: str | None = None
    """Name of an RTC channel."""
    rtc_user_id: UserId = "0"
    """Who talks with the agent there."""
    pipeline: Literal["cascaded", "mllm"] | None = None
    """`cascaded`: speech to text, language model, text to speech; `mllm`: one model that hears and speaks. May be left
    out where the file has one of them."""
    poll_interval_secs: Annotated[int, Field(ge=5)] = 60
    """How often the vendor is asked for the agent's state."""
    hipaa: bool = False
    """Whether the vendor must treat the call as health data."""
    geofence: Literal["GLOBAL", "NORTH_AMERICA", "EUROPE", "ASIA", "JAPAN", "INDIA"] | None = None
    """Where the vendor's servers may be."""
    enable_avatar: bool = False
    """Whether the agent is seen."""
    encryption: Encryption | None = None
    """Of the sound in the channel."""


class SystemMessage(Section):
    """A message that the model is given before the call."""

    role: str
    """`system` for instructions."""
    content: str
    """What it says."""


class McpServer(Section):
    """A server of tools (Model Context Protocol)."""

    name: McpName
    """Its tools are called `NAME_TOOL`."""
    endpoint: str
    """Where it listens."""
    transport: Literal["streamable_http"] = "streamable_http"
    """How it is spoken to."""
    headers: Mapping[str, str] = {}
    """Sent with every request; `${NAME}` is a secret of `.env`."""
    allowed_tools: tuple[str, ...] = ()
    """Which of its tools may be used, by name or as `prefix_*`; empty: all."""
    timeout_ms: Annotated[int, Field(gt=0, le=3_600_000)] | None = None
    """How long a tool may take."""


class Llm(Section):
    """The language model of a cascade: any server that answers as OpenAI's chat completions do."""

    vendor: str | None = None
    """`openai` for that, whoever's server it is; `local` for the engine's own."""
    style: str | None = None
    """How the server is spoken to; `openai` is."""
    url: str | None = None
    """Where it is, with or without `/chat/completions`."""
    api_key: SecretStr | None = None
    """The key itself, or `${NAME}` for a variable of `.env`."""
    greeting_message: str | None = None
    """The agent's first words."""
    failure_message: str | None = None
    """What is said when the model fails."""
    max_history: Count | None = None
    """How many messages the model is given."""
    system_messages: tuple[SystemMessage, ...] = ()
    """What the model is told before the call."""
    mcp_servers: tuple[McpServer, ...] = ()
    """Where tools come from."""
    params: Free = {}
    """`model`, and whatever else the server understands."""


class Vendor(Section):
    """Speech to text, text to speech, a model that hears and speaks, or an avatar."""

    vendor: str | None = None
    """Whose it is."""
    url: str | None = None
    """Where it is."""
    api_key: SecretStr | None = None
    """The key itself, or `${NAME}` for a variable of `.env`."""
    greeting_message: str | None = None
    """The agent's first words."""
    language: str | None = None
    """BCP 47."""
    avatar_id: str | None = None
    """Which face."""
    params: Free = {}
    """Whatever else the vendor understands."""


class ConvoAgent(Section):
    """The agent itself."""

    user_id: UserId | None = None
    """Who the agent is in the RTC channel."""
    idle_timeout_secs: Count | None = None
    """The call ends when nobody has spoken for so long."""
    preset: str | None = None
    """Names of settings that the vendor keeps, with commas."""
    llm: Llm | None = None
    """The language model of a cascade."""
    asr: Vendor | None = None
    """Speech to text of a cascade."""
    tts: Vendor | None = None
    """Text to speech of a cascade."""
    mllm: Vendor | None = None
    """A model that hears and speaks."""
    avatar: Vendor | None = None
    """A face."""


class Convo(Section):
    """An agent as convo.toml describes it."""

    atem: Atem = Atem()
    """Where the agent runs."""
    agent: ConvoAgent = ConvoAgent()
    """The agent itself."""
    advanced_features: Free = {}
    """Passed on by the vendor; `enable_tools` means something here."""
    vad: Free = {}
    """Passed on by the vendor; `silence_duration_ms` means something here."""
    sal: Free = {}
    """Passed on by the vendor."""
    parameters: Free = {}
    """Passed on by the vendor."""

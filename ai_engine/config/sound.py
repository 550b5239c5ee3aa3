"""What ``config/ai-agent.yaml`` may say about sound: how it travels, how it is heard, how it is played."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ai_engine.settings import Address, Host, ListenPort, Milliseconds, Network, Port, Seconds, Section


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
    dialplan_first: bool = True
    """Answer the dialplan's `AudioSocket(${UUID()},host:port)` too, without ARI; False refuses all but ARI's."""


class WebSocketSection(Section):
    """Asterisk's media WebSocket (chan_websocket, Asterisk 20.18, 22.8, 23.2 or later), on its HTTP server."""

    ahead_ms: Annotated[int, Field(ge=60, le=200)] = 100
    """Sound of a reply that Asterisk is given before it is due; Asterisk keeps the time there."""
    connect_seconds: Seconds = 1.0
    """How long opening the connection may take."""


class LegacySection(Section):
    """RTP between Asterisk and the engine, for an Asterisk with nothing but ARI."""

    host: Host = "127.0.0.1"
    """Address to receive on."""
    advertise: Host | None = None
    """Address that Asterisk is told to send to; absent means `host`."""
    port_min: Port = 32_000
    """First UDP port; even ones are used. Keep clear of `rtpstart` to `rtpend` of Asterisk's rtp.conf."""
    port_max: Port = 32_766
    """Last UDP port; one is needed per call."""
    allowed_peers: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    """Addresses or networks that packets are taken from."""


class Timeouts(Section):
    """How long the parts of a call may take, in milliseconds."""

    connect_ms: Milliseconds = 1500
    """Until Asterisk has connected the media leg; then the next transport is tried."""
    provider_start_ms: Milliseconds = 1500
    """Until a provider's session is open, each of them; the caller hears silence meanwhile."""
    reply_ms: Milliseconds = 4000
    """From the end of the caller's turn to the provider's reply; then another provider takes over, or a human."""
    patience_ms: Milliseconds = 700
    """Quiet after a provider was lost, until the caller hears "One moment, please"."""
    tool_patience_ms: Milliseconds = 1500
    """The same while a tool is at work."""
    last_words_ms: Milliseconds = 30_000
    """The longest a goodbye or a rescue prompt may keep the caller."""
    doubt_ms: Milliseconds = 1500
    """Until somebody says what a short sound into the agent's words was; then the agent goes on."""


class Streaming(Section):
    """The sound between Asterisk and the engine."""

    sample_rate_hz: int | Literal["auto"] = "auto"
    """8000 (`slin`), 16000 (`slin16`), or `auto`: 16000 for a caller whose codec has it, if Asterisk can carry it."""
    chunk_duration_ms: int = 20
    """Length of one frame; Asterisk's is 20, and no other is done."""
    jitter_buffer_ms: Annotated[int, Field(ge=0, le=2000)] = 60
    """Sound of a reply gathered before it begins to play. It grows by itself when a provider delivers unevenly."""
    jitter_buffer_max_ms: Annotated[int, Field(ge=0, le=5000)] = 400
    """The most it grows to."""
    low_water_ms: Annotated[int, Field(ge=0, le=1000)] = 40
    """Sound gathered after a hole in a reply before it goes on."""
    level_dbfs: Annotated[float, Field(ge=-40, le=-10)] | None = -20.0
    """How loud the agent's speech is made, in dB below full scale; `null` leaves it as it comes."""
    keepalive_ms: Annotated[int, Field(ge=1000, le=120_000)] = 10_000
    """How often a provider's connection is tried with a ping."""
    timeouts: Timeouts = Timeouts()

    @field_validator("sample_rate_hz")
    @classmethod
    def _rate(cls, hz: int | str) -> int | str:
        if hz not in (8000, 16000, "auto"):
            raise ValueError(f"Asterisk's telephone calls have no {hz} Hz; write 8000, 16000 or auto")
        return hz

    @field_validator("chunk_duration_ms")
    @classmethod
    def _chunk(cls, ms: int) -> int:
        if ms != 20:
            raise ValueError(f"Asterisk passes a frame of {ms} ms on as it is, and phones expect 20; write 20")
        return ms


class BargeIn(Section):
    """How a caller interrupts the agent: it falls silent at once, then goes on or stops (docs/adr/0011)."""

    enabled: bool = True
    """False lets every reply play to its end."""
    min_ms: Annotated[int, Field(ge=40, le=500)] = 80
    """Voice that makes the agent fall silent, with hardly a gap in it."""
    confirm_ms: Annotated[int, Field(ge=100, le=3000)] = 500
    """Voice that makes it stop for good, whatever is said."""
    word_ms: Annotated[int, Field(ge=40, le=1000)] = 160
    """A shorter sound is no word: a cough, a click; the agent goes on where it was."""
    settle_ms: Annotated[int, Field(ge=60, le=1000)] = 240
    """Quiet after which a sound is over."""
    margin_db: Annotated[float, Field(ge=0, le=40)] = 10.0
    """How far voice must stand above the noise to interrupt, in dB."""
    echo_return_loss_db: Annotated[float, Field(ge=6, le=45)] = 20.0
    """How much quieter the agent's echo comes back, in dB, until the call has shown it."""


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
    """Quiet that ends a turn when a call begins; it adapts to the speaker."""
    end_silence_min_ms: Annotated[int, Field(ge=100, le=5000)] = 300
    """The least it becomes, for quick speakers."""
    end_silence_max_ms: Annotated[int, Field(ge=100, le=5000)] = 1200
    """The most it becomes, for those who think while they speak."""
    turn_model: Annotated[Path, Field(strict=False)] | None = None
    """An ONNX file that tells from the sound whether a turn is complete (smart-turn v3); never needed."""
    max_turn_ms: Annotated[int, Field(ge=1000, le=120_000)] = 15_000
    """A turn longer than this is ended anyway."""
    preroll_ms: Annotated[int, Field(ge=0, le=2000)] = 400
    """Sound from before the onset that is kept, so that the first syllable is not lost."""


class MediaSection(Section):
    """Sound files shared with Asterisk."""

    directory: Annotated[Path, Field(strict=False)] = Path("/mnt/asterisk_media/ai-generated")
    """A directory both programs see, best a tmpfs, for `downstream_mode: file` and for when a stream is lost."""
    asterisk_directory: Annotated[Path, Field(strict=False)] | None = None
    """The same directory as Asterisk sees it, where that is another path; absent means `directory`."""

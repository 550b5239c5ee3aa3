"""What the operator may set of the OpenAI Realtime API."""

from typing import Annotated, Literal

from pydantic import Field

from ai_engine.settings import KeyName, Section, WebSocketUrl, Word


class OpenAIRealtimeSettings(Section):
    """The OpenAI Realtime API."""

    type: Literal["openai_realtime"] = "openai_realtime"
    """What kind of provider this is; its name in the file where that is one."""
    url: WebSocketUrl = "wss://api.openai.com/v1"
    """Where the API begins, without `/realtime`."""
    key: KeyName = "OPENAI_API_KEY"
    """The environment variable that holds the API key."""
    model: Word = "gpt-realtime"
    """The speech-to-speech model."""
    voice: Literal["alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"] = "marin"
    """Who speaks."""
    format: Literal["pcmu", "pcma", "pcm"] = "pcmu"
    """How sound travels: G.711 at 8 kHz, as on the telephone, or `pcm` at 24 kHz, which is six times as much."""
    output_format: Literal["pcmu", "pcma", "pcm"] | None = None
    """The same for the agent's voice alone; null: as `format`."""
    turn_detection: Literal["engine", "server_vad", "semantic_vad"] = "engine"
    """Who decides when the caller is done: the engine's own ear, or the provider, which then hears all of the call."""
    transcription: Word | None = "gpt-4o-mini-transcribe"
    """The model that writes down what the caller said. With null the transcript has empty turns in its place, a
    provider that takes over does not know what was said, and a short word into the agent's own is taken for a hum."""
    speed: Annotated[float, Field(ge=0.25, le=1.5)] = 1.0
    """Of the voice, as a multiple of its own."""
    max_output_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    """The most a reply may cost, tools included; it ends in mid-word there. Null: as much as the model allows."""
    noise_reduction: Literal["near_field", "far_field"] | None = None
    """What the provider does about noise: `near_field` for a handset, `far_field` for a speakerphone."""
    session_minutes: Annotated[float, Field(gt=0, le=60)] = 60.0
    """How long the provider lets a session last; 5 minutes before that it is opened anew."""

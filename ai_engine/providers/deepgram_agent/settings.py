"""What the operator may set of Deepgram's Voice Agent."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ai_engine.settings import KeyName, Section, WebSocketUrl, Word

_FLUX = "flux-"


class DeepgramAgentSettings(Section):
    """Deepgram's Voice Agent."""

    type: Literal["deepgram"] = "deepgram"
    """What kind of provider this is; its name in the file where that is one."""
    url: WebSocketUrl = "wss://agent.deepgram.com"
    """Where the API begins, without `/v1/agent/converse`."""
    key: KeyName = "DEEPGRAM_API_KEY"
    """The environment variable that holds the API key."""
    listen_model: Word = "nova-3"
    """The model that hears. A `flux-…` model tells by the meaning of the words when the caller is done."""
    keyterms: tuple[str, ...] = ()
    """Names and terms it should know."""
    eot_threshold: Annotated[float, Field(ge=0.5, le=1.0)] | None = None
    """How sure a `flux-…` model must be that the caller is done; null leaves it to Deepgram."""
    eager_eot_threshold: Annotated[float, Field(ge=0.3, le=0.9)] | None = None
    """How sure it must be to begin an answer which it may take back; null: never."""
    eot_timeout_ms: Annotated[int, Field(ge=500, le=60_000)] | None = None
    """Silence after which a `flux-…` model takes the caller to be done, however it sounded; null: 5 seconds."""
    think_provider: Literal["open_ai", "anthropic", "google", "groq"] = "open_ai"
    """Whose language model Deepgram asks; that is on Deepgram's bill."""
    think_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./:-]+$")] = "gpt-4o-mini"
    """The language model."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    """Of the language model; null leaves it to the provider."""
    speak_model: Word = "aura-2-thalia-en"
    """Who speaks, and in which language: `aura-2-…` or `flux-…`."""
    session_minutes: Annotated[float, Field(gt=0, le=120)] = 120.0
    """How long Deepgram lets a session last; 5 minutes before that it is opened anew."""

    @property
    def hears_meaning(self) -> bool:
        """Whether the model that hears decides for itself when a turn is over."""
        return self.listen_model.startswith(_FLUX)

    @property
    def speaks_flux(self) -> bool:
        return self.speak_model.startswith(_FLUX)

    @model_validator(mode="after")
    def _ears_fit(self) -> Self:
        if not self.hears_meaning:
            for name in ("eot_threshold", "eager_eot_threshold", "eot_timeout_ms"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is of the flux-… models, and listen_model is {self.listen_model}")
        return self

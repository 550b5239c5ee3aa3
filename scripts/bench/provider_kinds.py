"""The providers that are measured: what each is made of, and where in its fakes' log an answer can be followed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

FLUX_END_MS = 500.0
AGENT_END_MS = 500.0
"""Quiet after which the fakes of Flux and of the voice agent take the caller's turn to be over."""

GREETING = "Hello there."

SPARE = "spare"
"""Who takes over from any of them, and never fails: OpenAI Realtime."""

SPARE_SOUND = "> response.output_audio.delta"

Fake = Literal["realtime", "deepgram", "openai"]
Urls = Mapping[str, str]
"""Of the fakes, by their place."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a fake is asked for on the way to an answer: its time is the fake's own, not the engine's."""

    place: str
    asked: str
    """The last message like this before ``answered``: ``<`` came to the fake, ``>`` was sent by it."""
    answered: str
    """The first like this since the caller's last voice."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row."""

    name: str
    fakes: Mapping[str, Fake]
    """Which server stands in which place."""
    stages: tuple[Stage, ...]
    strikes: str
    """The place whose connection breaks in mid-word: the one that speaks."""
    section: Callable[[Urls], dict[str, Any]]
    """For the engine's configuration: that of a provider or, with ``stt``, of a pipeline."""
    end_of_turn_ms: float | None = None
    """The quiet after which ears of its own find the turn over; None: the engine's ear does, and says so."""


def _think(urls: Urls) -> dict[str, Any]:
    return {"type": "openai", "url": urls["model"]}


_NOVA = Stage("ear", "< Finalize", "> Results from_finalize")
_FLUX = Stage("ear", "< sound", "> TurnInfo EndOfTurn")
_CHAT = Stage("model", "< chat", "> chat")
_AURA = Stage("voice", "< Flush", "> sound")
_SPEECH = Stage("voice", "< speech", "> speech")

KINDS: tuple[Kind, ...] = (
    Kind(
        "openai_realtime",
        {"agent": "realtime"},
        (Stage("agent", "< response.create", SPARE_SOUND),),
        "agent",
        lambda urls: {"type": "openai_realtime", "url": urls["agent"]},
    ),
    Kind(
        "deepgram agent",
        {"agent": "deepgram"},
        (
            Stage("agent", "< sound", "> ConversationText user"),
            Stage("agent", "> ConversationText user", "> sound"),
        ),
        "agent",
        lambda urls: {"type": "deepgram", "url": urls["agent"]},
        AGENT_END_MS,
    ),
    Kind(
        "nova, chat, aura",
        {"ear": "deepgram", "model": "openai", "voice": "deepgram"},
        (_NOVA, _CHAT, _AURA),
        "voice",
        lambda urls: {
            "stt": {"type": "deepgram", "url": urls["ear"]},
            "llm": _think(urls),
            "tts": {"type": "deepgram", "url": urls["voice"]},
        },
    ),
    Kind(
        "flux (eager), chat, aura",
        {"ear": "deepgram", "model": "openai", "voice": "deepgram"},
        (_FLUX, _CHAT, _AURA),
        "voice",
        lambda urls: {
            "stt": {"type": "deepgram_flux", "url": urls["ear"], "eager_eot_threshold": 0.5},
            "llm": _think(urls),
            "tts": {"type": "deepgram", "url": urls["voice"]},
        },
        FLUX_END_MS,
    ),
    Kind(
        "nova, chat, speech",
        {"ear": "deepgram", "model": "openai", "voice": "openai"},
        (_NOVA, _CHAT, _SPEECH),
        "voice",
        lambda urls: {
            "stt": {"type": "deepgram", "url": urls["ear"]},
            "llm": _think(urls),
            "tts": {"type": "openai", "url": urls["voice"]},
        },
    ),
    Kind(
        "flux, chat, speech",
        {"ear": "deepgram", "model": "openai", "voice": "openai"},
        (_FLUX, _CHAT, _SPEECH),
        "voice",
        lambda urls: {
            "stt": {"type": "deepgram_flux", "url": urls["ear"]},
            "llm": _think(urls),
            "tts": {"type": "openai", "url": urls["voice"]},
        },
        FLUX_END_MS,
    ),
)

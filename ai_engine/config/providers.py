"""The kinds of provider there are: a line here, and the file can name it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, TypeVar, Union

from pydantic import BeforeValidator, Field

from ai_engine.providers.deepgram_agent import DeepgramAgent, DeepgramAgentSettings
from ai_engine.providers.local import LocalAgent, LocalSettings
from ai_engine.providers.openai_realtime import OpenAIRealtimeAgent, OpenAIRealtimeSettings
from ai_engine.providers.pipeline.agent import PipelineAgent
from ai_engine.providers.pipeline.llm.local import LocalLanguageModel, LocalLanguageModelSettings
from ai_engine.providers.pipeline.llm.openai import OpenAIChat, OpenAIChatSettings
from ai_engine.providers.pipeline.ports import LanguageModel, Speaker, Transcriber
from ai_engine.providers.pipeline.stt.deepgram import DeepgramListenSettings, DeepgramTranscriber
from ai_engine.providers.pipeline.stt.deepgram_flux import DeepgramFluxSettings, DeepgramFluxTranscriber
from ai_engine.providers.pipeline.stt.local import LocalTranscriber, LocalTranscriberSettings
from ai_engine.providers.pipeline.tts.deepgram import DeepgramSpeaker, DeepgramSpeakSettings
from ai_engine.providers.pipeline.tts.local import LocalSpeaker, LocalSpeakerSettings
from ai_engine.providers.pipeline.tts.openai import OpenAISpeech, OpenAISpeechSettings
from ai_engine.session.ports import Agent, Fitting
from ai_engine.settings import Section, Word

Made = TypeVar("Made", covariant=True)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Made]):
    """What the file says of it, and what is made of that for a call."""

    settings: type[Section]
    """With a ``type`` of its own."""
    make: Callable[[Any, Fitting], Made]


AGENTS: Mapping[str, Kind[Agent]] = {
    "deepgram": Kind(DeepgramAgentSettings, DeepgramAgent),
    "local": Kind(LocalSettings, LocalAgent),
    "openai_realtime": Kind(OpenAIRealtimeSettings, OpenAIRealtimeAgent),
}
"""Those that hear, think and speak by themselves."""

STT: Mapping[str, Kind[Transcriber]] = {
    "deepgram": Kind(DeepgramListenSettings, DeepgramTranscriber),
    "deepgram_flux": Kind(DeepgramFluxSettings, DeepgramFluxTranscriber),
    "local": Kind(LocalTranscriberSettings, LocalTranscriber),
}
"""Speech to text, for pipelines."""

LLM: Mapping[str, Kind[LanguageModel]] = {
    "local": Kind(LocalLanguageModelSettings, LocalLanguageModel),
    "openai": Kind(OpenAIChatSettings, OpenAIChat),
}
"""Language models, for pipelines."""

TTS: Mapping[str, Kind[Speaker]] = {
    "deepgram": Kind(DeepgramSpeakSettings, DeepgramSpeaker),
    "local": Kind(LocalSpeakerSettings, LocalSpeaker),
    "openai": Kind(OpenAISpeechSettings, OpenAISpeech),
}
"""Text to speech, for pipelines."""

if TYPE_CHECKING:
    AgentSettings: TypeAlias = Section
    SttSettings: TypeAlias = Section
    LlmSettings: TypeAlias = Section
    TtsSettings: TypeAlias = Section
else:

    def _one_of(kinds: Mapping[str, Kind[object]]) -> Any:
        settings = tuple(kind.settings for kind in kinds.values())
        return Annotated[Union[settings], Field(discriminator="type")]  # noqa: UP007 - of a tuple

    AgentSettings, SttSettings, LlmSettings, TtsSettings = map(_one_of, (AGENTS, STT, LLM, TTS))


def _typed_by_name(sections: Any) -> Any:
    """``deepgram: {…}`` is of type ``deepgram`` unless it says otherwise."""
    if not isinstance(sections, dict):
        return sections
    return {
        name: {"type": name, **(section or {})} if name in AGENTS and isinstance(section, dict | None) else section
        for name, section in sections.items()
    }


def _typed_by_word(section: Any) -> Any:
    """``stt: deepgram`` is ``stt: {type: deepgram}``."""
    return {"type": section} if isinstance(section, str) else section


class PipelineSettings(Section):
    """A mix of three providers, used like one."""

    stt: Annotated[SttSettings, BeforeValidator(_typed_by_word)]
    """Speech to text: a type, or a section with one."""
    llm: Annotated[LlmSettings, BeforeValidator(_typed_by_word)]
    """The language model: a type, or a section with one."""
    tts: Annotated[TtsSettings, BeforeValidator(_typed_by_word)]
    """Text to speech: a type, or a section with one."""


Providers = Annotated[Mapping[Word, AgentSettings], BeforeValidator(_typed_by_name)]
Pipelines = Mapping[Word, PipelineSettings]


def keys_of(section: Section) -> Iterator[str]:
    """The environment variables that hold its secrets."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name == "key" and value:
            yield value
        elif isinstance(value, Section):
            yield from keys_of(value)


def make_agent(name: str, settings: Section, fitting: Fitting) -> Agent:
    """One call's agent of the kind ``settings`` are for, which the file calls ``name``."""
    if isinstance(settings, PipelineSettings):
        return PipelineAgent(
            name,
            STT[_type(settings.stt)].make(settings.stt, fitting),
            LLM[_type(settings.llm)].make(settings.llm, fitting),
            TTS[_type(settings.tts)].make(settings.tts, fitting),
        )
    agent = AGENTS[_type(settings)].make(settings, fitting)
    agent.provider = name
    return agent


def _type(settings: Section) -> str:
    return str(settings.type)  # type: ignore[attr-defined]  # each of them has one

"""The kinds of provider there are: a line here, and the file can name it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union

from pydantic import BeforeValidator, Field

from ai_engine.providers.local import LocalAgent, LocalSettings
from ai_engine.session.ports import Agent, Fitting
from ai_engine.settings import Section, Word


@dataclass(frozen=True, slots=True)
class Kind:
    """What the file says of it, and what is made of that for a call."""

    settings: type[Section]
    """With a ``type`` of its own."""
    make: Callable[[Any, Fitting], Any]


AGENTS: Mapping[str, Kind] = {
    "local": Kind(LocalSettings, LocalAgent),
}
"""Those that hear, think and speak by themselves."""

if TYPE_CHECKING:
    AgentSettings: TypeAlias = Section
else:

    def _one_of(kinds: Mapping[str, Kind]) -> Any:
        settings = tuple(kind.settings for kind in kinds.values())
        return Annotated[Union[settings], Field(discriminator="type")] if len(settings) > 1 else settings[0]  # noqa: UP007

    AgentSettings = _one_of(AGENTS)


def _typed_by_name(sections: Any) -> Any:
    """``deepgram: {…}`` is of type ``deepgram`` unless it says otherwise."""
    if not isinstance(sections, dict):
        return sections
    for name, section in sections.items():
        if name not in AGENTS and not (isinstance(section, dict) and "type" in section):
            raise ValueError(f"{name!r} is no type of provider, so it needs one: type: {' | '.join(AGENTS)}")
    return {
        name: {"type": name, **(section or {})} if name in AGENTS and isinstance(section, dict | None) else section
        for name, section in sections.items()
    }


Providers = Annotated[Mapping[Word, AgentSettings], BeforeValidator(_typed_by_name)]


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
    agent: Agent = AGENTS[settings.type].make(settings, fitting)  # type: ignore[attr-defined]
    agent.provider = name
    return agent

"""Lays the agent of a file over the configuration, where it is one like all others then."""

from collections.abc import Iterator

from ai_engine.config.agent_file import AgentFile, AgentFileSection
from ai_engine.config.agents import AgentSection
from ai_engine.config.model import EngineConfig, Place, Secrets
from ai_engine.config.providers import AGENTS
from ai_engine.errors import ConfigError
from ai_engine.settings import Section


def with_agent(config: EngineConfig, file: AgentFile, *, secrets: bool = True) -> EngineConfig:
    """``config`` and the agent of ``file``, which is one like all others then. Raises ConfigError.

    Without ``secrets`` those that it needs are not looked for: whoever writes a file need not have them.
    """
    section = file.section
    if section is None:
        raise ConfigError(file.error)
    if taken := [*_taken(config, file.name, section)]:
        raise ConfigError("\n".join(file.located(taken)))
    tools = config.tools
    merged = config.model_copy(
        update={
            "agents": {**config.agents, file.name: _agent(section, tools.own)},
            "providers": {**config.providers, **section.providers},
            "pipelines": {**config.pipelines, **section.pipelines},
            "tools": tools.model_copy(
                update={"http": {**tools.http, **section.http}, "mcp": {**tools.mcp, **section.mcp}}
            ),
        }
    )
    # The others have been looked at before, and what is added does them no harm: it would take seconds for hundreds.
    calling = config.call_agent.agent if config.call_agent else None
    named = (config.default_agent, calling or config.default_agent, file.name)
    few = {name: merged.agents[name] for name in named if name in merged.agents}
    alone = merged.model_copy(update={"agents": few})
    if found := [(_inside(file.name, place), why) for place, why in alone.contradictions()]:
        raise ConfigError("\n".join(file.located(found)))
    return merged.model_copy(update={"secrets": _secrets(alone, file)}) if secrets else merged


def _taken(config: EngineConfig, name: str, section: AgentFileSection) -> Iterator[tuple[Place, str]]:
    """Names that mean something else already."""
    if name in config.agents:
        yield (), f"there is an agent {name!r} below `agents` of the configuration, too: one of them needs another name"
    for kind, ours, theirs in (
        ("providers", section.providers, config.providers),
        ("pipelines", section.pipelines, config.pipelines),
        ("http", section.http, config.tools.http),
        ("mcp", section.mcp, config.tools.mcp),
    ):
        for key, value in ours.items():
            if key in theirs and theirs[key] != value:
                yield (kind, key), f"{key!r} is something else in the configuration or with another agent: rename it"
            elif kind == "providers" and key in AGENTS and key not in theirs:
                why = f"other agents mean their own {key!r}: give it another name, and write type: {key}"
                yield (kind, key), why


def _agent(section: AgentFileSection, own: tuple[str, ...]) -> AgentSection:
    """Where it names no tools it has the engine's ``own``, and those that it brings along."""
    values = {name: getattr(section, name) for name in AgentSection.model_fields}
    if values["tools"] is None and (section.http or section.mcp):
        values["tools"] = (*own, *section.http, *(f"{server}.*" for server in section.mcp))
    return AgentSection.model_construct(**values)


def _inside(name: str, place: Place) -> Place:
    """Where in the file of the agent ``name`` stands what stands at ``place`` in the configuration."""
    if place[:2] == ("agents", name):
        return place[2:]
    return place[1:] if place[:1] == ("tools",) else place


def _secrets(config: EngineConfig, file: AgentFile) -> Secrets:
    """Those of ``config``, and those that the agent needs beside them. Raises ConfigError."""
    secrets = config.secrets
    keys = dict(secrets.keys)
    missing: list[tuple[Place, str]] = []
    for key, value in file.keys.items():
        if keys.setdefault(key, value) != value:
            missing.append(
                ((), f"there is an agent whose name differs by '-' and '_' only: rename one of them ({key})")
            )
    for key, (kind, *rest) in config.keys_needed().items():
        if key in keys:
            continue
        if key in secrets.given:
            keys[key] = secrets.given[key]
        else:
            own = kind == "tools" or rest[0] in getattr(file.section, str(kind))
            place = _inside(file.name, _named(config, key, (kind, *rest))) if own else ("provider",)
            missing.append((place, f"{key} is not set; write it into .env, which is read when the engine starts"))
    if missing:
        raise ConfigError("\n".join(file.located(missing)))
    files = {**secrets.files, **dict.fromkeys(file.keys, file.path)}
    return secrets.model_copy(update={"keys": keys, "files": files})


def _named(config: EngineConfig, key: str, place: Place) -> Place:
    """Where a provider at ``place`` names ``key``; ``place`` for what is none."""

    def within(section: Section, place: Place) -> Iterator[Place]:
        for name in type(section).model_fields:
            value = getattr(section, name)
            if name == "key" and value == key:
                yield (*place, name)
            elif isinstance(value, Section):
                yield from within(value, (*place, name))

    return place if place[0] == "tools" else next(within(config.provider_settings(str(place[1])), place), place)

"""One agent in a file of its own: read, checked, and laid over the configuration."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr

from ai_engine.config import toml_lines
from ai_engine.config.agents import AgentSection
from ai_engine.config.convo import Convo
from ai_engine.config.convo_mapping import mapped, missing
from ai_engine.config.model import EngineConfig, Place, Secrets
from ai_engine.config.overrides import Origin
from ai_engine.config.problems import Problems, check, dotted
from ai_engine.config.providers import Pipelines, Providers
from ai_engine.config.tools import ServerName, ToolName
from ai_engine.config.yaml_lines import Document, read
from ai_engine.errors import ConfigError
from ai_engine.settings import Section
from ai_engine.tools.http_settings import HttpToolSettings
from ai_engine.tools.mcp_settings import McpServerSettings

SUFFIXES = (".toml", ".yaml")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}", re.ASCII)
_VERSION_DIGITS = 12
_SECRETS_GO = "write the name of a variable of .env: `key: NAME` for a provider, `${NAME}` for a tool"


class AgentFileSection(AgentSection):
    """An agent in a file of its own: as below `agents`, and what it brings along."""

    providers: Providers = {}
    """As in the configuration: more AIs, by name."""
    pipelines: Pipelines = {}
    """As in the configuration: more mixes of speech to text, language model and text to speech, by name."""
    http: Mapping[ToolName, HttpToolSettings] = {}
    """As `tools.http` of the configuration."""
    mcp: Mapping[ServerName, McpServerSettings] = {}
    """As `tools.mcp` of the configuration."""


@dataclass(frozen=True, slots=True)
class AgentFile:
    """What a file says; ``section`` is None where ``problems`` say why."""

    name: str
    path: Path
    text: str = field(repr=False)
    """May hold secrets."""
    section: AgentFileSection | None = field(default=None, repr=False)
    keys: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)
    """Secrets that stand in it, by a name as variables have."""
    not_applicable: tuple[str, ...] = ()
    """Keys that mean nothing here, each with the reason."""
    problems: tuple[str, ...] = ()
    """Lines as ``FILE:LINE: place: what``."""
    written: Document = field(default_factory=Document, repr=False, compare=False)
    origins: Mapping[Place, Origin] = field(default_factory=dict, repr=False, compare=False)

    @property
    def version(self) -> str:
        """Of its text: another one after each change."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogateescape")).hexdigest()[:_VERSION_DIGITS]

    @property
    def error(self) -> str:
        """All problems, a line each."""
        return "\n".join(self.problems)

    def with_problems(self, problems: tuple[str, ...]) -> "AgentFile":
        return replace(self, problems=problems)

    def located(self, found: Iterable[tuple[Place, str]]) -> tuple[str, ...]:
        """What is wrong, and where in the section, as lines."""
        problems = Problems(self.path, self.written, self.origins)
        for place, why in found:
            problems.at(place, why)
        return tuple(str(problems).splitlines())


def wrong_name(name: str) -> str | None:
    """Why no agent's file can be called so; None where it can."""
    if _NAME.fullmatch(name):
        return None
    return f"{name!r} is no name for an agent's file: small letters, digits, - and _, up to 41 of them"


def read_agent(path: Path, text: str, *, strict: bool = False) -> AgentFile:
    """The agent that is called as the file is; never raises. ``strict``: keys without a meaning are problems."""
    if (why := wrong_name(path.stem)) is not None:
        return AgentFile(path.stem, path, text, problems=(f"{path}:1: {why}",))
    try:
        return _toml(path, text, strict) if path.suffix == ".toml" else _yaml(path, text)
    except ConfigError as error:
        return AgentFile(path.stem, path, text, problems=tuple(str(error).splitlines()))


def _yaml(path: Path, text: str) -> AgentFile:
    document = read(text, str(path))
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: must be keys with values, like `greeting: Hello.`")
    problems = Problems(path, document, {})
    for place, line, why in document.problems:
        problems.at_line(line, place, why)
    section = check(AgentFileSection, data, problems, lambda _: _SECRETS_GO)
    if problems:
        raise ConfigError(str(problems))
    return AgentFile(path.stem, path, text, section, written=document)


def _toml(path: Path, text: str, strict: bool) -> AgentFile:
    document = toml_lines.read(text, str(path))
    problems = Problems(path, document, {})
    convo = check(Convo, document.data, problems)
    if convo is None:
        raise ConfigError(str(problems))
    found = mapped(path.stem, convo, document.data)
    for place, why in (*found.wrong, *(missing(convo) if strict else ())):
        problems.at(place, why)
    for place, why in found.odd if strict else ():
        problems.at(place, f"means nothing here: {why}")
    origins = {
        place: Origin(f"{path}:{document.line(source)}", source, document.line(source))
        for place, source in found.sources.items()
    }
    inside = Problems(path, document, origins)
    section = None if problems else check(AgentFileSection, found.data, inside)
    if problems or inside:
        raise ConfigError(str(problems) or str(inside))
    not_applicable = tuple(f"{dotted(place)}: {why}" for place, why in found.odd)
    return AgentFile(
        path.stem, path, text, section, found.keys, not_applicable, written=document, origins=origins
    )  # fmt: skip


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
    if found := [(_inside(file.name, place), why) for place, why in merged.contradictions()]:
        raise ConfigError("\n".join(file.located(found)))
    return merged.model_copy(update={"secrets": _secrets(merged, file)}) if secrets else merged


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
            missing.append((place, f"{key} is not set; write it into .env"))
    if missing:
        raise ConfigError("\n".join(file.located(missing)))
    return secrets.model_copy(update={"keys": keys})


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

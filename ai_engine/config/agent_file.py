"""One agent in a file of its own: read and checked."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from pydantic import SecretStr

from ai_engine.config import toml_lines
from ai_engine.config.agents import AgentSection
from ai_engine.config.convo import Convo
from ai_engine.config.convo_mapping import mapped
from ai_engine.config.convo_unused import breaches
from ai_engine.config.model import Place
from ai_engine.config.overrides import Origin
from ai_engine.config.problems import Problems, check, dotted
from ai_engine.config.providers import Pipelines, Providers
from ai_engine.config.tools import ServerName, ToolName
from ai_engine.config.yaml_lines import Document, read
from ai_engine.errors import ConfigError
from ai_engine.tools.http_settings import HttpToolSettings
from ai_engine.tools.mcp_settings import McpServerSettings

SUFFIXES = (".toml", ".yaml")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}", re.ASCII)
_VERSION_DIGITS = 12
_MOST_CHARACTERS = 256 * 1024
"""Of a file: whoever writes more means no agent, and reading it would hold calls up."""

Stamp = tuple[int, ...]
"""Of a file: another one after each change."""
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


def stamps(folder: Path) -> dict[Path, Stamp]:
    """The agents' files of a folder, and whatever is called as they are and cannot be looked at. Raises OSError for the
    folder; one that is not there is empty."""
    found: dict[Path, Stamp] = {}
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return found
    for entry in entries:
        path = Path(entry.path)
        if path.suffix in SUFFIXES and not entry.name.startswith("."):
            with suppress(FileNotFoundError):  # taken away this moment
                if (stamp := _stamp(entry)) is not None:
                    found[path] = stamp
    return found


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """None for what is no file; empty for what cannot be looked at, and will not be read either."""
    try:
        stat = entry.stat()
    except FileNotFoundError:
        raise
    except OSError:
        return ()
    # Of the times the second: nobody can set it, and it changes with the permissions, too.
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino) if S_ISREG(stat.st_mode) else None


def read_text(path: Path) -> str:
    """What it says. Raises ConfigError."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}:1: cannot be read: {error}") from error
    _check_size(path, text)
    return text


def _check_size(path: Path, text: str) -> None:
    if len(text) > _MOST_CHARACTERS:
        raise ConfigError(f"{path}:1: there are more than {_MOST_CHARACTERS} characters")


def read_agent(path: Path, text: str, *, strict: bool = False) -> AgentFile:
    """The agent that is called as the file is; never raises. ``strict``: keys without a meaning are problems."""
    if (why := wrong_name(path.stem)) is not None:
        return AgentFile(path.stem, path, text, problems=(f"{path}:1: {why}",))
    try:
        _check_size(path, text)
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
    for place, why in (*found.wrong, *(breaches(convo, found.odd) if strict else ())):
        problems.at(place, why)
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

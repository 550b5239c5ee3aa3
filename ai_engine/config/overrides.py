"""Environment variables that stand above the file, and the secrets that stand nowhere else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_engine.config import dotenv
from ai_engine.config.model import Place
from ai_engine.config.yaml_lines import scalar
from ai_engine.errors import ConfigError

OVERRIDES: dict[str, Place] = {
    "AUDIO_TRANSPORT": ("audio_transport",),
    "DOWNSTREAM_MODE": ("downstream_mode",),
    "DEFAULT_AGENT": ("default_agent",),
    "ASTERISK_HOST": ("asterisk", "host"),
    "ASTERISK_ARI_PORT": ("asterisk", "ari_port"),
    "ASTERISK_ARI_URL": ("asterisk", "ari_url"),
    "AUDIOSOCKET_HOST": ("audiosocket", "host"),
    "AUDIOSOCKET_PORT": ("audiosocket", "port"),
    "AUDIOSOCKET_ADVERTISE": ("audiosocket", "advertise"),
    "AUDIOSOCKET_ALLOWED_PEERS": ("audiosocket", "allowed_peers"),
    "LEGACY_HOST": ("legacy", "host"),
    "LEGACY_ADVERTISE": ("legacy", "advertise"),
    "LEGACY_ALLOWED_PEERS": ("legacy", "allowed_peers"),
    "LOCAL_AI_URL": ("providers", "local", "url"),
    "HEALTH_HOST": ("health", "host"),
    "HEALTH_PORT": ("health", "port"),
    "RECORDING_DIRECTORY": ("recording", "directory"),
    "MEDIA_DIRECTORY": ("media", "directory"),
    "MEDIA_ASTERISK_DIRECTORY": ("media", "asterisk_directory"),
    "LOG_LEVEL": ("logging", "level"),
    "LOG_FORMAT": ("logging", "format"),
    "CALL_AGENT_PROVIDER": ("call_agent", "telephony", "provider"),
    "CALL_AGENT_HOST": ("call_agent", "server", "host"),
    "CALL_AGENT_PORT": ("call_agent", "server", "port"),
    "CALL_AGENT_PUBLIC_URL": ("call_agent", "server", "public_base_url"),
    "CALL_AGENT_STORE": ("call_agent", "store", "path"),
    "STUDIO_DIRECTORY": ("studio", "directory"),
    "STUDIO_AGENTS": ("studio", "agents"),
    "STUDIO_PJSIP_DIRECTORY": ("studio", "pjsip_directory"),
}

SECRETS: dict[str, str] = {
    "ASTERISK_ARI_USERNAME": "ari_username",
    "ASTERISK_ARI_PASSWORD": "ari_password",
}
"""Environment variable -> field of ``Secrets``."""

_LISTS = {"AUDIOSOCKET_ALLOWED_PEERS", "LEGACY_ALLOWED_PEERS"}
_LOWER_CASE = {"AUDIO_TRANSPORT", "DOWNSTREAM_MODE", "LOG_LEVEL", "LOG_FORMAT", "CALL_AGENT_PROVIDER"}
_NEVER_MADE = {"call_agent", "studio"}
"""Sections that mean something by being there, and are not made for the sake of a variable."""


@dataclass(frozen=True, slots=True)
class Given:
    """The value of one environment variable and, for messages, where it was set."""

    value: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands that is not in the file, and what it is called there."""

    where: str
    """As messages begin: ``environment NAME``, ``call-agent.json:7``."""
    name: Place
    line: int = 0
    spell: Callable[[str], str] = str
    """How keys of the file are written there."""

    def called(self, below: Place) -> Place:
        """The name of what the file has at ``below``, under this value."""
        return (*self.name, *(self.spell(key) if isinstance(key, str) else key for key in below))


def gather(environ: Mapping[str, str], env_file: Path | None) -> dict[str, Given]:
    """What is set and not empty; the environment beats the file. Raises ConfigError for a broken ``.env``."""
    given: dict[str, Given] = {}
    if env_file is not None and env_file.exists():
        try:
            variables, broken = dotenv.parse(env_file.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{env_file}: cannot be read: {error}") from error
        if broken:
            raise ConfigError("\n".join(f"{env_file}:{line}: this is not NAME=value" for line in broken))
        given = {name: Given(v.value, f"{env_file}:{v.line}: {name}") for name, v in variables.items()}
    given |= {name: Given(value, f"environment {name}") for name, value in environ.items() if value}
    return {name: found for name, found in given.items() if found.value}


def apply(data: dict[str, Any], given: Mapping[str, Given]) -> dict[Place, Origin]:
    """Write the overrides into ``data``; returns where each changed value comes from."""
    origins: dict[Place, Origin] = {}
    for name, place in OVERRIDES.items():
        if name in given and (section := _section(data, place)) is not None:
            section[place[-1]] = _value(name, given[name].value)
            origins[place] = Origin(given[name].source, place)
    return origins


def _section(data: dict[str, Any], place: Place) -> dict[str | int, Any] | None:
    section: Any = data
    if place[0] in _NEVER_MADE and data.get(str(place[0])) is None:
        return None
    for key in place[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            return None
    return section  # type: ignore[no-any-return]


def _value(name: str, text: str) -> Any:
    if name in _LISTS:
        return [part.strip() for part in text.split(",") if part.strip()]
    return scalar(text.lower() if name in _LOWER_CASE else text)

"""Where numbers, agents, recordings and running engines are: the part of the configuration that files are found by.

The rest of it, with its secrets, is the engine's: whoever imports a number need not have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ai_engine.config.yaml_lines import Document, read
from ai_engine.studio.errors import USAGE, Stop, plainly
from ai_engine.studio.where import Where
from ai_engine.switchboard.settings import StudioSettings

_RECORDINGS = "var/calls"
_OVERRIDES = {"directory": "STUDIO_DIRECTORY", "agents": "STUDIO_AGENTS", "pjsip_directory": "STUDIO_PJSIP_DIRECTORY"}
"""As the engine has them (config/overrides, which would load all of its configuration)."""


@dataclass(frozen=True, slots=True)
class Place:
    settings: StudioSettings
    recordings: Path
    agents: tuple[str, ...] = ()
    """Those that stand in the configuration itself."""
    missing: str = ""
    """Why the engine sees nothing of all this: there is no `studio` section."""


def place(where: Where) -> Place:
    """Raises Stop for a file that cannot be read, or a section that is wrong."""
    document = _document(where.config)
    data = document.data
    given = data.get("studio")
    agents = data.get("agents")
    recording = data.get("recording")
    told = recording.get("directory") if isinstance(recording, dict) else None
    variables = where.given()
    return Place(
        settings=_overridden(_settings(where.config, document, given), variables),
        recordings=Path(variables.get("RECORDING_DIRECTORY") or str(told or _RECORDINGS)),
        agents=tuple(map(str, agents)) if isinstance(agents, dict) else (),
        missing=""
        if given is not None
        else f"{where.config} has no `studio` section, so its engine does not look here: add the line `studio: {{}}`",
    )


def _document(path: Path) -> Document:
    try:
        document = read(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        hint = "name the engine's configuration with `studio --config FILE …`, or OFFHOOK_CONFIG"
        raise Stop(USAGE, f"{path}: cannot be read: {error}; {hint}") from error
    if document.data is None:
        document.data = {}
    if not isinstance(document.data, dict):
        raise Stop(USAGE, f"{path}:1: must be keys with values, like `studio: {{}}`")
    return document


def _settings(path: Path, document: Document, given: Any) -> StudioSettings:
    try:
        return StudioSettings.model_validate({} if given is None else given)
    except ValidationError as error:
        lines = []
        for one in error.errors(include_url=False):
            place = ("studio", *one["loc"])
            lines.append(
                f"{path}:{document.line(place)}: {'.'.join(map(str, place))}: {_sentence(one['type'], one['msg'])}"
            )
        raise Stop(USAGE, "\n".join(lines)) from error


def _overridden(settings: StudioSettings, variables: Mapping[str, str]) -> StudioSettings:
    return settings.model_copy(
        update={key: Path(variables[name]) for key, name in _OVERRIDES.items() if name in variables}
    )


def _sentence(kind: str, text: str) -> str:
    if kind == "extra_forbidden":
        return f"unknown key (known here: {', '.join(sorted(StudioSettings.model_fields))})"
    return plainly(text)

"""From file, ``.env`` and environment to one checked ``EngineConfig``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ai_engine.config.call_agent_file import complete
from ai_engine.config.model import ConfigFile, EngineConfig, Place, Secrets
from ai_engine.config.overrides import SECRETS, Given, apply, gather
from ai_engine.config.problems import Problems, check, dotted
from ai_engine.config.yaml_lines import Document, read
from ai_engine.errors import ConfigError

_SECRETS_GO = f"set {' and '.join(SECRETS)} in .env or the environment"


def load(
    path: Path, environ: Mapping[str, str], env_file: Path | None = None, also: Sequence[str] = ()
) -> EngineConfig:
    """Read and check everything. Raises one ConfigError that names every problem, a line each.

    ``also``: providers that are used though no agent names them.
    """
    given = gather(environ, env_file)
    document = _read_file(path)
    call_agent_section = complete(document, given, path.parent)
    problems = Problems(path, document, call_agent_section.origins | apply(document.data, given))
    for place, line, why in document.problems:
        problems.at_line(line, place, why)
    for origin, why in call_agent_section.problems:
        problems.at_origin(origin, (), why)
    file = _check_file(document.data, problems)
    for _, why in file.strangers(also) if file else ():
        problems.add(why)
    for name, place in file.secrets_missing() if file else ():
        problems.add(f"environment {name}: not set, and {dotted(place)} needs it; write it into .env")
    secrets = _check_secrets(given, file.keys_needed(also) if file and not problems else {}, problems)
    if problems or file is None or secrets is None:
        raise ConfigError(str(problems))
    everything = {name: SecretStr(one.value) for name, one in given.items()} if file.studio else {}
    secrets = secrets.model_copy(update={"keys": {**secrets.keys, **file.own_keys()}, "given": everything})
    values = {name: getattr(file, name) for name in ConfigFile.model_fields}
    return EngineConfig(**values, secrets=secrets, source=path)


def _read_file(path: Path) -> Document:
    try:
        document = read(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if document.data is None:
        document.data = {}
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}:1: must be keys with values, like `default_agent: reception`")
    return document


def _check_file(data: dict[str, Any], problems: Problems) -> ConfigFile | None:
    file = check(ConfigFile, data, problems, lambda place: "" if place[0] == "call_agent" else _SECRETS_GO)
    if file is None:
        return None
    for place, why in file.contradictions():
        problems.at(place, why)
    return file


def _check_secrets(given: Mapping[str, Given], keys: Mapping[str, Place], problems: Problems) -> Secrets | None:
    missing = [name for name in SECRETS if name not in given]
    for name in missing:
        problems.add(f"environment {name}: not set; write it into .env (see .env.example)")
    for name, place in keys.items():
        if name not in given:
            missing.append(name)
            problems.add(f"environment {name}: not set, and {dotted(place)} needs it; write it into .env")
    if missing:
        return None
    values = {field: given[name].value for name, field in SECRETS.items()}
    return Secrets.model_validate({**values, "keys": {name: given[name].value for name in keys}}, strict=False)

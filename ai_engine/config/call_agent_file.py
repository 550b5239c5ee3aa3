"""The ``call_agent`` section before it is checked: the YAML, a JSON file on top of it, and the secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_camel

from ai_engine.config.call_agent import SECRETS, login_variables
from ai_engine.config.json_section import JsonSection, read_section
from ai_engine.config.model import Place
from ai_engine.config.overrides import Given, Origin
from ai_engine.config.yaml_lines import Document
from ai_engine.jobs.settings import CallAgentSettings, login_name

CONFIG_VARIABLE = "CALL_AGENT_CONFIG"
"""Names the JSON file, and beats the `file` of the section."""

_SECTION = "call_agent"
_LOGINS = "CALDAV_NAME_USER and CALDAV_NAME_PASSWORD"


def complete(document: Document, given: Mapping[str, Given], folder: Path) -> JsonSection:
    """Lay JSON and secrets into ``document``; what stands in it and should not is added to its problems.

    ``folder`` is that of the document. Raises ConfigError for a JSON file that is none.
    """
    _refuse_secrets(document)
    laid = _lay_in_json(document, given, folder)
    section = document.data.get(_SECTION)
    if isinstance(section, dict):
        laid.origins |= _lay_in_secrets(section, given)
    return laid


def _refuse_secrets(document: Document) -> None:
    for variable, place in {**SECRETS, _LOGINS: ("calendar", "logins")}.items():
        around, last = (_SECTION, *place[:-1]), str(place[-1])
        section: Any = document.data
        for inner in around:
            section = section.get(inner) if isinstance(section, dict) else None
        for key in {last, to_camel(last)} & set(section if isinstance(section, dict) else ()):
            del section[key]
            why = f"secrets do not belong in this file; set {variable} in .env or the environment, and take this line"
            document.problems.append(((*around, key), document.line((*around, key)), f"{why} away"))


def _lay_in_json(document: Document, given: Mapping[str, Given], folder: Path) -> JsonSection:
    section = document.data.get(_SECTION)
    named = section.get("file") if isinstance(section, dict) else None
    if CONFIG_VARIABLE in given:
        laid = read_section(Path(given[CONFIG_VARIABLE].value), (_SECTION,), CallAgentSettings)
    elif isinstance(named, str):
        laid = read_section(folder / named, (_SECTION,), CallAgentSettings)
    else:
        return JsonSection()
    if "file" in laid.data:
        laid.problems.append((laid.origins[(_SECTION, "file")], "this file cannot name another one"))
    if isinstance(section, dict):
        laid.merge_into(section)
    else:
        document.data[_SECTION] = laid.data
    return laid


def _lay_in_secrets(section: dict[str, Any], given: Mapping[str, Given]) -> dict[Place, Origin]:
    origins: dict[Place, Origin] = {}

    def lay(variable: str, place: Place, value: Any) -> None:
        around = section
        for key in place[:-1]:
            around = around.setdefault(str(key), {})
            if not isinstance(around, dict):
                return
        around[str(place[-1])] = value
        origins[(_SECTION, *place)] = Origin(given[variable].source, (_SECTION, *place))

    for variable, place in SECRETS.items():
        if variable not in given:
            continue
        # Many have this key for an agent of their own, who should not be replaced behind their back.
        if variable == "OPENAI_API_KEY" and "openai" not in section:
            continue
        lay(variable, place, _secret(place, given[variable].value))
    for name in _login_names(section):
        user, password = login_variables(name)
        if user in given and password in given:
            lay(user, ("calendar", "logins", name), {"user": given[user].value, "password": given[password].value})
    return origins


def _secret(place: Place, value: str) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if place == ("tokens",) else value


def _login_names(section: dict[str, Any]) -> set[str]:
    calendar = section.get("calendar")
    urls = calendar.get("import_urls") if isinstance(calendar, dict) else None
    return {login_name(url) for url in urls if isinstance(url, str)} - {""} if isinstance(urls, list) else set()

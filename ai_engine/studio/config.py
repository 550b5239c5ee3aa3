"""What `studio config` does."""

import logging
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from ai_engine.config import EngineConfig
from ai_engine.config.agent_files import AgentFiles
from ai_engine.config.call_agent import shown
from ai_engine.config.schema import text as schema_text
from ai_engine.errors import ConfigError
from ai_engine.studio.errors import OK, USAGE
from ai_engine.studio.output import calm_logs, remark, say, show_json
from ai_engine.studio.where import Where
from ai_engine.studio.whole_config import whole_config, with_agents

_ADDRESS = re.compile(r"(https?|wss?)://\S+$")
_MASK = "**********"


def show_config(where: Where) -> int:
    """Raises ConfigError."""
    whole = whole_config(where)
    if whole.config is None:
        raise ConfigError("\n".join(whole.problems))
    for line in whole.missing:
        remark(line)
    plain = whole.config.model_dump(mode="json", exclude={"secrets", "call_agent"})
    if whole.config.call_agent is not None:
        plain["call_agent"] = shown(whole.config.call_agent)
    show_json(_masked(plain))
    return OK


def _masked(value: Any) -> Any:
    """Without what may be secret though it stands in the file: headers and environments of tools, queries of URLs."""
    if isinstance(value, dict):
        return {
            key: {name: _veiled(text) for name, text in inside.items()}
            if key in ("headers", "env") and isinstance(inside, dict)
            else _masked(inside)
            for key, inside in value.items()
        }
    if isinstance(value, list):
        return [_masked(one) for one in value]
    if isinstance(value, str) and _ADDRESS.match(value):
        address, mark, _ = value.partition("?")
        return f"{address}?…" if mark else value
    return value


def _veiled(text: Any) -> Any:
    return text if "${" in str(text) else _MASK


def show_schema() -> int:
    print(schema_text(), end="")
    return OK


def validate_config(where: Where, file: Path | None, *, strict: bool, as_json: bool) -> int:
    """Every problem is told, and none is raised."""
    path = file or where.config
    whole = whole_config(where, path)
    folder = whole.config.studio.agents if whole.config is not None and whole.config.studio is not None else None
    agents = AgentFiles(folder, whole.config, strict=strict).list() if folder is not None else []
    problems = [*whole.problems, *(line for one in agents for line in one.problems)]
    missing = [*whole.missing, *_lacking(whole.config, {one.name for one in agents if not one.problems})]
    odd = [f"{one.path}: {line}" for one in agents for line in one.not_applicable]
    bad = bool(problems) or (strict and bool(missing))
    if as_json:
        show_json({"ok": not bad, "problems": problems, "missing": missing, "notApplicable": odd})
        return USAGE if bad else OK
    for line in (*problems, *missing):
        remark(line)
    for line in odd:
        remark(f"{line} (it is left out)")
    if whole.config is not None and not bad:
        own = f", {len(agents)} in files of their own" if folder is not None else ""
        say(f"{path}: good ({len(whole.config.agents)} agents in it{own})")
    return USAGE if bad else OK


def _lacking(config: EngineConfig | None, agents: Set[str]) -> Iterator[str]:
    """What the environment lacks for ``agents`` that are right as files."""
    if config is None or not agents:
        return
    calm_logs(logging.CRITICAL)  # it is told here
    for one in with_agents(config).infos():
        if one.name in agents:
            yield from one.error.splitlines()

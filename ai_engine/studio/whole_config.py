"""The whole configuration, for whoever need not have its secrets."""

import re
from dataclasses import dataclass
from pathlib import Path

from ai_engine.app.live_config import LiveConfig
from ai_engine.config import EngineConfig, load
from ai_engine.errors import ConfigError
from ai_engine.studio.where import Where

_NOT_SET = re.compile(r"environment ([A-Z][A-Z0-9_]*): not set")
_STAND_IN = "not-set"
"""In place of a secret that is not set; nothing is done with it."""


@dataclass(frozen=True, slots=True)
class WholeConfig:
    config: EngineConfig | None
    """None where ``problems`` say why."""
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """What the environment lacks, a sentence each: no fault of a file."""


def whole_config(where: Where, file: Path | None = None) -> WholeConfig:
    """Of ``file``, or that of ``where``; never raises."""
    missing: dict[str, str] = {}
    while True:
        stand_ins = dict.fromkeys(missing, _STAND_IN)
        try:
            config = load(file or where.config, {**where.environ, **stand_ins}, where.env_file)
        except ConfigError as error:
            lines = str(error).splitlines()
            lacking = {match[1]: line for line in lines if (match := _NOT_SET.match(line))}
            if not lacking.keys() - missing.keys():
                return WholeConfig(None, tuple(lines), tuple(missing.values()))
            missing |= lacking
        else:
            return WholeConfig(config, (), tuple(missing.values()))


def with_agents(config: EngineConfig) -> LiveConfig:
    """As an engine that started now would have it; to be asked, not to be kept: files that change are not seen."""
    live = LiveConfig(config)
    live.close()
    return live

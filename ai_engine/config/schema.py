"""JSON Schemas of the files that operators write, for editors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ai_engine.config.agent_file import AgentFileSection
from ai_engine.config.convo import Convo
from ai_engine.config.model import ConfigFile

SCHEMA_FILE = Path("config/ai-agent.schema.json")
"""Where the repository keeps that of the configuration."""

KINDS: Mapping[str, tuple[type[BaseModel], Path]] = {
    "config": (ConfigFile, SCHEMA_FILE),
    "agent": (AgentFileSection, Path("config/agent.schema.json")),
    "convo": (Convo, Path("config/convo.schema.json")),
}
"""What is described: the configuration, an agent's YAML, an agent's convo.toml; and where the repository keeps it."""


def schema(kind: str = "config") -> dict[str, Any]:
    """JSON Schema, draft 2020-12. Raises KeyError."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **KINDS[kind][0].model_json_schema(mode="validation"),
    }


def text(kind: str = "config") -> str:
    """The file's content. Raises KeyError."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def kind_of(path: Path) -> str:
    """What the file of that name describes."""
    return next((kind for kind, (_, file) in KINDS.items() if file.name == path.name), "config")

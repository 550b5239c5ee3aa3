"""The JSON Schema of ``config/ai-agent.yaml``, for editors."""

import json
from pathlib import Path
from typing import Any

from ai_engine.config.model import ConfigFile

SCHEMA_FILE = Path("config/ai-agent.schema.json")
"""Where the repository keeps it."""


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigFile.model_json_schema(mode="validation"),
    }


def text() -> str:
    """The file's content."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"

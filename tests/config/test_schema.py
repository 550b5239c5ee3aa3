"""The exported schema: fresh, valid, and of one mind with the loader about the shipped file."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ai_engine.config import call_agent, schema
from ai_engine.config.agent_templates import TEMPLATES, fill
from ai_engine.config.call_agent_file import CONFIG_VARIABLE
from ai_engine.config.overrides import OVERRIDES, SECRETS
from ai_engine.config.providers import AGENTS, LLM, STT, TTS
from ai_engine.config.yaml_lines import read

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "config" / "ai-agent.yaml").read_text()
SCHEMA: dict[str, Any] = json.loads((ROOT / schema.SCHEMA_FILE).read_text())


@pytest.mark.parametrize("kind", schema.KINDS)
def test_file_is_fresh(kind: str) -> None:
    file = schema.KINDS[kind][1]
    assert schema.kind_of(file) == kind
    assert (ROOT / file).read_text() == schema.text(kind), "run: make schema"


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_of_agents_validate(template: str) -> None:
    suffix, text = fill(template, "x")
    kind, data = ("convo", tomllib.loads(text)) if suffix == ".toml" else ("agent", read(text, "x").data)
    jsonschema.Draft202012Validator(json.loads(schema.text(kind))).validate(data)
    assert Path(text.splitlines()[0].rpartition("/")[2]) == Path(schema.KINDS[kind][1].name)


def test_shipped_file_validates() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(read(SHIPPED, "shipped").data)


def test_schema_refuses_what_the_loader_refuses() -> None:
    data = read(SHIPPED, "shipped").data
    data["streaming"]["sample_rate_khz"] = 8
    with pytest.raises(jsonschema.ValidationError, match="sample_rate_khz"):
        jsonschema.Draft202012Validator(SCHEMA).validate(data)


def test_editors_find_the_schema() -> None:
    first = SHIPPED.splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schema.SCHEMA_FILE.name}"


@pytest.mark.parametrize("kind", schema.KINDS)
def test_every_value_is_described(kind: str) -> None:
    whole = schema.schema(kind)
    for section in (whole, *whole["$defs"].values()):
        for key, field in section["properties"].items():
            assert "description" in field or "$ref" in field, key


def test_env_example_names_every_variable_and_no_secret() -> None:
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    studio = {name for name, _ in lines if name.startswith("OFFHOOK_STUDIO_")}
    trial = {name for name, _ in lines if name.startswith("OFFHOOK_")} - studio
    local = set(re.findall(r"LOCAL_AI_[A-Z]+(?:_[A-Z]+)*", (ROOT / "local_ai_server" / "config.py").read_text()))
    keys = {
        kind.settings.model_fields["key"].default
        for kinds in (AGENTS, STT, LLM, TTS)
        for kind in kinds.values()
        if "key" in kind.settings.model_fields
    }
    assert {name for name, _ in lines} - trial - studio == {
        *(*OVERRIDES, *SECRETS, *local, *keys),
        *(CONFIG_VARIABLE, *call_agent.SECRETS),
    }
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert trial <= set(compose["services"]["asterisk"]["environment"])
    assert studio <= set(compose["services"]["ai-engine"]["environment"])
    assert all(
        value == "" for name, value in lines if any(word in name for word in ("PASSWORD", "KEY", "TOKEN", "DATABASE"))
    )

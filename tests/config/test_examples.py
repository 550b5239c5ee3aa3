"""Every example is complete: it loads, and its provider can be made."""

from pathlib import Path

import pytest

from ai_engine.audio.format import SLIN8
from ai_engine.config import load
from ai_engine.config.adapters import fitting
from ai_engine.config.agent_files import AgentFiles
from ai_engine.config.providers import make_agent
from ai_engine.remote.http import SharedHttp

FOLDER = Path(__file__).resolve().parents[2] / "config" / "examples"
SECRETS = {"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "p", "TWILIO_AUTH_TOKEN": "t"}
KEYS = {"OPENAI_API_KEY": "k", "DEEPGRAM_API_KEY": "k"}
EXAMPLES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_loads_and_each_of_its_providers_can_be_made(example: Path) -> None:
    config = load(example, {**SECRETS, **KEYS})
    assert config.default_provider not in config.fallback_providers
    for name in config.providers_of(config.default_agent):
        agent = make_agent(name, config.provider_settings(name), fitting(config, SLIN8, SharedHttp()))
        assert agent.provider == name


def test_the_table_knows_every_example() -> None:
    table = (FOLDER / "README.md").read_text()
    assert EXAMPLES
    for example in EXAMPLES:
        assert f"[{example.name}]({example.name})" in table


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_names_the_keys_it_needs(example: Path) -> None:
    text = example.read_text()
    needed = load(example, {**SECRETS, **KEYS}).keys_needed()
    assert [name for name in KEYS if name in text] == [name for name in KEYS if name in needed]


def test_the_agents_that_are_shipped_fit_the_shipped_configuration() -> None:
    config = load(FOLDER.parent / "ai-agent.yaml", {**SECRETS, **KEYS})
    found = AgentFiles(FOLDER.parent / "agents", config).list()
    assert [file.name for file in found] == ["example"]
    assert [file.problems for file in found] == [()]

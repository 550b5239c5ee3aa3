"""The examples of docs/tools.md are good."""

import re
from pathlib import Path

import pytest

from ai_engine.config import load

DOC = (Path(__file__).parents[2] / "docs" / "tools.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"}


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_good(tmp_path: Path, example: str) -> None:
    [agent] = re.findall(r"^agents:\n  (\w+):", example)
    keys = dict.fromkeys(re.findall(r"\$\{(\w+)\}", example), "x")
    file = tmp_path / "c.yaml"
    file.write_text(f"default_agent: {agent}\n{example}")
    config = load(file, SECRETS | keys)
    assert {name.partition(".")[0] for name in config.tools_of(agent)} >= {*config.tools.http, *config.tools.mcp}
    assert set(config.secrets.keys) == set(keys)

"""Agents' files that nobody writes on purpose: refused with file and line, and nothing that is secret is told."""

from pathlib import Path

import pytest

from ai_engine.config.agent_file import read_agent

KEY = 'api_key = "sk-swordfish"'
DEEP = 3000


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".toml", f"[agent.llm]\n{KEY}\n[parameters]\n" + ".".join(["a"] * DEEP) + " = 1\n"),
        (".toml", f"[agent.llm]\n{KEY}\n[parameters]\n" + ".".join(["a"] * 300) + " = 1\n"),
        (".toml", f"[agent.llm]\n{KEY}\n[vad]\nx = " + "9" * 5000),
        (".toml", f"[agent.llm]\n{KEY}\n[vad]\nx = 0x" + "f" * 6000),
        (".yaml", "prompt: swordfish\na: " + "[" * DEEP + "]" * DEEP),
        (".yaml", "prompt: swordfish\n" + "\n".join(" " * depth + "a:" for depth in range(DEEP))),
        (".yaml", "prompt: swordfish\ngreeting: a\x01b\n"),
        (".yaml", 'prompt: swordfish\ngreeting: "\\ud800"\n'),
    ],
)
def test_what_cannot_be_taken_is_a_problem_of_its_file_and_is_not_repeated(suffix: str, text: str) -> None:
    file = read_agent(Path(f"shop{suffix}"), text)
    assert file.section is None
    assert file.error.startswith(f"shop{suffix}:")
    assert "swordfish" not in file.error
    assert len(file.error) < 300

"""A folder of agents' files: what is written is checked first, kept whole, and keeps its comments."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_engine.config import load
from ai_engine.config.agent_files import AgentExists, AgentFiles, NoSuchAgent
from ai_engine.config.agent_templates import TEMPLATES
from ai_engine.errors import ConfigError

SAMPLE = Path(__file__).parents[2] / "config" / "examples" / "convo.toml"
SECRETS = {
    **{"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "p", "CALL_AGENT_TOKEN": "t"},
    **{"OPENAI_API_KEY": "k", "DEEPGRAM_API_KEY": "k"},
}
BASE = """\
default_agent: base
agents: {base: {}}
call_agent: {enabled: true, telephony: {provider: mock}}
studio: {}
"""


@pytest.fixture
def files(tmp_path: Path) -> AgentFiles:
    return AgentFiles(tmp_path / "config" / "agents")


@pytest.fixture
def fitting(tmp_path: Path) -> AgentFiles:
    (tmp_path / "c.yaml").write_text(BASE)
    return AgentFiles(tmp_path / "agents", load(tmp_path / "c.yaml", SECRETS))


def left(files: AgentFiles) -> list[str]:
    return sorted(path.name for path in files.directory.iterdir())


def test_life_of_an_agent(files: AgentFiles) -> None:
    assert files.list() == []
    made = files.create("front-desk")
    assert (made.name, made.path, made.problems) == ("front-desk", files.directory / "front-desk.yaml", ())
    assert [file.name for file in files.list()] == ["front-desk"]
    changed = files.update("front-desk", {"greeting": "Good day: this is the desk."})
    assert changed.section is not None
    assert changed.section.greeting == "Good day: this is the desk."
    assert changed.version != made.version
    assert files.read("front-desk") == changed
    files.delete("front-desk")
    assert left(files) == []
    with pytest.raises(NoSuchAgent, match="no agent 'front-desk'"):
        files.read("front-desk")
    with pytest.raises(NoSuchAgent):
        files.delete("front-desk")
    with pytest.raises(NoSuchAgent):
        files.update("front-desk", {})


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_an_agent(fitting: AgentFiles, template: str) -> None:
    assert fitting.create("x", template=template).problems == ()


def test_it_fits_a_configuration_that_names_other_agents(tmp_path: Path) -> None:
    """By itself an agent is looked at without most of the others; those that are named must be there."""
    (tmp_path / "c.yaml").write_text(
        BASE.replace("{base: {}}", "{base: {}, booking: {}, other: {}}").replace("{enabled", "{agent: booking, enabled")
    )
    assert AgentFiles(tmp_path / "agents", load(tmp_path / "c.yaml", SECRETS)).create("x").problems == ()


def test_there_is_one_of_each_name(files: AgentFiles) -> None:
    files.create("x")
    with pytest.raises(AgentExists, match=r"x\.yaml"):
        files.create("x", template="convo")
    with pytest.raises(ConfigError, match="no template 'y' \\(known: reception, realtime, convo\\)"):
        files.create("y", template="y")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "Big", ".x", "-x", "a b", "ä", "x" * 42])
def test_a_name_leads_nowhere_else(files: AgentFiles, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for an agent's file"):
        files.create(name)
    with pytest.raises(NoSuchAgent):
        files.delete(name)
    assert not files.directory.exists() or left(files) == []


def test_a_convo_toml_is_copied_once_it_is_good(files: AgentFiles, tmp_path: Path) -> None:
    made = files.create("dentist", source=SAMPLE)
    assert made.path.read_text() == SAMPLE.read_text()
    bad = tmp_path / "bad.toml"
    bad.write_text("[agent]\nname = 'x'\n")
    with pytest.raises(ConfigError) as caught:
        files.create("other", source=bad)
    assert str(caught.value).startswith(f"{bad}:2: agent.name: unknown key")
    with pytest.raises(ConfigError, match=r"bad\.toml:2"):
        files.update("dentist", source=bad)
    with pytest.raises(ConfigError, match="ends with .toml"):
        files.create("other", source=tmp_path / "x.json")
    assert left(files) == ["dentist.toml"]
    assert made.path.read_text() == SAMPLE.read_text()


def test_comments_and_order_stay(files: AgentFiles) -> None:
    files.create("x")
    path = files.directory / "x.yaml"
    before = path.read_text()
    files.update("x", {"greeting": "Hi.", "tools": "[hangup]", "language": "de-DE", "fallback_limit": "5"})
    after = path.read_text()
    assert (
        after
        == before.replace("greeting: Hello, you have reached our reception. How can I help you?", "greeting: Hi.")
        .replace("tools: [hangup, transfer]", "tools: [hangup]")
        .replace("en-US", "de-DE")
        + "fallback_limit: 5\n"
    )
    files.update("x", {"fallback_limit": "null"})
    assert "fallback_limit" not in path.read_text()


def test_values_of_a_convo_toml(files: AgentFiles) -> None:
    files.create("x", template="convo")
    path = files.directory / "x.toml"
    before = path.read_text()
    files.update("x", {"greeting": "Hi.", "agent.llm.params.model": "gpt-5-nano", "vad.silence_duration_ms": "700"})
    after = path.read_text()
    assert after == before.replace("Hello, how can I help you?", "Hi.").replace("gpt-4o-mini", "gpt-5-nano") + (
        "\n[vad]\nsilence_duration_ms = 700\n"
    )
    section = files.update("x", {"agent.llm.system_messages.0.content": "Be kind."}).section
    assert section is not None
    assert (section.prompt, section.greeting, section.end_silence_ms) == ("Be kind.", "Hi.", 700)


@pytest.mark.parametrize(
    ("sets", "error"),
    [
        ({"greting": "x"}, "greting: unknown key (did you mean greeting?)"),
        ({"greeting": "42"}, 'greeting: must be text; put it in quotes: "42"'),
        ({"greeting.x": "1"}, "greeting.x: there is nothing of that name to be changed"),
        ({"": "1"}, "'' is no key"),
        ({"tools.7": "hangup"}, "tools.7: there is nothing of that name to be changed"),
        ({"idle_seconds": "9" * 5000}, "the file cannot be changed: Exceeds the limit"),
        ({".".join("a" * 1200): "1"}, "the file cannot be changed: maximum recursion depth exceeded"),
        ({"greeting": "x" * 300_000}, "x.yaml:1: there are more than 262144 characters"),
    ],
)
def test_a_wrong_change_changes_nothing(files: AgentFiles, sets: dict[str, str], error: str) -> None:
    files.create("x")
    before = (files.directory / "x.yaml").read_text()
    with pytest.raises(ConfigError) as caught:
        files.update("x", sets)
    assert error in str(caught.value)
    assert (files.directory / "x.yaml").read_text() == before
    assert left(files) == ["x.yaml"]


def test_what_does_not_fit_the_configuration_is_said(fitting: AgentFiles) -> None:
    fitting.create("x")
    with pytest.raises(ConfigError, match=r"x\.yaml:11: tools\[0\]: there is no tool 'sing'"):
        fitting.update("x", {"tools": "[sing]"})
    (fitting.directory / "base.yaml").write_text("language: en\n")
    assert "below `agents` of the configuration, too" in fitting.read("base").error
    assert fitting.read("x").error == ""


def test_a_file_with_secrets_is_for_its_owner_alone(files: AgentFiles) -> None:
    open_to_all = files.create("x", template="convo").path
    assert stat.S_IMODE(open_to_all.stat().st_mode) == 0o644
    file = files.update("x", {"agent.llm.api_key": "sk-inline"})
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert "sk-inline" not in repr(file)


def test_another_kind_of_file_takes_the_place_of_the_first(files: AgentFiles) -> None:
    files.create("x")
    files.update("x", source=SAMPLE)
    assert left(files) == ["x.toml"]


def test_of_many_who_make_the_same_agent_one_does(files: AgentFiles) -> None:
    def create(_: int) -> str:
        try:
            return files.create("x").name
        except AgentExists:
            return ""

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(32)))
    assert sorted(made)[-2:] == ["", "x"]
    assert left(files) == ["x.yaml"]


def test_changes_at_the_same_time_are_all_kept(files: AgentFiles) -> None:
    files.create("x", template="convo")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: files.update("x", {f"agent.llm.params.p{number}": "1"}), range(16)))
    text = (files.directory / "x.toml").read_text()
    assert all(f"p{number} = 1" in text for number in range(16))

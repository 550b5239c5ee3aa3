"""Agents' files as the engine sees them: a change is for the next call, and a mistake harms no other agent."""

import os
from pathlib import Path

import pytest

from ai_engine.__main__ import main
from ai_engine.app.live_config import LiveConfig
from ai_engine.config import load
from ai_engine.config.agent_files import AgentFiles
from ai_engine.switchboard.models import AgentInfo

FILE = Path("c.yaml")
SECRETS = {
    "ASTERISK_ARI_USERNAME": "offhook",
    "ASTERISK_ARI_PASSWORD": "swordfish",
    "CALL_AGENT_TOKEN": "t",
    "OPENAI_API_KEY": "sk-given",
}
BASE = """\
default_agent: base
agents:
  base: {greeting: I am of the configuration.}
call_agent: {enabled: true, telephony: {provider: mock}}
studio: {agents: agents}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FILE.write_text(BASE)
    Path("agents").mkdir()
    return Path("agents")


def live_of() -> LiveConfig:
    return LiveConfig(load(FILE, SECRETS))


def info(live: LiveConfig, name: str) -> AgentInfo:
    return next(one for one in live.infos() if one.name == name)


def test_an_agent_of_a_file_is_like_one_of_the_configuration(folder: Path) -> None:
    (folder / "shop.yaml").write_text("greeting: Hello from the shop.\nlanguage: de-DE\n")
    live = live_of()
    assert (live.now.greeting("shop"), live.now.agent("shop")["language"]) == ("Hello from the shop.", "de-DE")
    assert live.now.agent("shop") == {**live.now.agent("base"), "name": "shop", "language": "de-DE"}
    assert info(live, "shop").source == "agents/shop.yaml"
    assert info(live, "base").source == "c.yaml"
    live.close()


async def test_a_change_is_for_the_next_one_who_asks(folder: Path) -> None:
    live = live_of()
    first = live.now
    assert await live.refresh() is first
    (folder / "shop.yaml").write_text("greeting: One.\n")
    second = await live.refresh()
    version = info(live, "shop").version
    (folder / "shop.yaml").write_text("greeting: Two.\n")
    third = await live.refresh()
    assert ("shop" in first.agents, second.greeting("shop"), third.greeting("shop")) == (False, "One.", "Two.")
    assert info(live, "shop").version != version
    (folder / "shop.yaml").unlink()
    assert "shop" not in (await live.refresh()).agents
    live.close()


async def test_a_mistake_leaves_the_agent_as_it_was_and_is_told_with_its_line(folder: Path) -> None:
    live = live_of()
    (folder / "shop.yaml").write_text("greeting: One.\n")
    (folder / "other.yaml").write_text("language: en\n")
    await live.refresh()
    (folder / "shop.yaml").write_text("language: en\ngreting: Two.\n")
    (folder / "other.yaml").write_text("language: fr\n")
    config = await live.refresh()
    assert (config.greeting("shop"), config.agents["other"].language) == ("One.", "fr")
    assert info(live, "shop").error == "agents/shop.yaml:2: greting: unknown key (did you mean greeting?)"
    assert info(live, "other").error == ""
    (folder / "shop.yaml").write_text("greeting: Three.\n")
    assert (await live.refresh()).greeting("shop") == "Three."
    assert info(live, "shop").error == ""
    live.close()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "agents/base.yaml:1: there is an agent 'base' below `agents` of the configuration, too:"),
        ("provider: nobody", "agents/base.yaml:1: provider: there is no provider 'nobody'"),
        ("tools: [hangup,\n  sing]", "agents/base.yaml:2: tools[1]: there is no tool 'sing'"),
        ("pipelines:\n  mine: {stt: local, llm: local}", "agents/base.yaml:2: pipelines.mine.tts: must be set"),
        ("- a", "agents/base.yaml:1: must be keys with values"),
        ("greeting: [", "agents/base.yaml:1: this is not YAML"),
        ("provider: deepgram", "agents/base.yaml:1: provider: DEEPGRAM_API_KEY is not set; write it into .env, which"),
        ("api_key: x", "agents/base.yaml:1: api_key: secrets do not belong in this file; write the name"),
        ("\nproviders:\n  local: {url: 'ws://h:1/v1'}", "agents/base.yaml:3: providers.local: 'local' is something"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_and_line(folder: Path, text: str, error: str) -> None:
    name = "base" if not text else "bad"
    (folder / f"{name}.yaml").write_text(text)
    FILE.write_text(BASE + "providers: {local: {url: 'ws://other:1/v1'}}\n")
    live = live_of()
    assert info(live, name).error.startswith(error.replace("base", name))
    assert live.now.greeting("base") == "I am of the configuration."
    live.close()


def test_what_an_agent_brings_along(folder: Path) -> None:
    (folder / "shop.yaml").write_text(
        "provider: mine\nproviders: {mine: {type: openai_realtime, voice: ash}}\n"
        "mcp: {crm: {url: 'http://127.0.0.1:1/mcp', headers: {X-Key: '${OPENAI_API_KEY}'}}}\n"
    )
    live = live_of()
    config = live.now
    assert config.providers_of("shop") == ("mine",)
    assert config.tools_of("shop") == (*config.tools.own, "crm.*")
    assert config.secrets.keys["OPENAI_API_KEY"].get_secret_value() == "sk-given"
    assert "OPENAI_API_KEY" not in live.base.secrets.keys
    live.close()


def test_what_others_mean_by_a_name_stays(folder: Path) -> None:
    (folder / "shop.yaml").write_text("providers:\n  local: {url: 'ws://elsewhere:1/v1'}\n")
    live = live_of()
    assert info(live, "shop").error == (
        "agents/shop.yaml:2: providers.local: other agents mean their own 'local': give it another name, "
        "and write type: local"
    )
    assert live.now.providers == {}
    live.close()


async def test_two_agents_with_something_else_of_the_same_name(folder: Path) -> None:
    (folder / "a.yaml").write_text("provider: mine\nproviders: {mine: {type: local, url: 'ws://a:1/v1'}}\n")
    live = live_of()
    (folder / "0.yaml").write_text("provider: mine\nproviders: {mine: {type: local, url: 'ws://b:1/v1'}}\n")
    config = await live.refresh()
    assert "a" in config.agents
    assert "0" not in config.agents
    assert info(live, "0").error.startswith("agents/0.yaml:2: providers.mine: 'mine' is something else")
    (folder / "a.toml").write_text("")
    await live.refresh()
    assert "there is agents/a.yaml, too" in info(live, "a").error
    live.close()


def test_without_studio_there_are_no_files(folder: Path) -> None:
    (folder / "shop.yaml").write_text("greeting: Hello.\n")
    FILE.write_text(BASE.replace("studio:", "# studio:"))
    live = live_of()
    assert live.folder is None
    assert live.now is live.base
    live.close()


def test_check_names_mistakes_in_agents_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    (folder / "shop.yaml").write_text("greeting: Hello.\n")
    assert main(["--config", "c.yaml", "--env-file", "", "check"]) == 0
    assert capsys.readouterr().out == "c.yaml: good (2 agents)\n"
    (folder / "bad.toml").write_text("[agent]\nx = 1\n")
    (folder / "worse.yaml").write_text("provider: nobody\n")
    assert main(["--config", "c.yaml", "--env-file", "", "check"]) == 2
    [first, second] = capsys.readouterr().err.splitlines()
    assert first.startswith("agents/bad.toml:2: agent.x: unknown key")
    assert second.startswith("agents/worse.yaml:1: provider: there is no provider 'nobody'")


def test_a_file_that_cannot_be_looked_at_is_in_nobody_elses_way(folder: Path) -> None:
    (folder / "shop.yaml").write_text("greeting: Hello.\n")
    (folder / "round.yaml").symlink_to("round.yaml")
    live = live_of()
    assert live.now.agents.keys() == {"base", "shop"}
    assert "agents/round.yaml:1: cannot be read" in info(live, "round").error
    (folder / "other.yaml").write_text("greeting: Hello.\n")
    live.poll()
    assert live.now.agents.keys() == {"base", "other", "shop"}
    assert [(file.name, not file.problems) for file in AgentFiles(folder).list()] == [
        *(("other", True), ("round", False), ("shop", True))
    ]
    live.close()


def test_a_change_that_keeps_size_and_time_is_seen(folder: Path) -> None:
    file = folder / "shop.yaml"
    file.write_text("greeting: One.\n")
    was = file.stat()
    live = live_of()
    file.write_text("greeting: Two.\n")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))  # as rsync --inplace --times does
    live.poll()
    assert live.now.greeting("shop") == "Two."
    live.close()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xef\xbb\xbf[agent.llm]\r\nvendor = 'local'\r\n", "agents/shop.toml:1: agent: a cascade needs"),
        (b"# " + b"x" * 300_000, "agents/shop.toml:1: there are more than 262144 characters"),
        (b"x = '\xff'", "agents/shop.toml:1: cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_what_a_file_is_made_of(folder: Path, content: bytes, error: str) -> None:
    (folder / "shop.toml").write_bytes(content)
    live = live_of()
    assert info(live, "shop").error.startswith(error)
    assert AgentFiles(folder).read("shop").error.startswith(error)
    live.close()


def test_a_folder_that_cannot_be_looked_at_takes_no_agent_away(folder: Path) -> None:
    (folder / "shop.yaml").write_text("greeting: Hello.\n")
    (folder / "gone.yaml").symlink_to(folder / "nowhere.yaml")
    (folder / "sub.yaml").mkdir()
    live = live_of()
    before = live.now
    assert before.agents.keys() == {"base", "shop"}
    folder.rename("elsewhere")
    folder.write_text("no folder")
    live.poll()
    assert live.now is before
    folder.unlink()
    live.poll()
    assert live.now.agents.keys() == {"base"}
    live.close()

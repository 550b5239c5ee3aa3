"""`studio agent …` and `studio config …`, on real files."""

import json
import re
import shutil
from pathlib import Path

import pytest

from ai_engine.switchboard.models import AgentInfo, Capability
from tests.fakes.switchboard import AGENT, ScriptedSwitchboard
from tests.studio.house import House

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config/examples/convo.toml"


def test_an_agent_is_made_listed_shown_changed_and_deleted(house: House) -> None:
    made = house.studio("agent", "create", "helper")
    assert made.status == 0
    assert (house.folder / "agents/helper.yaml").exists()
    assert "agents/helper.yaml" in made.out
    assert [one["name"] for one in house.studio("agent", "list", "--json").json] == ["helper", "reception"]
    before = house.studio("agent", "show", "helper", "--json").json
    changed = house.studio("agent", "update", "helper", "--set", "greeting=Good = morning!")
    assert changed.status == 0
    assert "Good = morning!" in (house.folder / "agents/helper.yaml").read_text()
    assert house.studio("agent", "show", "helper", "--json").json["version"] != before["version"]
    asked = house.studio("agent", "delete", "helper")
    assert (asked.status, "--force" in asked.err) == (2, True)
    assert house.studio("agent", "delete", "helper", "--force").status == 0
    assert not list((house.folder / "agents").iterdir())


def test_a_convo_toml_is_taken_and_what_means_nothing_is_named(house: House) -> None:
    made = house.studio("agent", "create", "helper", "--config", str(EXAMPLE))
    assert made.status == 0
    assert "left out" in made.err
    assert re.search(r"it cannot be used yet: agents/helper.toml:\d+: \S+: OPENAI_API_KEY is not set", made.err)
    shown = house.studio("agent", "show", "helper", "--json").json
    assert any("channel" in line for line in shown["notApplicable"])
    assert "not applicable here" in house.studio("agent", "show", "helper").out


def test_what_breaks_an_agent_is_not_written_and_named_with_its_line(house: House) -> None:
    house.studio("agent", "create", "helper")
    text = (house.folder / "agents/helper.yaml").read_text()
    bad = house.studio("agent", "update", "helper", "--set", "greting=Hello")
    assert (bad.status, bad.out) == (2, "")
    assert "greting" in bad.err
    assert (house.folder / "agents/helper.yaml").read_text() == text
    (wrong := house.folder / "wrong.yaml").write_text("language: en-US\nnonsense: 1\n")
    refused = house.studio("agent", "create", "other", "--config", str(wrong))
    assert refused.status == 2
    assert "wrong.yaml:2:" in refused.err
    (house.folder / "agents/broken.yaml").write_text("nonsense: 1\n")
    listed = {one["name"]: one for one in house.studio("agent", "list", "--json").json}
    assert "broken.yaml:1:" in listed["broken"]["error"]
    assert "broken.yaml:1:" in house.studio("agent", "list").out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("show", "nobody"), 3),
        (("update", "nobody", "--set", "a=b"), 3),
        (("delete", "nobody", "--force"), 3),
        (("create", "helper"), 2),
        (("create", "reception"), 2),
        (("create", "../x"), 2),
        (("create", "x", "--template", "none"), 2),
        (("create", "x", "--template", "t", "--config", "f.toml"), 2),
        (("update", "helper"), 2),
        (("update", "helper", "--set", "a"), 2),
        (("update", "reception", "--set", "a=b"), 2),
        (("delete", "reception", "--force"), 2),
    ],
)
def test_what_cannot_be_done_is_one_line(house: House, words: tuple[str, ...], status: int) -> None:
    house.studio("agent", "create", "helper")
    ended = house.studio("agent", *words)
    assert (ended.status, ended.out) == (status, "")
    lines = [line for line in ended.err.splitlines() if "not set" not in line]
    assert len(lines) == 1, ended.err


def test_what_an_agent_can_do_without_an_engine_has_reasons(house: House) -> None:
    shown = {one["name"]: one for one in house.studio("agent", "show", "reception", "--json").json["capabilities"]}
    assert list(shown) == [
        "phone_call", "inbound_call", "web_session", "barge_in", "tools", "transcript", "dtmf", "recording",
    ]  # fmt: skip
    assert "studio number import" in shown["phone_call"]["reason"]
    assert shown["recording"]["present"]
    assert all(one["reason"] for one in shown.values() if not one["present"])
    house.import_number("+15550199", "--inbound-agent", "reception")
    led = house.studio("agent", "show", "reception", "--json").json
    assert led["numbers"] == ["+15550199"]
    reasons = {one["name"]: one.get("reason", "") for one in led["capabilities"]}
    assert "no engine runs here" in reasons["phone_call"]
    assert "no engine runs here" in reasons["inbound_call"]
    assert "no: no engine runs here" in house.studio("agent", "show", "reception").out


def test_deleting_an_agent_says_which_numbers_nobody_answers_then(house: House) -> None:
    house.studio("agent", "create", "helper")
    house.import_number("+15550199", "--inbound-agent", "helper")
    assert "Calls to +15550199 would be refused" in house.studio("agent", "delete", "helper").err
    assert "nobody answers +15550199" in house.studio("agent", "delete", "helper", "--force").err


async def test_an_engine_that_runs_knows_what_its_agents_can_do(house: House) -> None:
    board = ScriptedSwitchboard()
    able = Capability(name="phone_call", present=True)
    board.answers["agents"] = [AGENT.model_copy(update={"capabilities": (able, *AGENT.capabilities)})]
    async with house.engine(board):
        out = (await house.ask("agent", "show", "reception")).out
        assert "no: recording.enabled is off" in out
        assert "phone_call      yes" in out
        listed = (await house.ask("agent", "list", "--json")).json
        assert AgentInfo.model_validate(listed[0]) == board.answers["agents"][0]
        assert (await house.ask("agent", "show", "nobody")).status == 3


# -- studio config -------------------------------------------------------------------------------------------


def test_a_good_configuration_is_good_without_its_secrets(house: House) -> None:
    ended = house.studio("config", "validate")
    assert ended.status == 0
    assert "ASTERISK_ARI_PASSWORD: not set" in ended.err
    assert "good (1 agents in it, 0 in files of their own)" in ended.out
    assert house.studio("config", "validate", "--strict").status == 2
    house.environ |= {"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "a-secret"}
    assert house.studio("config", "validate", "--strict").err == ""


def test_what_is_wrong_with_files_is_named_with_line(house: House) -> None:
    house.studio("agent", "create", "helper", "--config", str(EXAMPLE))
    (house.folder / "agents/broken.yaml").write_text("language: en-US\nnonsense: 1\n")
    ended = house.studio("config", "validate", "--json")
    assert (ended.status, ended.json["ok"]) == (2, False)
    assert [line.partition(": ")[0] for line in ended.json["problems"]] == ["agents/broken.yaml:2"]
    assert any("OPENAI_API_KEY is not set" in line for line in ended.json["missing"])
    assert ended.json["notApplicable"]
    config = house.folder / "config/ai-agent.yaml"
    config.write_text(config.read_text() + "nonsense: 1\n")
    told = house.studio("config", "validate")
    assert (told.status, told.out) == (2, "")
    assert "config/ai-agent.yaml:8: nonsense" in told.err


def test_a_wrong_studio_section_is_named_by_every_verb(house: House) -> None:
    config = house.folder / "config/ai-agent.yaml"
    config.write_text(config.read_text().replace("studio: {", "studio: {\n  directry: x,"))
    for words in (("number", "list"), ("list",), ("calls",), ("agent", "list")):
        ended = house.studio(*words)
        assert (ended.status, ended.out) == (2, "")
        assert "config/ai-agent.yaml:8: studio.directry: unknown key" in ended.err
    none = house.studio("--config", "nowhere.yaml", "number", "list")
    assert (none.status, "OFFHOOK_CONFIG" in none.err) == (2, True)
    shutil.move(config, house.folder / "other.yaml")
    house.environ["OFFHOOK_CONFIG"] = "other.yaml"
    (house.folder / "other.yaml").write_text("default_agent: a\nagents: {a: {}}\n")
    unseen = house.studio("number", "list", "--json")
    assert (unseen.status, unseen.json) == (0, [])
    assert "has no `studio` section" in unseen.err


def test_the_configuration_is_shown_without_secrets(house: House) -> None:
    house.environ |= {"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "a-secret"}
    shown = house.studio("config", "show")
    assert shown.json["studio"]["directory"] == "studio"
    assert "a-secret" not in shown.out + shown.err


def test_what_people_write_beside_a_secrets_name_is_not_shown(house: House) -> None:
    (house.folder / "secretive.yaml").write_text(
        """\
default_agent: a
agents: {a: {}}
tools:
  mcp:
    far: {url: 'http://127.0.0.1:1/mcp', headers: {Authorization: Bearer s3cret, X-Key: '${A_KEY}'}}
    near: {command: "true", env: {PASSWORD: s3cret}}
providers: {local: {url: 'ws://127.0.0.1:1/v1?token=s3cret'}}
"""
    )
    house.environ["OFFHOOK_CONFIG"] = "secretive.yaml"
    shown = house.studio("config", "show")
    assert shown.status == 0, shown.err
    mcp = shown.json["tools"]["mcp"]
    assert (mcp["far"]["url"], mcp["far"]["headers"]["X-Key"]) == ("http://127.0.0.1:1/mcp", "${A_KEY}")
    assert shown.json["providers"]["local"]["url"] == "ws://127.0.0.1:1/v1?…"
    assert "s3cret" not in shown.out + shown.err


def test_the_schema_is_that_of_the_repository(house: House) -> None:
    assert json.loads(house.studio("config", "schema").out) == json.loads(
        (ROOT / "config/ai-agent.schema.json").read_text()
    )

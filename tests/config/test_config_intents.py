"""Intents that use tools: what the file may say, and every mistake in it by name and line."""

from pathlib import Path

import pytest

from ai_engine.config import load
from ai_engine.errors import ConfigError

SECRETS = {"ASTERISK_ARI_USERNAME": "a", "ASTERISK_ARI_PASSWORD": "b"}

GOOD = """\
default_agent: a
tools:
  http:
    look: {description: Look., url: "https://a.example/{day}", parameters: {day: {type: string}}}
  mcp:
    crm: {url: "https://b.example/mcp"}
agents:
  a:
    tools: [hangup, look, crm.*]
    slots: {day: [monday]}
    intents:
      free:
        phrases: ["is {day} free"]
        answer: Let me see.
        action: look
        arguments: {day: "{day}", deep: true, was: "{look.result.0}"}
        results:
          - when: {result.free: true}
            say: Yes, {result.name}.
            action: hangup
          - say: No.
      yes:
        needs: {look.result.free: true}
        phrases: ["yes"]
        answer: "{look.result.name}"
      mcp: {phrases: [go], answer: Well., action: crm_go, results: [{say: Gone.}]}
"""


def problems(folder: Path, text: str) -> list[str]:
    path = folder / "c.yaml"
    path.write_text(text)
    try:
        load(path, SECRETS)
    except ConfigError as error:
        return [line.removeprefix(f"{folder}/") for line in str(error).splitlines()]
    return []


def test_it_is_good(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("action: look", "action: loook", "15: agents.a.intents.free.action: there is no tool 'loook' (known: "),
        ("action: look", "action: transfer", "15: agents.a.intents.free.action: needs transfer below agents.a.tools"),
        ("action: hangup", "action: bananas", "results[0].action: there is no tool 'bananas'"),
        ("action: hangup", "action: look", "20: agents.a.intents.free.results[0].action: needs results"),
        ("action: look\n", "action: hangup\n", "free.results: nothing is said after hangup"),
        ("        action: look\n", "", "free.arguments: is for an action, and there is none"),
        ("- say: No.", "- {when: {x: 1}, say: No.}", "21: agents.a.intents.free.results[1].when: all need one but"),
        ("when: {result.free: true}", "when: {}", "18: agents.a.intents.free.results[0].when: all need one but"),
        ('{day: "{day}"', '{day: "{dya}"', "16: agents.a.intents.free.arguments.day: there is no slot 'dya' below age"),
        ("{look.result.0}", "{lok.result}", "16: agents.a.intents.free.arguments.was: there is no tool 'lok'"),
        ("Let me see.", "'{dya}?'", "14: agents.a.intents.free.answer: there is no slot 'dya' below agents.a.slots"),
        ("{look.result.free: true}", "look.x", "23: agents.a.intents.yes.needs: must be the name of a tool, or values"),
        ("{look.result.free: true}", "loook", "23: agents.a.intents.yes.needs: there is no tool 'loook'"),
        ("{look.result.free: true}", "{look: true}", "intents.yes.needs.look: name a value in what the tool came to"),
        ("{look.result.free: true}", "{lok.free: true}", "intents.yes.needs.lok.free: there is no tool 'lok'"),
        ("{look.result.free: true}", "transfer", "23: agents.a.intents.yes.needs: needs transfer below agents.a.tools"),
        ("say: No.", "sya: No.", "21: agents.a.intents.free.results[1].sya: unknown key"),
        ("deep: true", "deep: [1]", "16: agents.a.intents.free.arguments.deep: must be text, a number"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in GOOD
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert any(problem in line for line in found), found

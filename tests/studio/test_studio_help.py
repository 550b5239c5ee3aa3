"""The verbs of `studio`: which there are, that each teaches, and what a shell completes."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from ai_engine.studio.app import app
from ai_engine.web.call_screen import console
from tests.fakes.switchboard import CALL, ScriptedSwitchboard
from tests.studio.house import House

ROOT = Path(__file__).parents[2]
VERBS = """\
agent create
agent delete
agent list
agent show
agent start
agent stop
agent update
call
calls
calls show
config schema
config show
config validate
hangup
list
listen
logs
number export
number import
number list
number remove
number rotate-key
transfer
tui
whisper
"""


def _verbs(group: object, before: str = "") -> Iterator[str]:
    for name, command in sorted(getattr(group, "commands", {}).items()):
        inside = list(_verbs(command, f"{before}{name} "))
        if not inside or getattr(command, "invoke_without_command", False):
            yield f"{before}{name}"
        yield from inside


def test_the_verbs_are_flat_and_say_what_they_do() -> None:
    assert "\n".join(_verbs(typer.main.get_command(app))) + "\n" == VERBS


@pytest.mark.parametrize("verb", VERBS.splitlines())
def test_each_verb_teaches(house: House, verb: str) -> None:
    ended = house.studio(*verb.split(), "--help")
    assert (ended.status, ended.err) == (0, "")
    assert f"Usage: studio {verb}" in ended.out
    if verb != "tui":
        assert f"studio {verb}" in ended.out.partition("Examples")[2]
        assert "Exit status: 0 done" in ended.out


def test_the_help_of_all_shows_where_to_begin(house: House) -> None:
    ended = house.studio("--help")
    assert ended.status == 0
    listed = re.findall(r"^│ (\w+) ", ended.out.partition("Commands")[2], re.MULTILINE)
    assert sorted(listed) == sorted({verb.split()[0] for verb in VERBS.splitlines()})
    assert "studio number import" in ended.out
    assert house.studio("--version").status == 0
    assert house.studio("number").status == 2


def test_alone_it_wants_a_terminal(house: House) -> None:
    for words in ((), ("tui",)):
        ended = house.studio(*words)
        assert (ended.status, "there is no terminal" in ended.err) == (2, True)


def _completed(house: House, line: str) -> list[str]:
    """What bash is offered at the end of ``line``."""
    words = line.split(" ")
    environ = {
        **os.environ, "PYTHONPATH": str(ROOT), "_STUDIO_COMPLETE": "complete_bash", "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ai_engine.studio"], cwd=house.folder, env=environ, capture_output=True, text=True
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_verbs_agents_and_numbers(house: House) -> None:
    house.studio("agent", "create", "helper")
    house.import_number()
    assert _completed(house, "studio ag") == ["agent"]
    assert _completed(house, "studio call h") == ["helper"]
    assert _completed(house, "studio agent show ") == ["helper", "reception"]
    assert _completed(house, "studio number remove ") == ["+15550199"]
    (house.folder / "studio/numbers.enc").write_bytes(b"broken")
    assert _completed(house, "studio number remove ") == []


async def test_a_shell_completes_calls_of_the_engine(house: House) -> None:
    async with house.engine(ScriptedSwitchboard()):
        assert await asyncio.to_thread(_completed, house, "studio hangup ") == ["job-1-1"]
        assert await asyncio.to_thread(_completed, house, "studio agent stop ") == ["lobby"]
    assert _completed(house, "studio hangup ") == []


def test_a_table_in_a_pipe_is_not_broken_into_lines(house: House) -> None:
    house.import_number("+15550199", "--label", "a label " * 10)
    lines = house.studio("number", "list").out.splitlines()
    assert len(lines) == 2
    assert not console().is_terminal


async def test_the_list_fits_a_terminal_of_80_columns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    board = ScriptedSwitchboard()
    ids = ("b2c76d15-9a5b-4a58-b3a7-f25f059c68af", "b2c76d15-7a5b-4a58-b3a7-f25f059c68af")
    board.answers["calls"] = [CALL.model_copy(update={"call_id": id, "number": "+4930123456789"}) for id in ids]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    async with house.engine(board):
        lines = re.sub(r"\x1b\[[0-9;]*m", "", (await house.ask("list")).out).splitlines()
        assert max(map(len, lines)) <= 80, lines
        shown = [line.split()[-1] for line in lines if re.match(r" *\d ", line)]
        assert shown == ["b2c76d15-9", "b2c76d15-7", "room-1"]
        assert (await house.ask("hangup", shown[0])).status == 0

"""Calls, rooms, logs and what is over: `studio` against the real studio API, with a scripted engine behind it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ai_engine.host.registry import Entry, Registry, started_of
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.status import Status
from ai_engine.switchboard.models import RoomRequest, StudioCall, Transfer
from ai_engine.switchboard.ports import Refused
from ai_engine.web.studio_api import Studio
from tests.fakes.call_desk import MemoryDesk
from tests.fakes.front_door import front_door
from tests.fakes.switchboard import CALL, NOW, ROOM, ScriptedSwitchboard
from tests.studio.house import RUN, House
from tests.waiting import until

ROOT = Path(__file__).parents[2]
ASKED = CallRequest(to="+15550100", prompt="Talk.")
LATER = CALL.model_copy(
    update={"call_id": "7f3a-later", "job": "", "direction": "inbound", "since": NOW + timedelta(seconds=60)}
)


@pytest.fixture
def board() -> ScriptedSwitchboard:
    board = ScriptedSwitchboard()
    board.answers["rooms"] = [ROOM.model_copy(update={"started_at": NOW + timedelta(seconds=30)})]
    board.answers["calls"] = [CALL, LATER]
    return board


@pytest.fixture
async def open_house(house: House, board: ScriptedSwitchboard) -> AsyncIterator[House]:
    async with house.engine(board):
        yield house


# -- no engine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("list",), ("call", "reception", "+15550100"), ("hangup", "1"), ("hangup", "--all"), ("transfer", "1"),
        ("listen", "1", "--on", "1000"), ("whisper", "1", "x"), ("logs",), ("agent", "start", "reception"),
        ("agent", "stop", "reception"),
    ],
)  # fmt: skip
def test_where_no_engine_runs_that_is_said(house: House, words: tuple[str, ...]) -> None:
    ended = house.studio(*words)
    assert (ended.status, ended.out) == (5, "")
    assert "no engine runs here" in ended.err
    assert "offhook --config" in ended.err
    assert ended.err.count("\n") == 1


def test_an_engine_that_does_not_answer_is_said(house: House) -> None:
    ended = house.studio("--url", "http://127.0.0.1:9", "list")
    assert (ended.status, "http://127.0.0.1:9" in ended.err) == (5, True)
    assert house.studio("--url", "http://127.0.0.1:9", "hangup", "abcd").status == 5


async def test_a_token_that_is_none_is_said_and_never_shown(open_house: House) -> None:
    url = Registry(open_house.folder / "studio").living()[0].url
    ended = await open_house.ask("--url", url, "--token", "a-guess-of-mine", "list")
    assert ended.status == 5
    assert "does not take this token" in ended.err
    assert "a-guess-of-mine" not in ended.err
    assert (await open_house.ask("--url", url, "list")).status == 0  # it is one of this machine


async def test_an_engine_elsewhere_is_asked_with_the_token_of_the_environment(
    house: House, board: ScriptedSwitchboard
) -> None:
    async with front_door(studio=Studio(board, SecretStr(RUN)), tokens=["a-token-of-the-configuration"]) as door:
        (house.folder / ".env").write_text(
            f"CALL_AGENT_URL={door.url}/\nCALL_AGENT_TOKEN=a-token-of-the-configuration,b\n"
        )
        assert len((await house.ask("list", "--json")).json) == 3
        (house.folder / ".env").unlink()
        house.environ["CALL_AGENT_TOKEN"] = "a-token-of-the-configuration"
        assert (await house.ask("--url", door.url, "hangup", "job-1")).status == 0
        assert (await house.ask("list")).status == 5


# -- list ----------------------------------------------------------------------------------------------------


async def test_the_list_is_numbered_the_oldest_first(open_house: House) -> None:
    rows = (await open_house.ask("list", "--json")).json
    assert [(row["#"], row["kind"]) for row in rows] == [(1, "call"), (2, "room"), (3, "call")]
    assert rows[0]["callId"] == "job-1-1"
    assert RUN not in json.dumps(rows)
    table = (await open_house.ask("list")).out
    assert "to +15550100" in table
    assert "room lobby" in table
    assert "812 ms" in table


async def test_all_engines_are_listed_and_one_that_is_silent_is_told_of(
    house: House, board: ScriptedSwitchboard
) -> None:
    other = ScriptedSwitchboard()
    other.answers |= {"calls": [], "rooms": [ROOM.model_copy(update={"id": "room-9", "name": "night"})]}
    async with house.engine(board), house.engine(other, "host-2"):
        rows = (await house.ask("list", "--json")).json
        assert {row["engine"]["id"] for row in rows} == {"host-1", "host-2"}
        assert len(rows) == 4
        assert [row["kind"] for row in (await house.ask("--engine", "host-2", "list", "--json")).json] == ["room"]
        assert (await house.ask("--engine", "host-9", "list")).status == 3
        ended = await house.ask("--url", "http://127.0.0.1:9", "list", "--json")
        assert (ended.status, len(ended.json)) == (0, 4)
        assert "http://127.0.0.1:9" in ended.err
        # It is looked for where it is.
        assert (await house.ask("agent", "stop", "night")).status == 0
        assert ("stop_room", "room-9") in other.asked
        assert not [one for one in board.asked if one[0] == "stop_room"]


def test_an_engine_that_was_killed_is_listed_no_more(house: House) -> None:
    registry = Registry(house.folder / "studio")
    with subprocess.Popen(["sleep", "60"]) as engine:
        registry.enter(Entry("host-1", engine.pid, started_of(engine.pid), "http://127.0.0.1:9", RUN, ""))
        assert "http://127.0.0.1:9" in house.studio("list").err
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    assert "no engine runs here" in house.studio("list").err
    assert not list((house.folder / "studio/run").iterdir())


# -- call ----------------------------------------------------------------------------------------------------


async def test_an_agent_calls_somebody(open_house: House, board: ScriptedSwitchboard) -> None:
    ended = await open_house.ask(
        "call", "reception", "+1 555 0100", "--from", "+15550199", "--ring-timeout", "20", "--max-duration", "300",
        "--var", "name=Ada", "--var", "topic=a=b",
    )  # fmt: skip
    assert ended.status == 0
    assert "job-1" in ended.out
    assert board.asked[-1] == (
        "call",
        StudioCall(
            agent="reception", to="+15550100", from_number="+15550199", ring_seconds=20, max_seconds=300,
            variables={"name": "Ada", "topic": "a=b"},
        ),
    )  # fmt: skip
    assert (await open_house.ask("call", "reception", "+15550100", "--json")).json["id"] == "job-1"


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refused("not-found", "there is no agent 'nobody'"), 3),
        (Refused("not-capable", "agent reception: no number; `studio number import` brings one"), 4),
        (Refused("asterisk", "Asterisk does not answer"), 5),
        (Refused("refused", "+15550100 is on the do-not-call list"), 6),
    ],
)
async def test_a_call_that_is_not_placed_says_why(
    open_house: House, board: ScriptedSwitchboard, refusal: Refused, status: int
) -> None:
    board.answers["call"] = refusal
    ended = await open_house.ask("call", "reception", "+15550100")
    assert (ended.status, ended.out, ended.err) == (status, "", f"studio: {refusal}\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("call", "reception", "Bob"), "TO: 'Bob' is no telephone number"),
        (("call", "reception", "+1", "--from", "x"), "--from: 'x' is no telephone number"),
        (("call", "reception", "+1", "--ring-timeout", "0"), "--ring-timeout: must be greater"),
        (("call", "reception", "+1", "--max-duration", "99999"), "--max-duration: must be less"),
        (("call", "reception", "+1", "--var", "name"), "--var name: must be NAME=VALUE"),
        (("call", "reception"), "TO"),
        (("hangup",), "--all"),
        (("hangup", "1", "--all"), "--all"),
        (("whisper", "1", " "), "nothing to whisper"),
        (("agent", "start", "reception", "--channel", "a b"), "--channel a b"),
        (("list", "--engine", "x"), "studio --engine … list"),
        (("list", "--nonsense"), "--nonsense"),
        (("nonsense",), "nonsense"),
    ],
)
async def test_what_was_typed_wrongly_is_named(open_house: House, words: tuple[str, ...], told: str) -> None:
    ended = await open_house.ask(*words)
    assert (ended.status, ended.out) == (2, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(("outcome", "status"), [(Status.COMPLETED, 0), (Status.BUSY, 6), (Status.NO_ANSWER, 6)])
async def test_whoever_waits_is_told_how_it_went(
    house: House, board: ScriptedSwitchboard, outcome: Status, status: int
) -> None:
    desk = MemoryDesk()
    async with house.engine(board, desk=desk):
        record = board.answers["call"] = await desk.call_agent(ASKED)
        desk.happen(record.id, Status.DIALING, "ringing", "it rings")
        if outcome is Status.COMPLETED:
            desk.happen(record.id, Status.IN_PROGRESS, "answered")
        desk.settle(record.id, outcome)
        ended = await house.ask("call", "reception", "+15550100", "--wait")
        assert ended.status == status
        assert "it rings" in ended.out
        assert outcome.value in ended.out
        assert ("call failed" in ended.err) == bool(status)
        as_json = await house.ask("call", "reception", "+15550100", "--wait", "--json")
        assert (as_json.status, as_json.json["status"]) == (status, outcome.value)


# -- what is done to a call ----------------------------------------------------------------------------------


async def test_a_number_of_the_list_means_what_it_meant_there(open_house: House, board: ScriptedSwitchboard) -> None:
    await open_house.ask("list")
    board.answers["calls"] = [LATER]  # the first has ended
    gone = await open_house.ask("hangup", "1")
    assert (gone.status, "job-1-1" in gone.err) == (3, True)
    assert (await open_house.ask("hangup", "3")).status == 0
    assert (await open_house.ask("hangup", "#3")).status == 0
    assert [one for one in board.asked if one[0] == "hang_up"] == [("hang_up", "7f3a-later")] * 2
    assert (await open_house.ask("hangup", "4")).status == 3


async def test_calls_are_hung_up_by_id_by_its_beginning_by_job_or_all(
    open_house: House, board: ScriptedSwitchboard
) -> None:
    for word in ("7f3a-later", "7f3a", "job-1", "job-1-1"):
        assert (await open_house.ask("hangup", word)).status == 0
    assert [one[1] for one in board.asked if one[0] == "hang_up"] == ["7f3a-later", "7f3a-later", "job-1-1", "job-1-1"]
    assert (await open_house.ask("hangup", "nobody")).status == 3
    assert (await open_house.ask("hangup", "7f3")).status == 3  # too short to be sure of
    room = await open_house.ask("hangup", "lobby")
    assert (room.status, "studio agent stop lobby" in room.err) == (2, True)
    board.asked.clear()
    ended = await open_house.ask("hangup", "--all", "--json")
    assert (ended.status, len(ended.json)) == (0, 2)
    assert [one[1] for one in board.asked if one[0] == "hang_up"] == ["job-1-1", "7f3a-later"]
    board.answers["hang_up"] = Refused("not-found", "it has ended by itself")
    assert (await open_house.ask("hangup", "--all")).status == 0
    assert (await open_house.ask("hangup", "7f3a-later")).status == 3


async def test_a_call_is_transferred_and_its_agent_whispered_to(open_house: House, board: ScriptedSwitchboard) -> None:
    assert (await open_house.ask("transfer", "job-1", "--to", "200", "--context", "sales")).status == 0
    assert (await open_house.ask("transfer", "job-1")).status == 0
    assert (await open_house.ask("whisper", "job-1", "Be brief.")).status == 0
    done = [one for one in board.asked if one[0] in ("transfer", "whisper")]
    assert done == [
        ("transfer", "job-1-1", Transfer(extension="200", context="sales")),
        ("transfer", "job-1-1", Transfer()),
        ("whisper", "job-1-1", "Be brief."),
    ]
    assert (await open_house.ask("transfer", "job-1", "--to", "a b")).status == 2
    board.answers["transfer"] = Refused("not-capable", "it has not been answered yet")
    assert (await open_house.ask("transfer", "job-1")).status == 4


# -- programs of their own, which are interrupted -------------------------------------------------------------


def _started(house: House, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "ai_engine.studio", *words], cwd=house.folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


async def _interrupted(running: "subprocess.Popen[str]") -> tuple[int, str, str]:
    running.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(running.communicate)
    return running.returncode, out, err


def _asked(board: ScriptedSwitchboard, name: str) -> list[tuple[Any, ...]]:
    return [one for one in board.asked if one[0] == name]


async def test_listening_in_ends_with_ctrl_c(open_house: House, board: ScriptedSwitchboard) -> None:
    with _started(open_house, "listen", "job-1", "--on", "1000@from-internal") as running:
        await until(lambda: _asked(board, "listen"))
        status, _, err = await _interrupted(running)
    assert (status, err) == (0, "")
    assert board.asked.count(("listen", "job-1-1", "1000@from-internal")) == 1
    assert board.asked[-1] == ("stop_listening", "ear-1")


async def test_logs_are_followed_until_ctrl_c(open_house: House, board: ScriptedSwitchboard) -> None:
    once = await open_house.ask("logs", "job-1-1")
    assert (once.status, "call started" in once.out, "agent=reception" in once.out) == (0, True, True)
    assert json.loads((await open_house.ask("logs", "--json")).out)["event"] == "call started"
    assert ("logs", "job-1-1", False) in board.asked
    with _started(open_house, "logs", "-f") as running:
        await until(lambda: ("logs", "", True) in board.asked)
        await until(lambda: board.readers)
        await board.happen(board.lines[0].model_copy(update={"event": "\x1b[31mred"}))
        assert running.stdout is not None
        await asyncio.to_thread(running.stdout.readline)
        assert "�[31mred" in await asyncio.to_thread(running.stdout.readline)
        status, _, err = await _interrupted(running)
    assert (status, err) == (0, "")


async def test_whoever_stops_waiting_leaves_the_call_alone(house: House, board: ScriptedSwitchboard) -> None:
    desk = MemoryDesk()
    record = board.answers["call"] = await desk.call_agent(ASKED)
    desk.happen(record.id, Status.DIALING, "dialing")
    async with house.engine(board, desk=desk):
        with _started(house, "call", "reception", "+15550100", "--wait") as running:
            await until(lambda: _asked(board, "call"))
            assert running.stdout is not None
            await asyncio.to_thread(running.stdout.readline)
            status, _, err = await _interrupted(running)
    assert (status, f"the call goes on: studio hangup {record.id}" in err) == (130, True)
    assert not _asked(board, "hang_up")


# -- rooms ---------------------------------------------------------------------------------------------------


async def test_an_agent_runs_without_a_telephone(open_house: House, board: ScriptedSwitchboard) -> None:
    ended = await open_house.ask("agent", "start", "reception", "--channel", "lobby")
    assert (ended.status, "600" in ended.out) == (0, True)
    assert board.asked[-1] == ("start_room", RoomRequest(agent="reception", channel="lobby"))
    for word in ("reception", "lobby", "room-1"):
        assert (await open_house.ask("agent", "stop", word)).status == 0
        assert _asked(board, "stop_room")[-1] == ("stop_room", "room-1")
    await open_house.ask("list")
    assert (await open_house.ask("agent", "stop", "2", "--json")).json["id"] == "room-1"
    call = await open_house.ask("agent", "stop", "1")
    assert (call.status, "studio hangup job-1-1" in call.err) == (2, True)
    assert (await open_house.ask("agent", "stop", "nobody")).status == 3
    board.answers["start_room"] = Refused("not-capable", "agent reception: there is no page for browsers")
    assert (await open_house.ask("agent", "start", "reception")).status == 4


async def test_a_room_in_the_foreground_is_closed_with_ctrl_c(open_house: House, board: ScriptedSwitchboard) -> None:
    with _started(open_house, "agent", "start", "reception", "--foreground") as running:
        await until(lambda: board.readers)
        status, out, err = await _interrupted(running)
    assert status == 0
    assert "600" in out
    assert "room lobby is closed" in err
    assert board.asked[-1] == ("stop_room", "room-1")

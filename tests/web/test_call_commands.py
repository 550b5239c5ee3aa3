"""The command line for those who ask for calls, with a real engine's front door."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ai_engine.__main__ import main
from ai_engine.jobs.record import ScheduledEvent
from ai_engine.jobs.request import CallRequest, Report, WorkingHours
from ai_engine.jobs.settings import Manners
from ai_engine.jobs.status import Status
from ai_engine.web import call_commands, commands
from ai_engine.web.call_commands import follow
from ai_engine.web.client import EngineClient, EngineUnreachable
from tests.fakes.call_desk import MemoryDesk
from tests.fakes.front_door import TOKEN, FrontDoor, front_door
from tests.waiting import until

ROOT = Path(__file__).parents[2]
BOOK = ("call", "--to", "+14155550123", "--goal", "a haircut", "--duration", "30")
FREE = ("call", "--to", "+14155550123", "--prompt", "Ask.")
EVENT = ScheduledEvent.model_validate(
    {
        "eventId": "1",
        "calendarId": "primary",
        "start": "2027-03-01T09:00:00Z",
        "end": "2027-03-01T09:30:00Z",
        "timezone": "UTC",
    }
)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "__kwdefaults__", {"poll_seconds": 0.01, "patience_seconds": 30.0})


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    with capture_logs():  # the engine's, which would be taken for the command's words
        async with front_door(MemoryDesk(Manners(allowed_prefixes=("+1",))), tokens=[TOKEN]) as door:
            yield door


def command(*words: str, url: str = "", token: str = TOKEN) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers(dest="command"))
    return commands.run(parser.parse_args(words), {"CALL_AGENT_URL": url, "CALL_AGENT_TOKEN": token})


async def run(door: FrontDoor, *words: str) -> int:
    return await asyncio.to_thread(command, *words, url=door.url)


async def test_a_call_is_asked_for(door: FrontDoor, capsys: pytest.CaptureFixture[str]) -> None:
    status = await run(
        door, *BOOK, "--timezone", "Europe/Berlin", "--window-start", "2027-03-01T09:00", "--window-end",
        "2027-03-05T18:00:00+01:00", "--working-hours", "10:00-16:00", "--days", "1,2", "--calendar", "work", "--user",
        "Ada", "--callee", "Bob", "--agent", "booker", "--trunk", "main", "--key", "tuesday",
    )  # fmt: skip
    assert status == 0
    assert door.desk.asked == [
        CallRequest.model_validate(
            {
                "to": "+14155550123", "goal": "a haircut", "durationMinutes": 30, "timezone": "Europe/Berlin",
                "windowStart": "2027-03-01T09:00", "windowEnd": "2027-03-05T18:00:00+01:00",
                "workingHours": WorkingHours(start="10:00", end="16:00", days=(1, 2)), "calendarId": "work",
                "userName": "Ada", "calleeName": "Bob", "agent": "booker", "trunk": "main", "idempotencyKey": "tuesday",
            }
        )
    ]  # fmt: skip
    record = (await door.desk.calls())[0]
    assert record.id in capsys.readouterr().out


async def test_json_is_the_record(door: FrontDoor, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(door, *FREE, "--json") == 0
    record = (await door.desk.calls())[0]
    assert json.loads(capsys.readouterr().out) == record.as_json()
    assert await run(door, "call-status", record.id, "--json") == 0
    assert json.loads(capsys.readouterr().out) == record.as_json()
    assert await run(door, "calls", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [record.as_json()]
    assert await run(door, "call-cancel", record.id, "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "canceled"


async def test_waiting_shows_what_happens(door: FrontDoor, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = asyncio.create_task(run(door, *BOOK, "--wait"))
    await until(lambda: door.desk.asked)
    call_id = (await door.desk.calls())[0].id
    door.desk.happen(call_id, Status.DIALING, "dialing")
    door.desk.happen(call_id, Status.IN_PROGRESS, "answered", "by \x1b[31ma person\n")
    door.desk.settle(call_id, Status.COMPLETED, outcome="scheduled", scheduled_event=EVENT)
    assert await waiting == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = [line.split()[-1] for line in lines if line.endswith(("queued", "dialing", "completed"))]
    assert kinds[-3:] == ["queued", "dialing", "completed"]
    assert any("by \N{REPLACEMENT CHARACTER}[31ma person" in line for line in lines)
    assert "scheduled 2027-03-01T09:00:00+00:00 – 2027-03-01T09:30:00+00:00 (UTC)" in " ".join(lines)


@pytest.mark.parametrize(
    ("words", "status", "changes", "code", "says"),
    [
        (BOOK, Status.NO_ANSWER, {"last_error": "480 nobody home"}, 6, "no_answer 480 nobody home"),
        (BOOK, Status.COMPLETED, {"outcome": "not_scheduled"}, 6, "completed (not_scheduled)"),
        (BOOK, Status.COMPLETED, {"outcome": "message_left"}, 6, "completed (message_left)"),
        (FREE, Status.COMPLETED, {"outcome": "reported", "report": Report(summary="Open.")}, 0, "unknown: Open."),
        (
            FREE,
            Status.COMPLETED,
            {"outcome": "reported", "report": Report(summary="Shut.", outcome="failure", next_steps=("Try Monday.",))},
            6,
            "Try Monday.",
        ),
        (FREE, Status.CANCELED, {}, 6, "canceled"),
    ],
)
async def test_what_came_of_it_is_the_exit_status(
    door: FrontDoor,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: Status,
    changes: dict[str, object],
    code: int,
    says: str,
) -> None:
    await run(door, *words)
    call_id = (await door.desk.calls())[0].id
    door.desk.happen(call_id, Status.DIALING, "dialing")
    door.desk.settle(call_id, status, **changes)
    capsys.readouterr()
    assert await run(door, "call-status", call_id, "--watch") == code
    assert says in capsys.readouterr().out
    assert await run(door, "call-status", call_id, "--watch", "--json") == code
    assert json.loads(capsys.readouterr().out)["status"] == status
    assert await run(door, "call-status", call_id) == 0


async def test_a_list_for_people(door: FrontDoor, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(door, "calls") == 0
    assert capsys.readouterr().out == "no calls\n"
    await run(door, *FREE)
    await run(door, *BOOK)
    capsys.readouterr()
    assert await run(door, "calls", "--limit", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["id", "to"]
    assert lines[1].split()[:3] == [(await door.desk.calls())[0].id, "+14155550123", "queued"]
    assert len(lines) == 2
    assert await run(door, "calls", "--status", "no-answer") == 0
    assert capsys.readouterr().out == "no calls\n"


GOES_WRONG = [
    (("call", "--to", "nobody", "--prompt", "x"), 2, "--to: 'nobody' is no telephone number"),
    (("call", "--to", "+1", "--goal", "x"), 2, "call: durationMinutes is needed"),
    (("call", "--to", "+1", "--prompt", "x", "--timezone", "Berlin"), 2, "--timezone: there is no time zone"),
    (("call", "--to", "+1", "--prompt", "x", "--window-end", "soon"), 2, "--window-end: "),
    (("call", "--to", "+1", "--prompt", "x", "--working-hours", "9-5"), 2, "--working-hours, --days: "),
    (("call", "--to", "+1", "--prompt", "x", "--days", "mon"), 2, "--working-hours, --days: "),
    (("calls", "--status", "lost"), 2, "there are queued"),
    (("calls", "--limit", "0"), 2, "limit"),
    (("call", "--to", "+4930123456", "--prompt", "x"), 4, "allowed_prefixes"),
    (("call-status", "nobody"), 3, "there is no call 'nobody'"),
    (("call-status", "nobody", "--watch"), 3, "there is no call 'nobody'"),
    (("call-status", "../calls"), 3, "there is no call"),
    (("call-cancel", "nobody"), 3, "there is no call 'nobody'"),
    (("calls", "--token", "wrong"), 4, "compare it with CALL_AGENT_TOKEN"),
    (("calls", "--url", "http://127.0.0.1:9"), 5, "no engine answers at http://127.0.0.1:9"),
    (("calls", "--url", "127.0.0.1:9"), 5, "no engine answers at 127.0.0.1:9"),
    (("calls", "--url", "http://[::1"), 5, "no engine answers"),
]


async def test_what_goes_wrong_is_told(door: FrontDoor, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code, says in GOES_WRONG:
        assert await run(door, *words) == code, words
        captured = capsys.readouterr()
        assert says in captured.err
        assert captured.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("call", "--to", "+1"),
        ("call", "--prompt", "x"),
        ("call", "--to", "+1", "--prompt", "x", "--goal", "y"),
        ("call", "--to", "+1", "--goal", "x", "--duration", "long"),
        ("call-status",),
    ],
)
def test_options_that_do_not_fit(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as met:
        command(*words)
    assert met.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as met:
        command(name, "--help")
    assert met.value.code == 0
    told = capsys.readouterr().out
    assert f"python -m ai_engine {name}" in told
    assert "exit status:" in told
    assert "CALL_AGENT_TOKEN" in told


async def test_the_first_of_several_tokens_is_sent(door: FrontDoor) -> None:
    assert await asyncio.to_thread(command, "calls", url=door.url, token=f" {TOKEN} , another") == 0


async def test_the_token_may_stand_in_the_file(
    door: FrontDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CALL_AGENT_TOKEN", raising=False)
    monkeypatch.setenv("CALL_AGENT_URL", door.url)
    file = tmp_path / ".env"
    for text, code in ((f"CALL_AGENT_TOKEN={TOKEN}\n", 0), ("CALL_AGENT_TOKEN=wrong\n", 4), ("nonsense\n", 2)):
        file.write_text(text)
        assert await asyncio.to_thread(main, ["--env-file", str(file), "calls"]) == code
    assert "this is not NAME=value" in capsys.readouterr().err


async def test_an_engine_that_is_restarted_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    desk = MemoryDesk()
    async with front_door(desk) as door:
        record = await desk.call_agent(CallRequest(to="+1", prompt="Ask."))
        watching = asyncio.create_task(run(door, "call-status", record.id, "--watch"))
        heard: list[str] = []
        await until(lambda: heard.append(capsys.readouterr().out) or "queued" in "".join(heard))
    desk.happen(record.id, Status.CANCELED, "canceled")
    await asyncio.sleep(0.05)
    assert not watching.done()
    async with front_door(desk, port=door.server.port):
        desk._change(record.id, completed_at=record.created_at)
        assert await watching == 6
    assert "queued" not in (rest := capsys.readouterr().out)
    assert "canceled" in rest


async def test_an_engine_that_does_not_come_back() -> None:
    desk = MemoryDesk()
    async with front_door(desk) as door, EngineClient(door.url) as engine:
        record = await desk.call_agent(CallRequest(to="+1", prompt="Ask."))
        told: list[object] = []
        following = asyncio.create_task(
            follow(engine, record.id, told.append, poll_seconds=0.01, patience_seconds=0.05)
        )
        await until(lambda: told)
        await door.server.stop()
        with pytest.raises(EngineUnreachable):
            await following


async def test_ctrl_c_leaves_the_call_alone(door: FrontDoor) -> None:
    arguments = [sys.executable, "-m", "tests.fakes.call_agent_program", *FREE, "--wait"]
    env = {**os.environ, "CALL_AGENT_URL": door.url, "CALL_AGENT_TOKEN": TOKEN}
    program = await asyncio.create_subprocess_exec(
        *arguments, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    while b"queued" not in (await program.stdout.readline()).split()[-1:]:
        pass
    await asyncio.sleep(0.1)
    program.send_signal(signal.SIGINT)
    _, errors = await program.communicate()
    record = (await door.desk.calls())[0]
    assert program.returncode == call_commands.INTERRUPTED
    assert f"call-status {record.id} --watch" in errors.decode()
    assert record.status is Status.QUEUED


def test_serving_loads_none_of_it() -> None:
    look = "import sys, ai_engine.web.commands as c; print(any(m in sys.modules for m in ('rich', 'httpx', 'mcp')))"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

"""`studio calls`: what a real recorder has left, with and without an engine."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ai_engine.call.events import AgentSpoke, CallerPaused, CallerSaid, CallerSpoke, ReplyId
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.status import Status
from ai_engine.observe.folder import CallFolder
from tests.fakes.call_desk import MemoryDesk
from tests.fakes.switchboard import ScriptedSwitchboard
from tests.studio.house import House

START = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def record(house: House, call_id: str, minutes: float = 0.0, **facts: str) -> Path:
    """A call of one turn, as the recorder writes it."""
    folder = CallFolder(house.folder / "calls", call_id, 100.0, START + timedelta(minutes=minutes))
    folder.note("CallStarted", {"agent": "reception", "caller": "+15550100", "dialled": "+15550199", **facts}, 100.0)
    folder.happened(CallerSpoke(60), 104.0)
    folder.happened(CallerPaused(500), 106.0)
    folder.happened(CallerSaid("Are you open?", True), 106.1)
    folder.happened(AgentSpoke(ReplyId(1)), 106.4)
    folder.transcript(
        [
            {"speaker": "caller", "text": "Are you\x1b open?", "cut": False, "at": 104.0},
            {"speaker": "agent", "text": "Until six", "cut": True, "at": 106.4},
        ]
    )
    folder.note("CallEnded", {"reason": "caller hung up"}, 165.0)
    folder.close()
    return folder.path


def test_calls_are_listed_the_newest_first_without_an_engine(house: House) -> None:
    assert "no call is recorded" in house.studio("calls").out
    record(house, "aaaa-1111")
    record(house, "bbbb-2222", 5)
    record(house, "cccc-3333", 10)
    (house.folder / "calls/20261128T120700Z-killed").mkdir()  # an engine that was killed at once
    found = house.studio("calls", "--json").json
    assert [one["id"] for one in found] == ["cccc-3333", "killed", "bbbb-2222", "aaaa-1111"]
    assert found[0] | {"reason": "caller hung up", "seconds": 65.0, "turns": 1, "answerMs": 900.0} == found[0]
    assert [one["id"] for one in house.studio("calls", "--limit", "1", "--json").json] == ["cccc-3333"]
    table = house.studio("calls").out
    assert "from +15550100" in table
    assert "1:05" in table
    assert "900 ms" in table


def test_a_call_is_shown_with_its_words_and_its_latencies(house: House) -> None:
    path = record(house, "aaaa-1111")
    record(house, "bbbb-2222", 5)
    shown = house.studio("calls", "show", "aaaa").out
    assert "0:04  caller  Are you� open?" in shown
    assert "0:06  agent   Until six …" in shown
    assert "caller hung up" in shown
    assert str(path.name) in shown
    found = house.studio("calls", "show", path.name, "--json").json
    assert found["turns"][0]["first_frame_ms"] == 900.0
    assert found["transcript"][1] | {"after": 6.4, "cut": True} == found["transcript"][1]
    assert any(file.endswith("events.jsonl") for file in found["files"])
    for stranger in ("zzzz", "aaa", ""):
        ended = house.studio("calls", "show", stranger)
        assert (ended.status, ended.out) == (3, "")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]\n", b'{"event": "CallStarted", "loop": 1}\n{"ev'])
def test_what_a_killed_engine_left_is_shown_as_far_as_it_goes(house: House, damage: bytes) -> None:
    path = record(house, "aaaa-1111")
    (path / "events.jsonl").write_bytes(damage)
    (path / "turns.json").unlink()
    (path / "transcript.json").write_bytes(b"[")
    assert house.studio("calls").status == 0
    assert house.studio("calls", "show", "aaaa").status == 0


async def test_what_was_asked_for_and_not_answered_is_listed_too(house: House) -> None:
    desk = MemoryDesk()
    asked = CallRequest(to="+15550177", prompt="Talk.", agent="reception")
    busy, held = [await desk.call_agent(asked) for _ in range(2)]
    desk.happen(busy.id, Status.DIALING, "dialing", "it rings")
    desk.settle(busy.id, Status.BUSY)
    record(house, f"{held.id}-1", job=held.id)
    record(house, f"{held.id}-2", 5, job=held.id)
    async with house.engine(ScriptedSwitchboard(), desk=desk):
        found = (await house.ask("calls", "--json")).json
        assert sorted(one["id"] for one in found) == sorted([busy.id, f"{held.id}-1", f"{held.id}-2"])
        assert {one["id"]: one["job"]["id"] for one in found} == {
            busy.id: busy.id, f"{held.id}-1": held.id, f"{held.id}-2": held.id,
        }  # fmt: skip
        assert "to +15550177" in (await house.ask("calls")).out
        shown = (await house.ask("calls", "show", busy.id)).out
        assert "busy" in shown
        assert "it rings" in shown
        both = (await house.ask("calls", "show", f"{held.id}-1", "--json")).json
        assert (both["id"], both["job"]["id"]) == (f"{held.id}-1", held.id)

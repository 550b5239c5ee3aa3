"""What is known, after what was told."""

from typing import Any

import pytest

from ai_engine.studio.tui.board import SILENCE_DBFS, Board, Said
from ai_engine.switchboard.models import EventKind, LiveCall, StudioEvent
from tests.studio.tui.fakes.scene import NOW

CALL = LiveCall(call_id="c", direction="inbound", agent="a", state="talking", since=NOW)


@pytest.fixture
def board() -> Board:
    board = Board(NOW)
    board.are_in_progress([CALL])
    return board


def _tell(board: Board, kind: EventKind, call_id: str = "c", **data: Any) -> bool:
    return board.happened(StudioEvent(at=NOW, kind=kind, call_id=call_id, data=data))


def test_what_is_still_being_said_grows_in_its_place(board: Board) -> None:
    _tell(board, "saying", who="caller", text="I")
    _tell(board, "saying", who="agent", text="Yes")
    _tell(board, "saying", who="caller", text="I need")
    _tell(board, "said", who="caller", text="I need help.")
    _tell(board, "said", who="agent", text="Yes?", cut=True)
    _tell(board, "saying", who="caller", text="Now")
    said = list(board.calls["c"].said)
    assert said == [
        Said("caller", "I need help.", True),
        Said("agent", "Yes?", True, cut=True),
        Said("caller", "Now", False),
    ]


def test_a_call_that_is_changed_keeps_what_was_seen_of_it(board: Board) -> None:
    _tell(board, "said", who="caller", text="Hello")
    assert not _tell(board, "call_changed", **(CALL.as_json() | {"floor": "agent"}))
    board.are_in_progress([CALL.model_copy(update={"floor": "agent", "turns": 1})])
    watched = board.calls["c"]
    assert (watched.call.turns, len(watched.said)) == (1, 1)


def test_levels_fall_silent_with_the_connection_and_with_the_call(board: Board) -> None:
    _tell(board, "levels", caller=-20, agent=-30.5)
    assert (board.calls["c"].caller_dbfs, board.calls["c"].agent_dbfs) == (-20.0, -30.5)
    board.lost("gone", NOW)
    assert board.calls["c"].caller_dbfs == SILENCE_DBFS


def test_turns_hold_marks_alone(board: Board) -> None:
    _tell(board, "turn", ms=800, waterfall={"first_frame_ms": 800, "barge_in_ms": 90, "heard_ms": 1.0, "text": "x"})
    _tell(board, "turn", waterfall={"first_frame": 1})
    (turn,) = board.calls["c"].turns
    assert (turn.ms, turn.marks) == (800.0, {"first_frame_ms": 800.0})


def test_what_cannot_be_understood_makes_it_ask(board: Board) -> None:
    assert _tell(board, "call_changed", something="else")
    assert _tell(board, "said", "unknown", who="caller", text="x")
    assert _tell(board, "call_ended", "unknown", reason="x")
    assert _tell(board, "room_changed")
    assert _tell(board, "trunk_changed")


def test_ended_calls_are_kept_for_a_while(board: Board) -> None:
    for number in range(30):
        board.are_in_progress([CALL.model_copy(update={"call_id": f"c{number}"})])
    board.are_in_progress([])
    assert not board.calls
    assert len(board.over) == 20
    assert board.find("c29") is not None
    assert board.find("c1") is None


def test_it_is_known_since_when_it_is_lost() -> None:
    board = Board(NOW)
    board.connected(NOW)
    board.lost("first", NOW)
    later = NOW.replace(minute=59)
    board.lost("second", later)
    assert (board.link.since, board.link.why) == (NOW, "second")

"""Uses of tools are counted, and those that failed."""

from ai_engine.call.events import ToolAnswered
from ai_engine.observe.tool_tally import ToolTally


def test_uses_and_failures() -> None:
    tally = ToolTally()
    tally.happened("c", ToolAnswered("1", "hangup", {"ok": True}, 1.0), 0.0)
    tally.happened("c", ToolAnswered("2", "check", {"ok": False, "error": "x"}, 1.0), 0.0)
    tally.count("check", {"ok": True})
    assert tally.snapshot() == {"hangup": {"calls": 1, "failures": 0}, "check": {"calls": 2, "failures": 1}}

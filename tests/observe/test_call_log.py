"""What an operator reads of a call."""

import pytest
import structlog

from ai_engine.call.events import (
    CallerPaused,
    CallerSaid,
    CallEvent,
    DigitReceived,
    ReplyCut,
    ReplyEnded,
    ReplyId,
    ReplyText,
    ToolAsked,
    TransferAsked,
)
from ai_engine.observe.call_log import CallLog


def logged(event: CallEvent) -> dict[str, object]:
    with structlog.testing.capture_logs() as logs:
        CallLog().happened("c1", event, 1.0)
    [line] = logs
    assert line.pop("call_id") == "c1"
    return dict(line)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (CallerSaid("hello"), {"event": "caller said", "text": "hello"}),
        (ReplyCut(ReplyId(1), 1234.56), {"event": "agent interrupted", "reply": 1, "heard_ms": 1234.6}),
        (
            TransferAsked("wish"),
            {"event": "transfer asked", "reason": "wish", "context": "", "extension": ""},
        ),
        (
            ToolAsked("1", "hangup", {}),
            {"event": "tool asked", "id": "1", "name": "hangup", "arguments": {}, "goes_on": True},
        ),
        (DigitReceived("4"), {"event": "key pressed"}),
    ],
)
def test_story(event: CallEvent, line: dict[str, object]) -> None:
    assert logged(event) == {"log_level": "info", **line}


@pytest.mark.parametrize("event", [CallerSaid("hel", final=False), CallerPaused(500.0)])
def test_detail(event: CallEvent) -> None:
    line = logged(event)
    assert (line["log_level"], line["event"]) == ("debug", type(event).__name__)


def test_begin_and_end() -> None:
    log = CallLog()
    with structlog.testing.capture_logs() as logs:
        log.call_started("c1", {"agent": "reception"}, 10.0)
        log.frames("c1", b"", b"", 8000)
        log.call_ended("c1", "agent_hung_up", 22.04)
    assert logs == [
        {"log_level": "info", "event": "call started", "call_id": "c1", "agent": "reception"},
        {
            "log_level": "info",
            "event": "call ended",
            "call_id": "c1",
            "reason": "agent_hung_up",
            "seconds": 12.0,
        },
    ]


def test_a_reply_is_one_line() -> None:
    log = CallLog()
    with structlog.testing.capture_logs() as logs:
        for event in (ReplyText(ReplyId(1), "Hello,"), ReplyText(ReplyId(2), "Yes."), ReplyText(ReplyId(1), "you.")):
            log.happened("c1", event, 1.0)
        for reply in (1, 2, 3):
            log.happened("c1", ReplyEnded(ReplyId(reply)), 1.0)
    assert [line["text"] for line in logs if line["event"] == "agent says"] == ["Hello, you.", "Yes."]

"""What is counted."""

from ai_engine.call.events import CallerSpoke, FalseAlarm, FellBack, MediaAttached, ReplyBegan, ReplyId
from ai_engine.observe.tally import Tally


def test_events_ways_and_fallbacks_are_counted_and_the_rest_is_not() -> None:
    tally = Tally()
    for event in (
        MediaAttached("audiosocket/stream"),
        FellBack("audiosocket/stream", "reset"),
        MediaAttached("audiosocket/file"),
        CallerSpoke(60.0),
        FalseAlarm(),
        FalseAlarm(echo=True),
        ReplyBegan(ReplyId(1)),
    ):
        tally.happened("call", event, 0.0)
    told = tally.snapshot()
    assert told["attached"] == {"audiosocket/stream": 1, "audiosocket/file": 1}
    assert told["fell_back"] == {"audiosocket/stream": 1}
    assert {name: count for name, count in told["events"].items() if count} == {"caller_turns": 1, "false_alarms": 2}

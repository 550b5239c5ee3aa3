"""Messages of Twilio Media Streams, good and bad."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.errors import PeerError
from ai_engine.protocol.media_streams import (
    Event,
    KeyPressed,
    MarkReturned,
    Other,
    SoundReceived,
    StreamConnected,
    StreamStarted,
    StreamStopped,
    encode_clear,
    encode_mark,
    encode_sound,
    parse_event,
)

START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": "MZ1",
    "start": {
        "accountSid": "AC1",
        "callSid": "CA1",
        "streamSid": "MZ1",
        "tracks": ["inbound"],
        "customParameters": {"callId": "c0ffee", "token": "secret", "number": 1},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    },
}


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"event": "connected", "protocol": "Call", "version": "1.0.0"}, StreamConnected("Call", "1.0.0")),
        ({"event": "connected"}, StreamConnected("", "")),
        (START, StreamStarted("MZ1", "CA1", "AC1", {"callId": "c0ffee", "token": "secret"})),
        ({"event": "start", "start": {"streamSid": "MZ1"}}, StreamStarted("MZ1")),
        ({"event": "start", "streamSid": "MZ2", "start": {}}, StreamStarted("MZ2")),
        (
            {"event": "media", "media": {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": "/38="}},
            SoundReceived(b"\xff\x7f", 5),
        ),
        ({"event": "media", "media": {"payload": ""}}, SoundReceived(b"", None)),
        ({"event": "media", "media": {"payload": "/w==", "timestamp": 20}}, SoundReceived(b"\xff", 20)),
        ({"event": "media", "media": {"payload": "/w==", "timestamp": "-1"}}, SoundReceived(b"\xff", None)),
        ({"event": "media", "media": {"payload": "/w==", "timestamp": True}}, SoundReceived(b"\xff", None)),
        ({"event": "media", "media": {"track": "outbound", "payload": "/w=="}}, Other("media of another track")),
        ({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "5"}}, KeyPressed("5")),
        ({"event": "dtmf", "dtmf": {"digit": "a"}}, KeyPressed("A")),
        ({"event": "dtmf", "dtmf": {"digit": "12"}}, Other("dtmf")),
        ({"event": "mark", "mark": {"name": "17"}}, MarkReturned("17")),
        ({"event": "stop", "stop": {"accountSid": "AC1", "callSid": "CA1"}}, StreamStopped()),
        ({"event": "stop"}, StreamStopped()),
        ({"event": "of the future", "x": [1]}, Other("of the future")),
    ],
)
def test_events(message: object, event: Event) -> None:
    assert parse_event(json.dumps(message)) == event


def without(path: str) -> str:
    message = json.loads(json.dumps(START))
    del message["start"][path]
    return json.dumps(message)


def started_with(**more: object) -> str:
    return json.dumps({**START, "start": START["start"] | more})  # type: ignore[operator]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "17",
        '"media"',
        "null",
        "[" * 30_000,
        "{}",
        '{"event": 5}',
        '{"event": "media"}',
        '{"event": "media", "media": []}',
        '{"event": "media", "media": {}}',
        '{"event": "media", "media": {"payload": 5}}',
        '{"event": "media", "media": {"payload": "/w="}}',
        '{"event": "media", "media": {"payload": "/ w=="}}',
        '{"event": "media", "media": {"payload": "é"}}',
        '{"event": "dtmf", "dtmf": {}}',
        '{"event": "dtmf"}',
        '{"event": "mark", "mark": {"name": 1}}',
        '{"event": "start"}',
        '{"event": "start", "start": {}}',
        '{"event": "start", "streamSid": "' + "M" * 101 + '", "start": {}}',
        started_with(mediaFormat={"encoding": "audio/x-l16", "sampleRate": 8000, "channels": 1}),
        started_with(mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1}),
        started_with(mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2}),
        started_with(mediaFormat=5),
        started_with(customParameters=[]),
        json.dumps({"event": "x", "y": "z" * 70_000}),
    ],
)
def test_what_is_no_event(message: str) -> None:
    with pytest.raises(PeerError):
        parse_event(message)


def test_what_twilio_may_leave_out() -> None:
    for name in ("accountSid", "callSid", "streamSid", "tracks", "customParameters", "mediaFormat"):
        assert isinstance(parse_event(without(name)), StreamStarted)


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(parse_event(json.dumps(START)))


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(json.dumps)
       | st.tuples(st.sampled_from(["start", "media", "dtmf", "mark", "stop"]), st.dictionaries(st.text(), st.text()))
         .map(lambda given: json.dumps({"event": given[0], given[0]: given[1]})))  # fmt: skip
def test_whatever_comes_is_an_event_or_the_peers_fault(message: str) -> None:
    try:
        parse_event(message)
    except PeerError:
        return


@given(st.binary(max_size=400))
def test_sound_comes_and_goes(ulaw: bytes) -> None:
    sent = json.loads(encode_sound("MZ1", ulaw))
    assert sent == {"event": "media", "streamSid": "MZ1", "media": {"payload": b64encode(ulaw).decode()}}
    assert parse_event(json.dumps(sent)) == SoundReceived(ulaw)


def test_commands() -> None:
    assert json.loads(encode_mark("MZ1", "17")) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": "17"}}
    assert json.loads(encode_clear("MZ1")) == {"event": "clear", "streamSid": "MZ1"}

"""Asterisk's media WebSocket by its messages."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.errors import PeerError
from ai_engine.protocol.chan_websocket import (
    DigitEnded,
    Event,
    Failed,
    Full,
    HasRoom,
    MarkProcessed,
    MediaStarted,
    Other,
    encode_command,
    parse_event,
)

ID = "4a22cf8a-b93f-4443-ae4f-5106c8462446"
CHANNEL = "offhook-trial-1795223718.8"

# As Asterisk 22.10.1 sent them.
REAL: list[tuple[str, Event]] = [
    (
        f"MEDIA_START connection_id:{ID} channel:WebSocket/INCOMING/0x7f94400081f0 channel_id:{CHANNEL}"
        " format:slin optimal_frame_size:320 ptime:20",
        MediaStarted(ID, "slin", 320, 20, is_json=False),
    ),
    (
        f'{{"event":"MEDIA_START","connection_id":"{ID}","channel":"WebSocket/INCOMING/0x7f9478002a10",'
        f'"channel_id":"{CHANNEL}","format":"slin16","optimal_frame_size":640,"ptime":20,'
        f'"channel_variables":{{"MEDIA_WEBSOCKET_CONNECTION_ID":"{ID}"}}}}',
        MediaStarted(ID, "slin16", 640, 20, is_json=True),
    ),
    (f"STATUS channel_id:{CHANNEL} queue_length:0 xon_level:800 queue_full:false", Other("STATUS")),
    (f'{{"event":"STATUS","channel_id":"{CHANNEL}","queue_length":0,"queue_full":false}}', Other("STATUS")),
    ("MEDIA_BUFFERING_COMPLETED u1", Other("MEDIA_BUFFERING_COMPLETED")),
    ("MEDIA_MARK_PROCESSED m2", MarkProcessed("m2")),
    (f'{{"event":"MEDIA_MARK_PROCESSED","channel_id":"{CHANNEL}","correlation_id":"m2"}}', MarkProcessed("m2")),
    ("QUEUE_DRAINED", Other("QUEUE_DRAINED")),
    (f'{{"event":"QUEUE_DRAINED","channel_id":"{CHANNEL}"}}', Other("QUEUE_DRAINED")),
    (f"DTMF_END digit:5 channel_id:{CHANNEL}", DigitEnded("5")),
    (f'{{"event":"DTMF_END","channel_id":"{CHANNEL}","digit":"5"}}', DigitEnded("5")),
    (
        f'{{"event":"ERROR","channel_id":"{CHANNEL}","error_text":"Unable to parse JSON command"}}',
        Failed("Unable to parse JSON command"),
    ),
]


@pytest.mark.parametrize(("message", "event"), REAL)
def test_what_a_real_asterisk_says(message: str, event: Event) -> None:
    assert parse_event(message.encode()) == event
    assert parse_event(bytearray(message.encode())) == event


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ('{"event":"MEDIA_XOFF"}', Full()),
        ("MEDIA_XOFF", Full()),
        ('{"event":"MEDIA_XON"}', HasRoom()),
        ("MEDIA_XON channel_id:1", HasRoom()),
        ("ERROR Queue is full", Failed("Queue is full")),
        ('{"event":"ERROR"}', Failed("")),
        ('{"event":"SOMETHING_NEW","with":[1,{}]}', Other("SOMETHING_NEW")),
        ("SOMETHING_NEW and its fields", Other("SOMETHING_NEW")),
        ('{"event":"DTMF_END","digit":"d"}', DigitEnded("D")),
        ('{"event":"DTMF_END","digit":"*"}', DigitEnded("*")),
        ('{"event":"DTMF_END","digit":"f"}', Other("DTMF_END")),  # a fax tone
        ('{"event":"DTMF_END","digit":"\\u0665"}', Other("DTMF_END")),
        ('{"event":"DTMF_END","digit":""}', Other("DTMF_END")),
    ],
)
def test_other_events(message: str, event: Event) -> None:
    assert parse_event(message.encode()) == event


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"hello", id="no event"),
        pytest.param(b"MEDIA_XON\x00\xc2\xa0", id="a name with something behind"),
        pytest.param(b"{", id="cut off"),
        pytest.param(REAL[1][0].encode()[:-1], id="cut off at the end"),
        pytest.param(REAL[0][0].encode()[:-20], id="plain and cut off"),
        pytest.param(b"{}", id="no name"),
        pytest.param(b'{"event":7}', id="a number for a name"),
        pytest.param(b'["event"]', id="a list"),
        pytest.param(b'"MEDIA_XON"', id="a string"),
        pytest.param(b"[" * 50_000, id="nested without end"),
        pytest.param(b'{"event":' + b"9" * 5000 + b"}", id="an endless number"),
        pytest.param(b'{"event":"MEDIA_START"}', id="empty start"),
        pytest.param(
            b'{"event":"MEDIA_START","connection_id":"1","format":"slin","optimal_frame_size":true,"ptime":20}',
            id="a boolean for a size",
        ),
        pytest.param(b"MEDIA_START connection_id:1 format:slin optimal_frame_size:-1 ptime:20", id="negative"),
        pytest.param(b'{"event":"MEDIA_MARK_PROCESSED"}', id="a mark without a name"),
        pytest.param(b'{"event":"MEDIA_MARK_PROCESSED","correlation_id":3}', id="a number for a mark"),
        pytest.param(b'{"event":"DTMF_END"}', id="no digit"),
    ],
)
def test_what_is_no_event(message: bytes) -> None:
    with pytest.raises(PeerError):
        parse_event(message)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_noise_is_an_event_or_refused(message: bytes) -> None:
    try:
        event = parse_event(message)
    except PeerError:
        return
    assert isinstance(event, Event)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["MEDIA_START", "MEDIA_MARK_PROCESSED", "DTMF_END", "MEDIA_XOFF", "ERROR", "STATUS", "", 1])
keys = ["connection_id", "format", "optimal_frame_size", "ptime", "correlation_id", "digit", "error_text"]


@given(names, st.dictionaries(st.sampled_from(keys), json_values))
def test_any_field_may_hold_anything(name: object, fields: dict[str, object]) -> None:
    try:
        event = parse_event(json.dumps({"event": name, **fields}).encode())
    except PeerError:
        return
    if isinstance(event, MediaStarted):
        assert isinstance(event.frame_bytes, int)
        assert isinstance(event.format, str)
    if isinstance(event, DigitEnded):
        assert event.digit in "0123456789*#ABCD"


def test_commands() -> None:
    assert encode_command("FLUSH_MEDIA") == '{"command":"FLUSH_MEDIA"}'
    assert encode_command("MARK_MEDIA", "7") == '{"command":"MARK_MEDIA","correlation_id":"7"}'
    assert encode_command("FLUSH_MEDIA", is_json=False) == "FLUSH_MEDIA"
    assert encode_command("MARK_MEDIA", "7", is_json=False) == "MARK_MEDIA 7"
    assert json.loads(encode_command("MARK_MEDIA", 'a"b'))["correlation_id"] == 'a"b'


def test_a_command_that_asterisk_would_ignore_is_an_error() -> None:
    longest = encode_command("MARK_MEDIA", "x" * 84)
    assert len(longest) == 128
    with pytest.raises(ValueError, match="129"):
        encode_command("MARK_MEDIA", "x" * 85)

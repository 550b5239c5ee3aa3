"""Asterisk's media WebSocket by its messages, and what is sent early by hand-turned ticks."""

import json
from collections.abc import Sequence

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
    Lookahead,
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


# -- what is sent early -----------------------------------------------------------------------------------

SILENCE = bytes(2)
FLUSH = '{"command":"FLUSH_MEDIA"}'


def mark(number: int) -> str:
    return f'{{"command":"MARK_MEDIA","correlation_id":"{number}"}}'


def voice(number: int) -> bytes:
    """A frame of one sample."""
    return number.to_bytes(2, "little")


def sound(first: int, last: int) -> bytes:
    return b"".join(voice(number) for number in range(first, last + 1))


class Speaker:
    """A voice with ``made`` frames, numbered from 1; ``held`` as a session holds it, with a fade."""

    def __init__(self, made: int = 0) -> None:
        self.made = made
        self.given = 0
        self.asked = 0
        self.fade: bytes | None = None
        self.held = False

    def next_frame(self) -> bytes | None:
        self.asked += 1
        if self.fade is not None:
            frame, self.fade = self.fade, None
            return frame
        if self.held or self.given == self.made:
            return None
        self.given += 1
        return voice(self.given)

    def upcoming(self, frames: int) -> Sequence[bytes]:
        if self.held:
            return ()
        return [voice(number) for number in range(self.given + 1, min(self.made, self.given + frames) + 1)]


class Bench:
    """Ticks every 20 ms from 0."""

    def __init__(self, speaker: Speaker | None, ahead_ms: int = 100, *, is_json: bool = True) -> None:
        self.speaker = speaker
        self.lookahead = Lookahead(ahead_ms, SILENCE, is_json=is_json)
        self.now = 0.0

    def tick(self, times: int = 1) -> list[str | bytes]:
        out: list[str | bytes] = []
        for _ in range(times):
            out += self.lookahead.tick(self.speaker, self.now)
            self.now += 0.02
        return out


def test_silence_goes_frame_by_frame() -> None:
    assert Bench(None).tick(3) == [SILENCE] * 3
    speaker = Speaker()
    assert Bench(speaker).tick(3) == [SILENCE] * 3
    assert speaker.asked == 3


def test_a_reply_begins_with_a_burst_and_ends_with_a_mark() -> None:
    speaker = Speaker()
    bench = Bench(speaker)
    bench.tick(5)
    speaker.made = 12
    assert bench.tick() == [FLUSH, mark(1), sound(1, 6)], "what waits before it is silence"
    assert bench.lookahead.early == 5
    assert bench.tick() == []
    assert bench.tick() == [mark(2), sound(7, 8)]
    assert bench.tick(8) == [sound(9, 10), sound(11, 12)]
    assert bench.lookahead.early == 1
    assert bench.tick() == []
    assert bench.tick() == [mark(3), SILENCE]
    assert bench.tick() == [SILENCE]
    assert speaker.asked == 5 + 14


@pytest.mark.parametrize(("ahead_ms", "frames"), [(60, 3), (99, 4), (200, 10)])
def test_how_far_ahead(ahead_ms: int, frames: int) -> None:
    bench = Bench(Speaker(100), ahead_ms)
    assert bench.tick() == [mark(1), sound(1, 1 + frames)]
    for _ in range(50):
        bench.tick()
        assert frames - 1 <= bench.lookahead.early <= frames


def test_speech_that_is_made_no_faster_than_it_is_spoken() -> None:
    speaker = Speaker()
    bench = Bench(speaker)
    out: list[str | bytes] = []
    for _ in range(20):
        speaker.made += 1
        out += bench.tick()
    pieces = [piece for piece in out if isinstance(piece, bytes)]
    assert b"".join(pieces) == sound(1, 20)
    assert pieces == [voice(number) for number in range(1, 21)]


def test_every_frame_leaves_once_whatever_the_pace() -> None:
    speaker = Speaker()
    bench = Bench(speaker)
    out: list[str | bytes] = []
    for made in (3, 3, 3, 4, 20, 20, 20, 21, 40, *[40] * 40):
        speaker.made = made
        out += bench.tick()
    assert b"".join(piece for piece in out if isinstance(piece, bytes)).replace(SILENCE, b"") == sound(1, 40)


def test_what_is_taken_back_is_sent_again() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    speaker.held, speaker.fade = True, voice(999)
    assert bench.lookahead.flush() == [FLUSH]
    assert bench.lookahead.flush() == [], "nothing is left to take back"
    assert bench.tick() == [mark(2), voice(999)]
    assert bench.tick(4) == [mark(3), SILENCE, SILENCE, SILENCE, SILENCE]
    speaker.held = False
    assert bench.tick() == [FLUSH, mark(4), sound(2, 7)]


def test_a_flush_when_nothing_was_sent_early() -> None:
    bench = Bench(Speaker(1))
    bench.tick()
    assert bench.lookahead.flush() == []


def test_the_end_of_speech_is_never_flushed_with_the_silence() -> None:
    speaker = Speaker(1)
    bench = Bench(speaker)
    bench.tick(2)
    bench.lookahead.mark_processed("1", 0.055)  # played 55 ms after it was due
    speaker.made = 2
    assert bench.tick() == [mark(3), voice(2)]
    bench.tick(4)
    speaker.made = 3
    assert bench.tick() == [FLUSH, mark(5), voice(3)]


def test_announced_frames_that_do_not_come_are_taken_back() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    speaker.held = True
    assert bench.tick() == [FLUSH, SILENCE]
    assert bench.lookahead.early == 0


def test_a_session_that_flushes_while_it_is_asked() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick()
    flushed: list[str | bytes] = []
    give = speaker.next_frame

    def stopped() -> bytes | None:
        flushed.extend(bench.lookahead.flush())
        return give()

    speaker.next_frame = stopped  # type: ignore[method-assign]
    assert bench.tick() == [mark(2), sound(2, 7)], "the frame itself was taken back too"
    assert flushed == [FLUSH]


def test_lag_is_from_when_a_frame_was_due_to_when_it_is_played() -> None:
    bench = Bench(Speaker(100))
    assert bench.lookahead.lag_ms == 0
    bench.tick()  # mark 1 before frame 1, due at 0
    bench.lookahead.mark_processed("1", 0.012)
    assert bench.lookahead.lag_ms == pytest.approx(12)
    bench.tick(6)  # mark 2 before frame 7, due at 0.12
    bench.lookahead.mark_processed("2", 0.12 + 0.032)
    assert bench.lookahead.lag_ms == pytest.approx(22), "one late message does not weigh too much"
    bench.lookahead.mark_processed("2", 9.0)
    bench.lookahead.mark_processed("77", 9.0)
    bench.lookahead.mark_processed("0", 9.0)
    bench.lookahead.mark_processed("²", 9.0)
    assert bench.lookahead.lag_ms == pytest.approx(22)


def test_the_first_mark_of_a_stretch_forgets_the_last_stretch() -> None:
    speaker = Speaker(1)
    bench = Bench(speaker)
    bench.tick()
    bench.lookahead.mark_processed("1", 0.2)
    bench.tick(20)
    speaker.made = 2
    due = bench.now
    assert bench.tick() == [FLUSH, mark(3), voice(2)]
    bench.lookahead.mark_processed("3", due + 0.005)
    assert bench.lookahead.lag_ms == pytest.approx(5)


def test_marks_that_were_flushed_never_come_and_do_not_disturb() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    bench.tick(3)
    bench.lookahead.flush()
    bench.lookahead.mark_processed("2", 9.0)
    assert bench.lookahead.lag_ms == 0
    due = bench.now
    bench.tick()
    bench.lookahead.mark_processed("3", due + 0.01)
    assert bench.lookahead.lag_ms == pytest.approx(10)


def test_after_we_stood_still_we_catch_up_with_asterisk() -> None:
    speaker = Speaker(100)
    bench = Bench(speaker)
    assert bench.tick(3) == [mark(1), sound(1, 6), mark(2), sound(7, 8)]
    bench.lookahead.mark_processed("2", 0.12)  # frame 7 is played, and frame 3 was the last we were asked for
    assert bench.lookahead.lag_ms == 0
    assert bench.lookahead._owed == 3
    bench.tick()
    assert speaker.given == 7
    assert speaker.asked == 7


def test_plain_text_has_no_marks() -> None:
    speaker = Speaker(20)
    bench = Bench(speaker, is_json=False)
    out = bench.tick(3)
    speaker.held = True
    out += bench.lookahead.flush()
    assert out == [sound(1, 6), sound(7, 8), "FLUSH_MEDIA"]


@given(st.lists(st.sampled_from(["tick", "make", "flush", "hold", "resume", "mark"]), max_size=200))
def test_whatever_happens_asterisk_plays_what_was_given(steps: list[str]) -> None:
    """A queue beside it: what Asterisk plays in the end is every frame given, in order, none twice."""
    speaker = Speaker()
    bench = Bench(speaker)
    waiting: list[bytes] = []
    heard: list[int] = []

    def take(out: list[str | bytes]) -> None:
        for piece in out:
            if isinstance(piece, bytes):
                waiting.extend(piece[at : at + 2] for at in range(0, len(piece), 2))
            elif piece == FLUSH:
                waiting.clear()

    for step in [*steps, "resume", "make", *["tick"] * 300]:
        match step:
            case "tick":
                take(bench.tick())
                if waiting and (number := int.from_bytes(waiting.pop(0), "little")):
                    heard.append(number)
            case "make":
                speaker.made += 4
            case "flush":
                take(bench.lookahead.flush())
            case "hold":
                speaker.held = True
                take(bench.lookahead.flush())
            case "resume":
                speaker.held = False
            case "mark":
                bench.lookahead.mark_processed(str(bench.lookahead._mark_number), bench.now)
        assert bench.lookahead.early <= 5
        assert bench.lookahead.early >= 0
    assert heard == sorted(set(heard)), "nothing is heard twice, nor out of order"
    assert speaker.given == speaker.made
    if "mark" not in steps:  # a mark that lies makes us believe that more was played
        assert heard == list(range(1, speaker.made + 1))

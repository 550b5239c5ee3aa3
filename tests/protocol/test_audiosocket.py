"""AudioSocket by its bytes, both ways."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.errors import PeerError
from ai_engine.protocol.audiosocket import (
    RATES,
    Audio,
    AudioSocketParser,
    Dtmf,
    Failure,
    HungUp,
    Kind,
    Message,
    Uuid,
    WholeFrames,
    encode_audio,
    encode_hangup,
)

ID = UUID("12345678-9abc-def0-1122-334455667788")
ID_BYTES = bytes.fromhex("01 0010 123456789abcdef01122334455667788")
SILENCE = bytes.fromhex("10 0140") + bytes(320)

STREAM = ID_BYTES + SILENCE + bytes.fromhex("03 0001 23 12 0002 ff7f ff 0001 04 ff 0000 00 0000")
MESSAGES: list[Message] = [
    Uuid(ID),
    Audio(8000, bytes(320)),
    Dtmf("#"),
    Audio(16000, b"\xff\x7f"),
    Failure(4),
    Failure(0),
    HungUp(),
]


def test_reads_a_connection_from_start_to_end() -> None:
    assert AudioSocketParser().feed(STREAM) == MESSAGES


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_split_at_every_byte(cut: int) -> None:
    parser = AudioSocketParser()
    assert parser.feed(STREAM[:cut]) + parser.feed(STREAM[cut:]) == MESSAGES


def test_byte_by_byte() -> None:
    parser = AudioSocketParser()
    assert [message for byte in STREAM for message in parser.feed(bytes([byte]))] == MESSAGES


payloads = st.one_of(
    st.builds(Audio, st.sampled_from(sorted(RATES.values())), st.binary(min_size=1, max_size=999).map(lambda b: b + b)),
)


@given(st.lists(payloads, max_size=8), st.lists(st.integers(0, 20000), max_size=8))
def test_what_is_encoded_is_read_whatever_the_split(sent: list[Audio], cuts: list[int]) -> None:
    stream = b"".join(encode_audio(audio.rate, audio.pcm) for audio in sent)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parser = AudioSocketParser()
    got = [message for a, b in zip(edges, edges[1:], strict=False) for message in parser.feed(stream[a:b])]
    assert got == sent


@pytest.mark.parametrize(
    ("kind", "rate"),
    [(0x10, 8000), (0x11, 12000), (0x12, 16000), (0x13, 24000), (0x14, 32000), (0x15, 44100), (0x16, 48000)]
    + [(0x17, 96000), (0x18, 192000)],
)
def test_every_rate_has_its_kind(kind: int, rate: int) -> None:
    assert encode_audio(rate, b"\1\2") == bytes([kind, 0, 2, 1, 2])
    assert AudioSocketParser().feed(bytes([kind, 0, 2, 1, 2])) == [Audio(rate, b"\1\2")]


def test_header_and_payload_are_one_piece() -> None:
    assert encode_audio(8000, bytes(320)) == SILENCE


def test_hangup() -> None:
    assert encode_hangup() == b"\0\0\0"


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_every_key(digit: str) -> None:
    assert AudioSocketParser().feed(b"\3\0\1" + digit.encode()) == [Dtmf(digit)]


def test_a_key_in_lower_case_is_the_same_key() -> None:
    assert AudioSocketParser().feed(b"\3\0\1d") == [Dtmf("D")]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("02 0000", id="unknown kind"),
        pytest.param("19 0140", id="one past the last rate"),
        pytest.param("fe 0001", id="unknown high kind"),
        pytest.param("10 0000", id="no sound"),
        pytest.param("18 0000", id="no sound at 192 kHz"),
        pytest.param("10 0141", id="half a sample"),
        pytest.param("00 0001", id="hangup with payload"),
        pytest.param("01 0000", id="no uuid"),
        pytest.param("01 000f", id="short uuid"),
        pytest.param("01 0011", id="long uuid"),
        pytest.param("03 0000", id="no digit"),
        pytest.param("03 0002", id="two digits"),
        pytest.param("ff 0002", id="long error"),
        pytest.param("47 4554", id="GET"),
    ],
)
def test_a_bad_header_is_refused_before_its_payload_comes(header: str) -> None:
    with pytest.raises(PeerError):
        AudioSocketParser().feed(bytes.fromhex(header))


@pytest.mark.parametrize("code", [0x00, 0x41 + 4, 0x20, 0xFF, 0xDF])
def test_a_digit_that_is_no_key_is_refused(code: int) -> None:
    with pytest.raises(PeerError, match=f"0x{code:02x}"):
        AudioSocketParser().feed(bytes([3, 0, 1, code]))


@given(st.binary(max_size=400), st.integers(0, 400))
def test_garbage_is_refused_or_read_the_same_however_it_is_split(garbage: bytes, cut: int) -> None:
    def read(*pieces: bytes) -> object:
        parser = AudioSocketParser()
        try:
            return [message for piece in pieces for message in parser.feed(piece)]
        except PeerError as error:
            return str(error)

    assert read(garbage) == read(garbage[:cut], garbage[cut:])


def test_the_longest_message() -> None:
    pcm = bytes(65534)
    parser = AudioSocketParser()
    assert parser.feed(encode_audio(48000, pcm)[:-1]) == []
    assert parser.feed(b"\0") == [Audio(48000, pcm)]


def test_what_waits_is_told() -> None:
    parser = AudioSocketParser()
    parser.feed(SILENCE + SILENCE[:5])
    assert parser.waiting_bytes == 5
    parser.feed(SILENCE[5:])
    assert parser.waiting_bytes == 0


@pytest.mark.parametrize("format", [SLIN8, SLIN16])
def test_whole_frames_are_the_same_on_the_wire(format: AudioFormat) -> None:
    frames = WholeFrames(format)
    assert frames.silence == encode_audio(format.rate, format.silence())
    for pcm in (b"\1\2" * format.frame_samples, b"\1\2", bytes(2000)):
        assert frames.encode(pcm) == encode_audio(format.rate, pcm)
    pcm = b"\1\2" * format.frame_samples
    assert frames.decode(encode_audio(format.rate, pcm)) == pcm


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SILENCE[:-1], id="a byte short"),
        pytest.param(SILENCE + b"\0", id="a byte more"),
        pytest.param(SILENCE + SILENCE, id="two"),
        pytest.param(b"\x12" + SILENCE[1:], id="another rate"),
        pytest.param(b"\x10\x01\x3e" + bytes(318) + b"\0\0", id="a shorter one and more"),
        pytest.param(b"\x03\x00\x015", id="a key"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_but_one_whole_frame_is_for_the_parser(data: bytes) -> None:
    assert WholeFrames(SLIN8).decode(data) is None


def test_kinds_are_asterisks() -> None:
    assert (Kind.HANGUP, Kind.UUID, Kind.DTMF, Kind.ERROR) == (0, 1, 3, 255)

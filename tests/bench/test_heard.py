"""Losses at the phones, told by RTP's numbers and by our own."""

from ai_engine.audio.format import SLIN8
from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.bench import marks
from scripts.bench.agent import tone
from scripts.bench.sip import Heard
from scripts.trial.measure import RtpPacket


def _stream(*places: int, number: int = 1) -> list[RtpPacket]:
    pieces = [pcm_to_ulaw(pcm) for pcm in marks.answer(number, 100, 0, tone(SLIN8))]
    return [
        RtpPacket(1000 + turn * 0.02, 20000, 6000, turn, turn * 160, 0, pieces[place])
        for turn, place in enumerate(places)
    ]


def test_answers_that_follow_each_other_whole_lose_nothing() -> None:
    heard = Heard()
    heard.add(_stream(*range(10), *range(10)))
    assert (heard.streams, heard.packets, heard.missing, heard.lost, heard.pieces) == (1, 20, 0, 0, 20)


def test_a_piece_that_is_missing_within_an_answer_is_lost() -> None:
    heard = Heard()
    heard.add(_stream(5, 6, 8, 9))
    assert heard.lost == 1


def test_each_call_is_counted_for_itself() -> None:
    heard = Heard()
    heard.add(_stream(0, 1, 2))
    heard.add(_stream(50, 51, 52))
    assert (heard.streams, heard.lost) == (2, 0)


def test_packets_that_never_came_are_missing() -> None:
    stream = _stream(*range(10))
    heard = Heard()
    heard.add([*stream[:4], *stream[6:]])
    assert (heard.missing, heard.lost) == (2, 2)
    assert heard.gaps.max_ms > 59

"""Numbers in sound: through G.711, past fades, never by chance."""

import numpy as np
import pytest

from ai_engine.audio.fade import faded_in, faded_out
from ai_engine.audio.format import SLIN8
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from scripts.bench import marks, voices
from scripts.bench.agent import tone
from scripts.bench.marks import Ask, Piece


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383])
def test_a_question_survives_g711(number: int) -> None:
    mark = Ask(number, 150, number)
    frame = marks.ask(mark, voices.hiss()[0])
    assert len(frame) == SLIN8.frame_bytes
    assert marks.asked(ulaw_to_pcm(pcm_to_ulaw(frame))) == mark


def test_an_answer_survives_g711_piece_by_piece() -> None:
    pieces = marks.answer(7, 150, 3, tone(SLIN8))
    assert [marks.piece_of_ulaw(pcm_to_ulaw(pcm)) for pcm in pieces] == [Piece(7, place, 3) for place in range(150)]


def test_nothing_else_is_taken_for_a_mark() -> None:
    others = [SLIN8.silence(), tone(SLIN8), *voices.hiss(), *(frame for spoken in voices.speech() for frame in spoken)]
    assert [pcm for pcm in others if marks.asked(pcm) or marks.piece(pcm)] == []


def test_a_frame_that_dies_away_is_no_piece_and_one_that_rises_is() -> None:
    pcm = marks.answer(7, 1, 0, tone(SLIN8))[0]
    assert marks.piece(faded_out(pcm, SLIN8)) is None
    assert marks.piece(faded_in(pcm, SLIN8)) == Piece(7, 0, 0)


def test_the_tone_is_voice_and_g711_leaves_it_alone() -> None:
    pcm = tone(SLIN8)
    assert ulaw_to_pcm(pcm_to_ulaw(pcm)) == pcm
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 4000

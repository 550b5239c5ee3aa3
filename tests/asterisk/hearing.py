"""What was heard of an agent of tones (tests/fakes/tone_agent.py): which tones, and how much of a sweep."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest

from scripts.trial.measure import Pcm, Tone, pitches, tones
from tests.fakes.tone_agent import TONE_SECONDS, swept


class Position(NamedTuple):
    """Second ``second`` of a sweep was heard ``at`` seconds from the start."""

    at: float
    second: float


def positions(pcm: Pcm, at_least: float = 0.0) -> list[Position]:
    """What was heard of sweeps, moment by moment."""
    found = [Position(pitch.at, swept(pitch.hz)) for pitch in pitches(pcm)]
    return [moment for moment in found if moment.second >= at_least - 0.02]


def unheard_seconds(heard: Sequence[Position]) -> float:
    """How much of a sweep is missing between its first and its last moment.

    Shorter holes than 100 ms are not counted: there a G.722 decoder follows an encoder that began anew.
    """
    steps = [later - earlier for earlier, later in pairwise(sorted(moment.second for moment in heard))]
    return sum(step for step in steps if step > 0.1)


def heard_twice_seconds(heard: Sequence[Position]) -> float:
    """How much longer it sounded than what was heard of it lasts."""
    return len(heard) / 100 - (heard[-1].second - heard[0].second)


def assert_tones(pcm: Pcm, wanted: Sequence[float], rate: int = 8000) -> None:
    """These tones (Hz), in this order and whole, and no others; a click in one does not count."""
    found: list[Tone] = []
    for tone in tones(pcm, rate):
        if found and tone.start - found[-1].end < 0.05 and abs(tone.hz - found[-1].hz) < 15:
            found[-1] = Tone(tone.hz, found[-1].start, tone.end)
        else:
            found.append(tone)
    found = [tone for tone in found if tone.end - tone.start > TONE_SECONDS / 2]
    assert [tone.hz for tone in found] == pytest.approx(list(wanted), abs=15)
    assert [tone.end - tone.start for tone in found] == pytest.approx([TONE_SECONDS] * len(found), abs=0.05)

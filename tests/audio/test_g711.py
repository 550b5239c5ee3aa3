"""G.711 against the C code of audioop, for every code and every sample."""

import audioop
from collections.abc import Callable

import numpy as np
import pytest

from ai_engine.audio import g711

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("ours", "theirs"), [(g711.ulaw_to_pcm, audioop.ulaw2lin), (g711.alaw_to_pcm, audioop.alaw2lin)]
)
def test_decodes_every_code(ours: Callable[[bytes], bytes], theirs: Callable[[bytes, int], bytes]) -> None:
    assert ours(EVERY_CODE) == theirs(EVERY_CODE, 2)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(g711.pcm_to_ulaw, audioop.lin2ulaw), (g711.pcm_to_alaw, audioop.lin2alaw)]
)
def test_encodes_every_sample(ours: Callable[[bytes], bytes], theirs: Callable[[bytes, int], bytes]) -> None:
    assert ours(EVERY_SAMPLE) == theirs(EVERY_SAMPLE, 2)


def test_of_nothing_is_nothing() -> None:
    assert g711.ulaw_to_pcm(b"") == g711.pcm_to_ulaw(b"") == g711.alaw_to_pcm(b"") == g711.pcm_to_alaw(b"") == b""

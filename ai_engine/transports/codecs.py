"""The formats of calls in Asterisk's words."""

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat

_CODECS = {SLIN8: "slin", SLIN16: "slin16"}


def codec(format: AudioFormat) -> str:
    """Raises ValueError for a rate that no call has."""
    if format not in _CODECS:
        raise ValueError(f"a media leg at {format.rate} Hz")
    return _CODECS[format]

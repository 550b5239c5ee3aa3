"""Speech scorers: what tells a voice from other sound."""

import webrtcvad

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.vad import SpeechScorer, VadSettings


def make_scorer(format: AudioFormat, settings: VadSettings) -> SpeechScorer:
    """The scorer ``settings.detector`` names. Raises ValueError for an unknown one or an unsupported rate.

    The first silero takes 40 ms to load: make one before the first call, and throw it away.
    """
    if settings.detector == "webrtc":
        return WebRtcScorer(format, settings.aggressiveness)
    if settings.detector == "silero":
        # 30 MB and a noticeable start that nobody should pay for who does not ask for it.
        from ai_engine.audio.silero import SileroScorer  # noqa: PLC0415

        return SileroScorer(format, settings.threshold)
    raise ValueError(f"no speech detector is called {settings.detector!r}")


class WebRtcScorer:
    """The classic of WebRTC: 1.5 us per frame, easily fooled by noise below mode 3."""

    def __init__(self, format: AudioFormat, mode: int = 3) -> None:
        if format.rate not in (8000, 16000, 32000, 48000):
            raise ValueError(f"webrtcvad does not know {format.rate} Hz")
        self._vad = webrtcvad.Vad(mode)
        self._rate = format.rate

    def is_speech(self, frame: bytes) -> bool:
        return bool(self._vad.is_speech(frame, self._rate))

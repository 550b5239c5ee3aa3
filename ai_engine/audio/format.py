"""What a stretch of sound is: its rate, and how milliseconds, samples and bytes relate."""

from dataclasses import dataclass

FRAME_MS = 20
"""Every frame inside the engine lasts this long."""

SAMPLE_BYTES = 2
"""Inside, sound is signed 16-bit little-endian mono (Asterisk's ``slin``)."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """PCM16 little-endian mono at ``rate`` samples per second; a *frame* is 20 ms of it as ``bytes``."""

    rate: int

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.rate * FRAME_MS % 1000:
            raise ValueError(f"{self.rate} Hz has no whole number of samples in {FRAME_MS} ms")

    @property
    def frame_samples(self) -> int:
        return self.rate * FRAME_MS // 1000

    @property
    def frame_bytes(self) -> int:
        return self.frame_samples * SAMPLE_BYTES

    def ms(self, pcm_bytes: int) -> float:
        """Duration of ``pcm_bytes`` bytes, in milliseconds."""
        return pcm_bytes * 1000 / (self.rate * SAMPLE_BYTES)

    def byte_count(self, ms: float) -> int:
        """Whole samples in ``ms`` milliseconds, as a byte count."""
        return int(ms * self.rate / 1000) * SAMPLE_BYTES

    def silence(self) -> bytes:
        """One frame of digital silence."""
        return bytes(self.frame_bytes)


SLIN8 = AudioFormat(8000)
SLIN16 = AudioFormat(16000)

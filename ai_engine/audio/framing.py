"""Any chunks in, 20 ms frames out."""

from ai_engine.audio.format import AudioFormat


class Framer:
    """Cuts a stream of PCM into frames of ``format``; a chunk may end anywhere, even inside a sample."""

    def __init__(self, format: AudioFormat) -> None:
        self._frame_bytes = format.frame_bytes
        self._rest = b""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that do not fill a frame yet."""
        return len(self._rest)

    def push(self, pcm: bytes) -> list[bytes]:
        """Every frame that is complete with ``pcm``."""
        size = self._frame_bytes
        if not self._rest and len(pcm) == size:
            return [pcm]
        data = self._rest + pcm
        whole = len(data) - len(data) % size
        self._rest = data[whole:]
        return [data[start : start + size] for start in range(0, whole, size)]

    def flush(self) -> bytes | None:
        """The last, incomplete frame padded with silence, or None if nothing waits."""
        if not self._rest:
            return None
        frame, self._rest = self._rest.ljust(self._frame_bytes, b"\0"), b""
        return frame

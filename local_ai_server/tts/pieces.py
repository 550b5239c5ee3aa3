"""Sound that was made in one go, handed on in pieces."""

from local_ai_server.tts.base import Emit

_PIECE_MS = 100
"""Short enough to stop at once, and far below what a message may hold."""


def emit_in_pieces(emit: Emit, pcm: bytes, rate: int) -> bool:
    """Whether somebody still listens after PCM16 mono at ``rate`` Hz."""
    size = rate * _PIECE_MS // 1000 * 2
    return all(emit(pcm[start : start + size]) for start in range(0, len(pcm), size))

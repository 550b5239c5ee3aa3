"""Numbers inside 20 ms of sound: which frame this is, so that each one that is lost, doubled or late is known.

They are written as samples that G.711 keeps exactly, so a mark passes a real Asterisk; and they stand where neither a
fade at the beginning of a frame nor one at its end reaches.
"""

from struct import Struct
from typing import NamedTuple

from ai_engine.audio.format import SLIN8
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm

_SAMPLE = 80
"""Where a mark begins: 10 ms into the frame."""

_BITS = 7
_MOST = 1 << 2 * _BITS
"""Numbers are smaller than this: two samples of seven bits each."""

_PAIRS = [ulaw_to_pcm(bytes((0x80 | number >> _BITS, 0x80 | number & 0x7F))) for number in range(_MOST)]
_NUMBERS = {pair: number for number, pair in enumerate(_PAIRS)}

_ASK = ulaw_to_pcm(bytes.fromhex("91c1b2e39507"))
_REPLY = ulaw_to_pcm(bytes.fromhex("a4d2178be06c"))
"""No two of these occur in silence, in a tone, or by chance in speech: 48 bits."""

_PCM_KIND = slice(_SAMPLE * 2, _SAMPLE * 2 + len(_ASK))
_PCM_BODY = _PCM_KIND.stop
_PCM_END = _PCM_BODY + 12
_THREE = Struct("4s4s4s")


class Ask(NamedTuple):
    """In a frame of the caller: answer at once."""

    number: int
    """Of this question; the frames of the answer bear it."""
    frames: int
    """Length of the answer wanted, in frames of 20 ms."""
    heard: int
    """Frames of this caller since the last question, this one included; 0 if the agent should not check."""


class Piece(NamedTuple):
    """In a frame of the agent: which piece of which answer."""

    number: int
    place: int
    missed: int
    """Frames of the caller that never reached the agent before it answered."""


def ask(mark: Ask, sound: bytes) -> bytes:
    """``sound`` (20 ms, 8 kHz PCM16) with a question in it. Numbers are taken modulo 16384."""
    return sound[: _PCM_KIND.start] + _ASK + _numbers(mark.number, mark.frames, mark.heard) + sound[_PCM_END:]


def asked(pcm: bytes) -> Ask | None:
    """The question in 20 ms of the caller, if there is one. Cheap for all the frames that have none."""
    return Ask(*_read(pcm)) if pcm[_PCM_KIND] == _ASK else None


def answer(number: int, frames: int, missed: int, sound: bytes) -> list[bytes]:
    """A whole answer of ``frames`` frames, each of them ``sound`` with its mark."""
    before, after = (
        sound[: _PCM_KIND.start] + _REPLY + _PAIRS[number % _MOST],
        _PAIRS[missed % _MOST] + sound[_PCM_END:],
    )
    return [before + _PAIRS[index] + after for index in range(frames)]


def piece(pcm: bytes, offset: int = 0) -> Piece | None:
    """The mark in 20 ms of the agent that begin at byte ``offset`` of ``pcm``; None for silence and for a fade."""
    start = offset + _PCM_KIND.start
    return Piece(*_read(pcm, offset)) if pcm.startswith(_REPLY, start) else None


def piece_of_ulaw(payload: bytes) -> Piece | None:
    """As ``piece``, of an RTP payload in G.711 µ-law."""
    return piece(ulaw_to_pcm(payload)) if len(payload) == SLIN8.frame_samples else None


def ask_in_ulaw(mark: Ask, sound: bytes) -> bytes:
    """As ``ask``, for 160 bytes of µ-law."""
    return pcm_to_ulaw(ask(mark, ulaw_to_pcm(sound)))


def _numbers(*numbers: int) -> bytes:
    return b"".join(_PAIRS[number % _MOST] for number in numbers)


def _read(pcm: bytes, offset: int = 0) -> tuple[int, int, int]:
    first, second, third = _THREE.unpack_from(pcm, offset + _PCM_BODY)
    return _NUMBERS.get(first, 0), _NUMBERS.get(second, 0), _NUMBERS.get(third, 0)

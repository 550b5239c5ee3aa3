"""CMU Flite through ctypes, streaming."""

import ctypes
import unicodedata
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_float, c_int, c_short, c_void_p

from local_ai_server.errors import AgentError, JobFailed
from local_ai_server.tts.base import Emit

VOICES = ("slt", "rms", "awb", "kal16")
RATE = 16000
_LIBRARY = "libflite.so.1"
_CHUNK_SAMPLES = 320
"""The least flite hands over at a time: 20 ms, so that the first sound leaves early."""
_CONTINUE, _STOP = 0, -1


class _Wave(Structure):
    _fields_ = [
        ("type", c_char_p),
        ("sample_rate", c_int),
        ("num_samples", c_int),
        ("num_channels", c_int),
        ("samples", POINTER(c_short)),
    ]


_OnAudio = CFUNCTYPE(c_int, POINTER(_Wave), c_int, c_int, c_int, c_void_p)


class _Streaming(Structure):
    """The head of cst_audio_streaming_info; flite allocates the whole."""

    _fields_ = [("min_buffsize", c_int), ("asc", _OnAudio)]


class _Voice(Structure):
    """The head of cst_voice."""

    _fields_ = [("name", c_char_p), ("features", c_void_p)]


class Flite:
    """Loads each voice's library on first use; flite keeps global state, so one process has one of these."""

    def __init__(self) -> None:
        self._flite = ctypes.CDLL(_LIBRARY, mode=ctypes.RTLD_GLOBAL)
        self._flite.new_audio_streaming_info.restype = POINTER(_Streaming)
        self._flite.audio_streaming_info_val.restype = c_void_p
        self._flite.audio_streaming_info_val.argtypes = [POINTER(_Streaming)]
        self._flite.flite_feat_set.argtypes = [c_void_p, c_char_p, c_void_p]
        self._flite.flite_text_to_speech.restype = c_float
        self._flite.flite_text_to_speech.argtypes = [c_char_p, POINTER(_Voice), c_char_p]
        self._flite.flite_init()
        # the callback must outlive every voice that points to it
        self._on_audio = _OnAudio(self._emit_chunk)
        self._voices: dict[str, ctypes._Pointer[_Voice]] = {}
        self._emit: Emit | None = None

    def prepare(self, voice: str) -> int:
        if voice not in VOICES:
            raise AgentError(f"there is no flite voice {voice!r}; known are {', '.join(VOICES)}")
        if voice not in self._voices:
            self._voices[voice] = self._load(voice)
        return RATE

    def speak(self, voice: str, text: str, emit: Emit) -> None:
        self.prepare(voice)
        plain = plain_text(text)
        if not plain:
            return
        self._emit = emit
        self._flite.flite_text_to_speech(plain.encode("ascii"), self._voices[voice], b"stream")

    def close(self) -> None:
        self._voices.clear()

    def _load(self, voice: str) -> "ctypes._Pointer[_Voice]":
        library = ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1", mode=ctypes.RTLD_GLOBAL)
        register = getattr(library, f"register_cmu_us_{voice}")
        register.restype = POINTER(_Voice)
        register.argtypes = [c_char_p]
        loaded: ctypes._Pointer[_Voice] = register(None)
        if not loaded:
            raise JobFailed(f"flite could not load its voice {voice}")
        streaming = self._flite.new_audio_streaming_info()
        streaming.contents.min_buffsize = _CHUNK_SAMPLES
        streaming.contents.asc = self._on_audio
        value = self._flite.audio_streaming_info_val(streaming)
        self._flite.flite_feat_set(loaded.contents.features, b"streaming_info", value)
        return loaded

    def _emit_chunk(
        self, wave: "ctypes._Pointer[_Wave]", start: int, size: int, last: int, streaming: int | None
    ) -> int:
        if size <= 0:
            return _CONTINUE
        address = ctypes.addressof(wave.contents.samples.contents) + start * 2
        assert self._emit is not None
        return _CONTINUE if self._emit(ctypes.string_at(address, size * 2)) else _STOP


def plain_text(text: str) -> str:
    """``text`` as flite can read it: ASCII, one line, accents dropped."""
    straight = text.translate({0x2019: "'", 0x2018: "'", 0x2013: ",", 0x2014: ",", 0x2026: "."})
    ascii_only = unicodedata.normalize("NFKD", straight).encode("ascii", "ignore").decode("ascii")
    printable = "".join(c if c.isprintable() else " " for c in ascii_only)
    return " ".join(printable.split())

"""eSpeak NG through ctypes, for the languages flite does not speak."""

import ctypes
from ctypes import CFUNCTYPE, POINTER, c_int, c_short, c_void_p

from local_ai_server.errors import AgentError, JobFailed
from local_ai_server.tts.base import Emit
from local_ai_server.tts.text import harmless

LIBRARY = "libespeak-ng.so.1"
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_BUFFER_MS = 60
_UTF8 = 1
_CONTINUE, _STOP = 0, 1

_OnAudio = CFUNCTYPE(c_int, POINTER(c_short), c_int, c_void_p)


class Espeak:
    """espeak-ng keeps global state (voice and callback), so one process has one of these."""

    def __init__(self) -> None:
        self._espeak = ctypes.CDLL(LIBRARY)
        self._on_audio = _OnAudio(self._emit_chunk)
        self._rate = self._espeak.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, None, _DONT_EXIT)
        if self._rate <= 0:
            raise JobFailed("espeak-ng could not be initialized: is the package espeak-ng-data there?")
        self._espeak.espeak_SetSynthCallback(self._on_audio)
        self._espeak.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, c_int, ctypes.c_uint, ctypes.c_uint, c_void_p, c_void_p,
        ]  # fmt: skip
        self._voice = ""
        self._emit: Emit | None = None

    def prepare(self, voice: str) -> int:
        """``voice`` may also be a language tag; a region eSpeak does not have is left out."""
        if voice != self._voice and not self._choose(voice) and not self._choose(voice.split("-")[0]):
            raise AgentError(f"there is no espeak-ng voice {voice!r}; see `espeak-ng --voices`")
        self._voice = voice
        return int(self._rate)

    def speak(self, voice: str, text: str, emit: Emit) -> None:
        self.prepare(voice)
        self._emit = emit
        encoded = harmless(text).encode() + b"\0"
        if self._espeak.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None) != 0:
            raise JobFailed("espeak-ng refused to speak")

    def close(self) -> None:
        self._espeak.espeak_Terminate()

    def _choose(self, voice: str) -> bool:
        return bool(self._espeak.espeak_SetVoiceByName(voice.encode()) == 0)

    def _emit_chunk(self, samples: "ctypes._Pointer[c_short]", count: int, events: int | None) -> int:
        if not samples or count <= 0:
            return _CONTINUE
        assert self._emit is not None
        return _CONTINUE if self._emit(ctypes.string_at(samples, count * 2)) else _STOP

"""The backends there are, by the names an operator uses."""

from collections.abc import Callable, Mapping

from local_ai_server.llm.base import LanguageModel
from local_ai_server.llm.intents import Intents
from local_ai_server.stt.base import SpeechToText
from local_ai_server.stt.pocketsphinx import DictationSphinx, GrammarSphinx
from local_ai_server.tts.base import TextToSpeech
from local_ai_server.tts.espeak import Espeak
from local_ai_server.tts.flite import Flite

STT: Mapping[str, Callable[[], SpeechToText]] = {
    "pocketsphinx": GrammarSphinx,
    "pocketsphinx-lm": DictationSphinx,
}
LLM: Mapping[str, Callable[[], LanguageModel]] = {"intents": Intents}
TTS: Mapping[str, Callable[[], TextToSpeech]] = {"flite": Flite, "espeak": Espeak}

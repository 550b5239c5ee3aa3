"""CMU PocketSphinx with its bundled English model: a grammar of the agent's intents, or the full language model."""

import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
from pocketsphinx import Decoder, get_model_path

from local_ai_server import asides
from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError
from local_ai_server.stt.base import Transcript
from local_ai_server.stt.grammar import DECOYS, brief_grammar_of, grammar_of, vocabulary_of
from local_ai_server.stt.sound import dither, is_wordless, trim

_RATE = 16000
_FRAME_SAMPLES = 160
"""The decoder scores 100 frames a second."""
_LEAST_SAMPLES = _RATE // 20
"""50 ms; the decoder fails on less than it needs for one frame."""
_MARGIN_MS = 200
_BORDER_SCORE = -0.0044
"""Log score per frame at which hearing a phrase and hearing something else are equally likely.

Measured over synthetic phone-band speech, tests/local_ai_server/test_pocketsphinx.py repeats it.
"""
_ASIDE_BORDER_SCORE = -0.0052
"""The same for an aside, and for a phrase worded like one ("yes"): a word alone scores worse than a sentence."""
_LEAST_CONFIDENCE = 0.5
_TELEPHONE_SPELLINGS = {
    "yes(2)": "Y EH",
    "excuse(3)": "IH K Y UW Z",
    "excuse(4)": "AH K Y UW Z",
    "excuse(5)": "EH K T Y UW",
}
"""An s lies above the band of a telephone line."""
_KEPT_GRAMMARS = 4
"""One takes 4 to 6 MB in every worker, and building it again takes some 10 ms."""
_MOST_SECONDS = 30
"""No phrase lasts longer, and a second of noise costs 1.6 MB and 40 ms to search."""


class _Sphinx:
    """What both ways of using PocketSphinx share."""

    input_rate = _RATE

    def __init__(self, **options: object) -> None:
        model = Path(get_model_path("en-us"))
        files = {"hmm": str(model / "en-us"), "dict": str(model / "cmudict-en-us.dict")}
        self._decoder = Decoder(**files, loglevel="FATAL", **options)

    def close(self) -> None:
        del self._decoder

    def _decode(self, pcm: bytes) -> tuple[str, float, float, int]:
        """``(text, score, posterior, frames)`` of the whole turn in one go, so that its mean is known throughout."""
        samples = dither(trim(np.frombuffer(pcm, "<i2").astype(np.int16), _RATE, _MARGIN_MS))
        if len(samples) < _LEAST_SAMPLES:
            return "", 0.0, 0.0, 1
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        if heard is None or not heard.hypstr or heard.best_score <= 0:
            return "", 0.0, 0.0, 1
        return heard.hypstr, math.log(heard.best_score), heard.prob, len(samples) // _FRAME_SAMPLES


class GrammarSphinx(_Sphinx):
    """Hears exactly the agent's own phrases; other speech is rejected as a decoy or by its score."""

    def __init__(self) -> None:
        # The second pass is off and the beams are wide: with a small grammar both cost little and find more.
        super().__init__(lm=None, bestpath=False, beam=1e-80, wbeam=1e-60, pbeam=1e-80)
        for word, spelling in _TELEPHONE_SPELLINGS.items():
            self._decoder.add_word(word, spelling, word == list(_TELEPHONE_SPELLINGS)[-1])
        self._searches: OrderedDict[str, int] = OrderedDict()
        """Number of an agent's two searches, by the larger one's grammar."""
        self._made = 0

    def prepare(self, agent: Agent) -> None:
        key = brief_grammar_of(agent)
        if not key:
            return
        if key in self._searches:
            self._searches.move_to_end(key)
            return
        unknown = sorted(word for word in vocabulary_of(agent) if self._decoder.lookup_word(word) is None)
        if unknown:
            raise AgentError(f"these words are not in the recognizer's dictionary: {', '.join(unknown)}")
        self._made += 1
        self._searches[key] = self._made
        self._decoder.add_jsgf_string(f"brief{self._made}", key)
        if agent.intents:
            self._decoder.add_jsgf_string(f"agent{self._made}", grammar_of(agent))
        if len(self._searches) > _KEPT_GRAMMARS:
            self._remove(self._searches.popitem(last=False)[1])

    def _remove(self, number: int) -> None:
        for name in (f"brief{number}", f"agent{number}"):
            if self._decoder.get_fsg(name):
                self._decoder.remove_search(name)

    def transcribe(self, agent: Agent, pcm: bytes, *, brief: bool = False) -> Transcript:
        if not (brief_grammar_of(agent) if brief else agent.intents) or len(pcm) > _MOST_SECONDS * _RATE * 2:
            return Transcript("", 0.0)
        if brief and is_wordless(pcm, _RATE):
            return Transcript("", 0.0)
        self.prepare(agent)
        number = self._searches[brief_grammar_of(agent)]
        self._decoder.activate_search(f"brief{number}" if brief else f"agent{number}")
        text, score, _, frames = self._decode(pcm)
        if not text or text in DECOYS:
            return Transcript("", 0.0)
        border = _ASIDE_BORDER_SCORE if _is_aside(text, agent.language) else _BORDER_SCORE
        confidence = 2.0 ** -(score / frames / border)
        return Transcript(text if confidence >= _LEAST_CONFIDENCE else "", round(confidence, 3))


class DictationSphinx(_Sphinx):
    """Hears any English words; on a telephone line it gets many of them wrong."""

    def prepare(self, agent: Agent) -> None:
        """The language model serves every agent."""

    def transcribe(self, agent: Agent, pcm: bytes, *, brief: bool = False) -> Transcript:
        if brief and is_wordless(pcm, _RATE):
            return Transcript("", 0.0)
        text, _, posterior, _ = self._decode(pcm)
        return Transcript(text, round(min(1.0, posterior), 3))


def _is_aside(text: str, language: str) -> bool:
    return asides.is_halt(text, language) or asides.is_backchannel(text, language)

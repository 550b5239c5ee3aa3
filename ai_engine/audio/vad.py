"""The ear: frames and a speech score in, the caller's turns out."""

import math
from dataclasses import dataclass
from typing import Protocol

from ai_engine.audio.echo import EchoPath
from ai_engine.audio.end_of_turn import EndOfTurn
from ai_engine.audio.energy import NoiseFloor
from ai_engine.audio.format import FRAME_MS, AudioFormat
from ai_engine.audio.stir import Stir


class SpeechScorer(Protocol):
    """Tells speech from other sound, one 20 ms frame after the other."""

    def is_speech(self, frame: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class VadSettings:
    """How the ear decides. Levels are dB below full scale (dBFS), margins dB above the noise floor."""

    detector: str = "webrtc"
    """``webrtc`` or ``silero``."""
    aggressiveness: int = 3
    """Of webrtc, 0 to 3; below 3 it is stuck on speech in ordinary line noise."""
    threshold: float = 0.5
    """Of silero: the probability from which a chunk is speech."""
    start_ms: int = 60
    """Voiced sound that makes a turn begin."""
    barge_in_ms: int = 80
    """Voiced sound that makes the agent hold its breath."""
    confirm_ms: int = 500
    """Voiced sound that makes a turn begin while the agent is speaking."""
    word_ms: int = 160
    """Voiced sound that may have been a word; less is a cough."""
    settle_ms: int = 240
    """Quiet after which what did not go on to ``confirm_ms`` is over."""
    end_silence_ms: int = 500
    """Quiet that ends a turn when a call begins; from then on it follows the caller's own pauses."""
    end_silence_min_ms: int = 300
    end_silence_max_ms: int = 1200
    """Also how long a caller may be quiet whom the turn model takes to be in the middle of a sentence."""
    ask_model: bool = False
    """Whether there is a turn model to be asked if a caller is done."""
    ask_ms: int = 200
    """Quiet after which it is asked."""
    max_turn_ms: int = 15000
    """A turn is ended after this, whatever is heard: no detector survives voices in the background."""
    energy_margin_db: float = 8.0
    barge_in_margin_db: float = 10.0
    """In place of ``energy_margin_db`` while the agent is speaking."""
    echo_return_loss_db: float = 20.0
    """What our sound is taken to lose on its way to the caller and back, until the call has shown it."""
    floor_min_db: float = -62.0
    floor_max_db: float = -20.0


@dataclass(frozen=True, slots=True)
class Stirred:
    """Something like speech began over the agent's voice; the onset lies ``confirmed_ms`` before now."""

    confirmed_ms: float


@dataclass(frozen=True, slots=True)
class Spoke:
    """The caller began to speak, or what stirred goes on; the onset lies ``confirmed_ms`` before now."""

    confirmed_ms: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What stirred is over: long enough for a ``word``, or an ``echo`` of our own voice, or neither; never both."""

    word: bool
    echo: bool


@dataclass(frozen=True, slots=True)
class Hesitated:
    """The caller is quiet for ``silence_ms`` within a turn: the turn model may say if it is over."""

    silence_ms: float


@dataclass(frozen=True, slots=True)
class Paused:
    """The turn is over: ``silence_ms`` of quiet, or (``forced``) it lasted too long."""

    silence_ms: float
    forced: bool


News = Stirred | Spoke | Settled | Hesitated | Paused


class VoiceActivity:
    """Finds the beginning and the end of the caller's turns; time is the count of frames.

    A frame is voiced when the scorer hears speech in it *and* it stands out of the noise and of our echo. A turn
    begins with ``start_ms`` of voiced frames, one gap allowed among them, which a click does not fill; it goes on over
    the gaps between words, in which a lone voiced frame does not count.

    Over the agent's voice it begins in two steps: ``Stirred`` after ``barge_in_ms``, upon which the agent is expected
    to fall silent, and then ``Spoke`` if the sound goes on or ``Settled`` if it does not.
    """

    def __init__(self, format: AudioFormat, settings: VadSettings, scorer: SpeechScorer) -> None:
        self.speaking = False
        """Whether a turn is open."""
        self._settings = settings
        self._scorer = scorer
        self._noise = NoiseFloor(format, settings.floor_min_db, settings.floor_max_db)
        self._echo = EchoPath(settings.echo_return_loss_db)
        self._end = EndOfTurn(settings.end_silence_ms, settings.end_silence_min_ms, settings.end_silence_max_ms)
        self._recent = 0
        """One bit per frame, 1 where voiced, the newest lowest; cleared when a turn begins or ends."""
        self._stir: Stir | None = None
        self._turn_ms = 0
        self._silence_ms = 0
        self._since_turn_ms = math.inf
        self._asked = False
        """The turn model was told of the pause that lasts."""
        self._complete: bool | None = None
        """What it answered."""

    @property
    def echo_return_loss_db(self) -> float:
        """What our sound loses on its way to the caller and back, as far as this call has shown."""
        return self._echo.loss_db

    def process(self, frame: bytes, guarded: bool = False, sent_db: float = -math.inf) -> News | None:
        """Hear the next 20 ms, while a frame of level ``sent_db`` (dBFS) is sent.

        ``guarded`` means that a reply is being played, or held, so more is asked of an interruption.
        """
        noise, echo = self._noise, self._echo
        noise.hear(frame)
        echo.follow(sent_db, noise.level_db)
        voiced = self._scorer.is_speech(frame) and noise.level_db > self._bar_db(guarded)
        self._recent = self._recent << 1 | voiced
        if self.speaking:
            return self._go_on()
        self._since_turn_ms += FRAME_MS
        if self._stir is not None:
            return self._judge(self._stir)
        if echo.possible:
            echo.learn()
        return self._listen(guarded)

    def forget(self) -> None:
        """As if nothing had been said lately: no turn is open, nothing stirs."""
        self._rest()
        self._since_turn_ms = math.inf
        self._end.forget()

    def judge(self, complete: float) -> None:
        """The turn model's answer to the last ``Hesitated``: the probability (0 to 1) that the turn is over.

        Nothing happens if the caller has gone on since.
        """
        if self._asked:
            self._complete = complete >= 0.5

    def _rest(self) -> None:
        self.speaking = False
        self._recent = 0
        self._stir = None
        self._asked, self._complete = False, None

    def _bar_db(self, guarded: bool) -> float:
        """A frame must be louder than this."""
        settings, noise = self._settings, self._noise
        if self.speaking:
            return max(noise.floor_db + settings.energy_margin_db, noise.bar_db)
        if self._stir is not None:
            return max(noise.floor_db + settings.energy_margin_db, noise.bar_db, self._stir.bar_db)
        margin = settings.barge_in_margin_db if guarded else settings.energy_margin_db
        return max(noise.floor_db + margin, noise.bar_db, self._echo.bar_db)

    def _voiced_frames(self) -> int:
        """How many frames of voice end with the last one: none, or two where a lone one turns out to be a beginning."""
        self._recent &= 0b111
        if not self._recent & 1 or self._recent == 0b001:
            return 0
        return 2 if self._recent == 0b011 else 1

    # -- before a turn -------------------------------------------------------------------------------------

    def _listen(self, guarded: bool) -> Stirred | Spoke | None:
        needed = (self._settings.barge_in_ms if guarded else self._settings.start_ms) // FRAME_MS
        self._recent &= (1 << needed + 1) - 1
        if not self._recent & 1 or self._recent.bit_count() < needed:
            return None
        if not guarded:
            return self._begin(self._recent.bit_length())
        self._stir = Stir(self._recent, self._bar_db(guarded))
        return Stirred(float(self._stir.frames * FRAME_MS))

    def _judge(self, stir: Stir) -> Spoke | Settled | None:
        stir.go_on(self._voiced_frames())
        settings = self._settings
        if stir.span_ms >= settings.confirm_ms and not stir.quiet_ms and not self._may_be_echo(stir):
            self._stir = None
            return self._begin(stir.frames)
        if stir.quiet_ms < settings.settle_ms or self._recent & 1:
            return None
        self._rest()
        echo = self._echo.explains(stir.frames, stir.quiet_ms // FRAME_MS)
        return Settled(not echo and stir.voiced_ms >= settings.word_ms, echo)

    def _may_be_echo(self, stir: Stir) -> bool:
        """Until an echo would have died away; but not if we did not fall silent at all."""
        return self._echo.possible and stir.span_ms < 2 * self._settings.confirm_ms and self._echo.resembles()

    def _begin(self, frames: int) -> Spoke:
        confirmed_ms = frames * FRAME_MS
        self._end.began(max(self._since_turn_ms - confirmed_ms, 0.0))
        self.speaking = True
        self._turn_ms = confirmed_ms
        self._silence_ms = 0
        return Spoke(float(confirmed_ms))

    # -- within a turn -------------------------------------------------------------------------------------

    def _go_on(self) -> Hesitated | Paused | None:
        self._turn_ms += FRAME_MS
        if self._voiced_frames():
            if self._silence_ms:
                self._gone_on()
        else:
            self._silence_ms += FRAME_MS
        if self._turn_ms >= self._settings.max_turn_ms:
            return self._force()
        if not self._silence_ms:
            return None
        if self._silence_ms >= self._patience_ms():
            return self._finish()
        return self._ask()

    def _gone_on(self) -> None:
        self._end.went_on(self._silence_ms - FRAME_MS)
        self._silence_ms = 0
        self._asked, self._complete = False, None

    def _patience_ms(self) -> float:
        if self._complete is None:
            return self._end.silence_ms
        return 0.0 if self._complete else max(self._end.silence_ms, self._settings.end_silence_max_ms)

    def _ask(self) -> Hesitated | None:
        if self._asked or not self._settings.ask_model or self._silence_ms < self._settings.ask_ms:
            return None
        self._asked = True
        return Hesitated(float(self._silence_ms))

    def _finish(self) -> Paused:
        self._rest()
        self._end.ended(self._turn_ms, self._silence_ms)
        self._since_turn_ms = 0.0
        return Paused(float(self._silence_ms), forced=False)

    def _force(self) -> Paused:
        self._noise.learn_as_noise(self._settings.energy_margin_db)
        self.forget()
        return Paused(float(self._silence_ms), forced=True)

"""One reply on its way to the caller as files: its sentences, and how much of them was heard."""

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto

from ai_engine.audio.format import FRAME_MS, AudioFormat
from ai_engine.audio.resample import Resampler
from ai_engine.audio.sentences import SentenceCutter
from ai_engine.audio.voice import Unheard


class Stage(Enum):
    """How far a sentence has come."""

    CUT = auto()
    WRITING = auto()
    WRITTEN = auto()
    ASKED = auto()
    """Asterisk was asked to play it and has not answered."""
    PLAYING = auto()
    """It sounds, or follows what sounds."""
    FAILED = auto()
    ENDED = auto()


class Sentence:
    """One file and its playback."""

    __slots__ = (
        "_frame_bytes", "_frames", "_resampler", "_source", "dropped", "heard", "name", "paused", "pcm",
        "refusals", "sound", "stage", "steering", "uri", "waited",
    )  # fmt: skip

    def __init__(self, pcm: bytes, source: AudioFormat, format: AudioFormat, resampler: Resampler) -> None:
        self.pcm = pcm
        """In the format of the reply's source, kept until it was heard."""
        self.sound = b""
        """In the format of the file: whole frames, once ``convert`` is through."""
        self.stage = Stage.CUT
        self.name = ""
        self.uri = ""
        self.heard = 0
        """Frames."""
        self.paused = False
        """What Asterisk was told last."""
        self.steering = False
        """Asterisk is just being told."""
        self.refusals = 0
        self.waited = 0
        """Ticks after which its end was due."""
        self.dropped = False
        """Nobody wants it any more, wherever it is."""
        self._source = source
        self._resampler = resampler
        self._frame_bytes = format.frame_bytes
        self._frames = -(-len(pcm) // source.frame_bytes)

    @property
    def asked(self) -> bool:
        return self.stage in (Stage.ASKED, Stage.PLAYING)

    @property
    def left_ms(self) -> int:
        return (self._frames - self.heard) * FRAME_MS

    @property
    def heard_bytes(self) -> int:
        """Of ``pcm``, without the padding of the last frame."""
        return min(self.heard * self._source.frame_bytes, len(self.pcm))

    def was_heard(self) -> None:
        """To its end."""
        self.stage = Stage.ENDED
        self.heard = self._frames

    def convert(self, frames_at_once: int) -> Iterator[None]:
        """Make ``sound``; gives way after so many frames. One by one they cost a fraction of what they do together."""
        size = self._source.frame_bytes
        made = []
        for number in range(self._frames):
            made.append(self._resampler.process(self.pcm[number * size : (number + 1) * size].ljust(size, b"\0")))
            if number % frames_at_once == frames_at_once - 1:
                yield
        self.sound = b"".join(made)

    def take(self) -> bytes | None:
        """The frame that is heard now; None after the last."""
        if self.heard == self._frames:
            return None
        start = self.heard * self._frame_bytes
        self.heard += 1
        return self.sound[start : start + self._frame_bytes]


class FileReply:
    """One stretch of agent speech."""

    def __init__(self, id: int, source: AudioFormat, format: AudioFormat, heard_ms: float = 0.0) -> None:
        """``heard_ms``: of it, before it came to us."""
        self.id = id
        self.sentences: deque[Sentence] = deque()
        """Cut, and not behind us."""
        self.started = heard_ms > 0
        self.finished = False
        self._source = source
        self._format = format
        self._behind_ms = heard_ms
        self._cutter = SentenceCutter(source)
        self._resampler = Resampler(source, format)

    @property
    def heard_ms(self) -> float:
        return self._behind_ms + sum(self._source.ms(sentence.heard_bytes) for sentence in self.sentences)

    @property
    def left_ms(self) -> float:
        return self._cutter.waiting_ms + sum(sentence.left_ms for sentence in self.sentences)

    def push(self, pcm: bytes) -> None:
        for piece in self._cutter.push(pcm):
            self._add(piece)

    def end_sentence(self) -> None:
        if piece := self._cutter.end():
            self._add(piece)

    def finish(self) -> None:
        self.end_sentence()
        self.finished = True

    def put_behind(self) -> None:
        """The first sentence was heard to its end."""
        self._behind_ms += self._source.ms(len(self.sentences.popleft().pcm))

    def unheard(self) -> Unheard:
        rest = [sentence.pcm[sentence.heard_bytes :] for sentence in self.sentences]
        return Unheard(self.id, self._source, b"".join((*rest, self._cutter.waiting)), self.finished, self.heard_ms)

    def _add(self, piece: bytes) -> None:
        self.sentences.append(Sentence(piece, self._source, self._format, self._resampler))

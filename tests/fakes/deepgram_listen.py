"""What Deepgram's two transcribers share: the words of a turn in time, and how they fail."""

import asyncio
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from tests.fakes.deepgram_wire import Types, Wire, hear, wrong_with
from tests.fakes.energy_vad import FRAME_MS, EnergyVad, SpeechStarted, SpeechStopped
from tests.fakes.scenario import Fault, Turn

WORD_MS = 200
"""How long a word takes, as long as its turn is not over."""

GAP_MS = 100
"""Of quiet, that may be between words."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word, and when it was said (seconds since the beginning)."""

    text: str
    start: float
    end: float

    @property
    def plain(self) -> str:
        return "".join(c for c in self.text.lower() if c.isalnum() or c == "'") or self.text


@dataclass(slots=True)
class Utterance:
    """The turn that is being said."""

    turn: Turn
    number: int
    began_ms: int
    done: int = 0
    """Words in segments that are final."""
    done_ms: int = 0
    quiet_ms: int | None = None
    """Since when it has been quiet."""

    @property
    def texts(self) -> list[str]:
        return self.turn.heard.split()

    def known(self, now_ms: int) -> int:
        """How many of its words were said by now."""
        return min(len(self.texts), self.done + (now_ms - (self.done_ms or self.began_ms)) // WORD_MS)

    def words(self, upto: int, end_ms: int | None = None) -> list[Word]:
        """Those after the final segments, as if they had been said evenly until ``end_ms``."""
        texts, start = self.texts[self.done : upto], self.done_ms or self.began_ms
        step = WORD_MS if end_ms is None or not texts else max(1.0, (end_ms - start) / len(texts))
        return [
            Word(text, round((start + i * step) / 1000, 3), round((start + (i + 1) * step) / 1000, 3))
            for i, text in enumerate(texts)
        ]

    def finish(self, words: list[Word]) -> None:
        """These are final."""
        self.done += len(words)
        self.done_ms = round(1000 * words[-1].end) if words else self.done_ms


class Listener(ABC):
    """One connection; what it tells of a turn is left to the two transcribers."""

    received: Types = {}

    def __init__(self, wire: Wire, first_turn: int) -> None:
        self.wire = wire
        self.session = wire.session
        self.query = wire.session.query
        self.turns = self.reported = first_turn
        """How many were heard, and told of, here and where this one takes over."""
        self.finished = False
        """The client said that it is done."""
        self.utterance: Utterance | None = None
        self._encoding = self.query["encoding"][0]
        self.session.caller_rate = int(self.query["sample_rate"][0])
        self._vad = EnergyVad(self.session.caller_rate, silence_duration_ms=GAP_MS)
        self._frame_bytes = 2 * self.session.caller_rate * FRAME_MS // 1000
        self._fault = wire.fault(None)
        """That of the turn, or of what goes before the first."""
        self._mute = self._fault is not None and self._fault.kind == "stall"
        self._muted = self._mute

    @property
    def now_ms(self) -> int:
        return self._vad.heard_ms

    @property
    def seconds(self) -> float:
        return round(self.now_ms / 1000, 3)

    def asked(self, name: str, default: str = "false") -> str:
        """A parameter of the query."""
        return self.query.get(name, [default])[0]

    async def run(self) -> None:
        """Until the connection closes (ConnectionClosed, Ended)."""
        await self.greet()
        while True:
            try:
                message = await self.wire.receive()
            except TimeoutError:
                await self.idle()
            if isinstance(message, bytes):
                await self._hear(message)
            elif isinstance(message, str):
                self.wire.violate("received text that is no JSON object")
                await self.unparsable(message)
            elif wrong := wrong_with(message, self.received):
                self.session.violations += [f"received {message.get('type')}: {one}" for one in wrong]
                await self.unparsable(json.dumps(message))
            else:
                await self.obey(message)

    async def tell(self, message: dict[str, Any]) -> None:
        """Send, unless it has gone silent."""
        if not self._muted:
            await self.wire.send(message)

    def over(self) -> None:
        """The utterance was reported."""
        self.utterance = None
        self.turns += 1
        self.reported += not self._muted
        self._muted = self._mute

    async def _hear(self, sound: bytes) -> None:
        if not sound:
            await self.empty()
        if not self.session.caller_pcm:
            await self._break()
        pcm = hear(self.session, self._encoding, sound)
        for at in range(0, len(pcm), self._frame_bytes):
            for event in self._vad.hear(pcm[at : at + self._frame_bytes]):
                await self._notice(event)
            if self.utterance:
                await self._break_in(self.utterance)
            await self.tick()

    async def _notice(self, event: SpeechStarted | SpeechStopped) -> None:
        if isinstance(event, SpeechStopped):
            if self.utterance:
                self.utterance.quiet_ms = event.quiet_ms
        elif self.utterance:
            self.utterance.quiet_ms = None
            await self.resumes(self.utterance)
        else:
            self.utterance = Utterance(self.wire.scenario.turn(self.turns), self.turns, event.onset_ms)
            self._fault = self.wire.fault(self.turns)
            await self.starts(self.utterance)

    async def _break_in(self, utterance: Utterance) -> None:
        late = utterance.quiet_ms is not None
        if self._fault and (late or self.now_ms - utterance.began_ms >= self._fault.after_ms):
            await self._break()

    async def _break(self) -> None:
        fault, self._fault = self._fault, None
        match fault:
            case Fault("stall"):
                self._muted = True
            case Fault("garbage"):
                await self.wire.send_garbage()
            case Fault("close"):
                await self.wire.close(1011)
            case Fault("error"):
                await self.fails()
            case Fault("limit"):
                await self.limit()
            case Fault("slow") if self.utterance:
                await asyncio.sleep(fault.seconds)
            case _:
                pass

    @abstractmethod
    async def greet(self) -> None:
        """Before anything is heard."""

    @abstractmethod
    async def idle(self) -> None:
        """The client said nothing for too long; raises Ended."""

    @abstractmethod
    async def empty(self) -> None:
        """The client sent sound that is none."""

    @abstractmethod
    async def unparsable(self, text: str) -> None:
        """The client sent no message."""

    @abstractmethod
    async def obey(self, message: dict[str, Any]) -> None:
        """What the client asks for."""

    @abstractmethod
    async def starts(self, utterance: Utterance) -> None:
        """Someone begins to speak."""

    @abstractmethod
    async def resumes(self, utterance: Utterance) -> None:
        """They go on, after a pause within the turn."""

    @abstractmethod
    async def tick(self) -> None:
        """Another moment was heard."""

    @abstractmethod
    async def fails(self) -> None:
        """The vendor's own failure; raises Ended."""

    @abstractmethod
    async def limit(self) -> None:
        """The session lasted too long; raises Ended."""
